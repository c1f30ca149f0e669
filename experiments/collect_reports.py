"""Copy what a reader of a finished run looks at into experiments/results/reports.

    python experiments/collect_reports.py RUN=NAME [RUN=NAME ...]

Of each run that agrees with itself (`leukemia-tf report RUN --verify`), report.html, model_card.md, metrics.json and
decision.json go to experiments/results/reports/NAME. A page of more than 1.5 MB is refused.
"""

from __future__ import annotations

import pathlib
import shutil
import sys

from leukemia_tf.errors import InputError
from leukemia_tf.recipes import load_run
from leukemia_tf.recipes.evaluate import verify
from leukemia_tf.recipes.report import verify_report

OUT = pathlib.Path(__file__).resolve().parent / "results" / "reports"
FILES = ("report.html", "model_card.md", "metrics.json", "decision.json")
MOST = 1_500_000


def main() -> None:
    for argument in sys.argv[1:]:
        folder, _, name = argument.partition("=")
        run = load_run(folder)
        verify(run)
        wrong = verify_report(run)
        size = (run.path / FILES[0]).stat().st_size
        if wrong or size > MOST:
            raise InputError(f"`{folder}` has a report that is right and small. Received: {size:,} bytes; {wrong}")
        target = OUT / (name or run.path.name)
        target.mkdir(parents=True, exist_ok=True)
        for file in FILES:
            shutil.copy(run.path / file, target / file)
        print(target.relative_to(OUT.parents[2]))


if __name__ == "__main__":
    main()
