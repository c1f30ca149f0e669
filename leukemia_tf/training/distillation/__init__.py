"""Knowledge distillation: a student learns from labels and from a teacher's answers and feature maps."""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Distillation": "settings",
        "TapDistiller": "distiller",
        "outputs_to_keep": "outputs",
        "teacher_outputs": "outputs",
    },
)
