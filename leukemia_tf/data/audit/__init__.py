"""Audit of a data set: broken files, copies within and across splits, and what gives the label away.

manifest, table = open_data("folder/of/images")
audit = audit_table(manifest, table)
audit.write("audit")           # report.html, findings.csv, pairs.csv, groups.csv, shortcuts.csv, audit.json
table = audit.cleaned()        # one of each group of copies, no broken files, no contradictory labels
"""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Audit": "result",
        "audit_table": "run",
        "find_copies": "copies",
        "measure_shortcuts": "shortcuts",
    },
)
