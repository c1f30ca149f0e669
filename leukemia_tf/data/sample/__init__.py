"""The embedded sample: synthetic single-cell smear images, drawn by a program, photographs of nobody's blood.

They exist so that every command, test and example runs without a download. No figure on them says anything
about a patient.
"""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "render_sample": "store",
        "render_image": "store",
        "draw_subject": "subject",
        "draw_cell": "cell",
        "draw_image": "field",
        "Subject": "subject",
        "Cell": "cell",
    },
)
