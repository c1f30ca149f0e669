"""Why a model decided so: maps of what spoke for a class, and figures that say whether a map is evidence.

Grad-CAM and Grad-CAM++, attention, occlusion and integrated gradients give an `Attribution`. `deletion_insertion` and
`randomisation_check` test it, `share_in_region` measures how much of it lies where it should not. Gradients are
TensorFlow's (``tf.GradientTape``), so this room, unlike the models it explains, needs Keras on TensorFlow; nothing is
compiled with XLA. Maps say what a model used, not what is true of a cell. Research use only.
"""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Attribution": "attribution",
        "Network": "network",
        "attention_map": "attention",
        "deletion_insertion": "faithfulness",
        "draw_explanation": "pictures",
        "draw_sheet": "pictures",
        "explain": "methods",
        "METHODS": "method_names",
        "grad_cam": "grad_cam_maps",
        "integrated_gradients": "gradients",
        "occlusion": "occluding",
        "randomisation_check": "randomisation",
        "region_mask": "region",
        "share_in_region": "region",
    },
)
