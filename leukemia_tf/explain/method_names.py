"""Names of the methods, for those who choose one before TensorFlow is imported."""

METHODS = ("grad_cam", "grad_cam_plus_plus", "attention", "occlusion", "integrated_gradients")
"""What `leukemia_tf.explain.explain` and ``leukemia-tf explain --method`` take."""

WITH_LAYER = ("grad_cam", "grad_cam_plus_plus", "attention")
"""Those that look at the map of a layer."""
