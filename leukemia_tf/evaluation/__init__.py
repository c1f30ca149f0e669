"""Predictions on disk, metrics with confidence intervals, plots and the report of a run. NumPy only, no TensorFlow."""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "METRICS": "metrics",
        "compute_metrics": "metrics",
        "verify_metrics": "metrics",
        "write_metrics": "metrics",
        "make_predictions": "predictions",
        "read_predictions": "predictions",
        "write_predictions": "predictions",
        "percentile_interval": "bootstrap",
        "resample_counts": "bootstrap",
        "most_confident_errors": "plots",
        "save_plots": "plots",
        "summarize_table": "report",
        "write_report": "report",
    },
)
