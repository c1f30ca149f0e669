"""Predictions on disk, metrics with confidence intervals, plots and the report of a run. No TensorFlow.

Further: calibration, operating points, subjects and subgroups, comparison of models, abstention, images unlike those
of training, and the published confusion matrices.
"""

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
        "bca_interval": "bootstrap",
        "Interval": "intervals",
        "mean_interval": "intervals",
        "metric_intervals": "intervals",
        "proportion": "intervals",
        "wilson_interval": "intervals",
        "PUBLISHED": "published",
        "PublishedResult": "published",
        "check_confusion": "contradictions",
        "Calibration": "calibration",
        "fit_calibration": "calibration",
        "fit_temperature": "calibration",
        "brier_score": "calibration_metrics",
        "calibration_error": "calibration_metrics",
        "measure_calibration": "calibration_metrics",
        "reliability_curve": "calibration_metrics",
        "plot_reliability": "plots_analysis",
        "save_figure": "plots_analysis",
        "OperatingPoint": "operating_points",
        "choose_operating_point": "operating_points",
        "aggregate_subjects": "subjects",
        "blast_fractions": "subjects",
        "subject_metrics": "subjects",
        "subgroup_report": "subgroups",
        "auc_covariance": "paired_tests",
        "delong_test": "paired_tests",
        "holm": "paired_tests",
        "mcnemar_exact": "paired_tests",
        "compare_predictions": "comparison",
        "plot_comparison": "plots_analysis",
        "most_confident_errors": "plots",
        "save_plots": "plots",
        "summarize_table": "report",
        "write_report": "report",
    },
)
