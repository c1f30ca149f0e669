"""The two-phase trainer and its parts, which also work in a user's own ``model.fit``."""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BestCheckpoint": "callbacks",
        "FeatureCache": "frozen",
        "Phase": "phase",
        "ProgressLine": "callbacks",
        "ResumeState": "callbacks",
        "StopOnNaN": "callbacks",
        "Strategy": "strategy",
        "TimeBudget": "callbacks",
        "fit_phases": "trainer",
        "make_loss": "loss",
        "resolve_jit_compile": "runtime",
        "set_determinism": "runtime",
    },
)
