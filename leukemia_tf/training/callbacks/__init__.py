"""Keras callbacks of the trainer. Each works by itself in a user's own ``model.fit``."""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BestCheckpoint": "best_checkpoint",
        "ProgressLine": "progress_line",
        "ResumeState": "resume_state",
        "StopOnNaN": "stop_on_nan",
        "TimeBudget": "time_budget",
    },
)
