"""Handcrafted features and the classifiers on them: the extras in the notebook of system 001-A.

Importing the package registers the model ``handcrafted``; scikit-learn, OpenCV and Keras are imported when they are
used, Keras only where features of a network are added.
"""

from leukemia_tf._lazy import attach
from leukemia_tf.models.handcrafted import builder  # noqa: F401

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "FAMILIES": "extract",
        "HandcraftedClassifier": "classifier",
        "alpha_integration": "integration",
        "extract_features": "extract",
        "extract_many": "extract",
        "feature_names": "extract",
        "handcrafted": "builder",
        "load_handcrafted": "persistence",
    },
)
