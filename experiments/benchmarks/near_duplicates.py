"""How many groups of near duplicates a split by image divides, with and without the groups that the audit found.

    python experiments/benchmarks/near_duplicates.py FOLDER

Writes ``experiments/results/leakage/near_duplicates.csv``, a row for each seed and way of splitting.
"""

from __future__ import annotations

import argparse
import logging
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pandas as pd  # noqa: E402

from leukemia_tf.data import read_groups, scan_table, split_hash, split_table  # noqa: E402
from leukemia_tf.data.audit import audit_table  # noqa: E402
from leukemia_tf.data.audit.opening import open_for_audit  # noqa: E402
from leukemia_tf.files import write_text  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parents[1] / "results" / "leakage" / "near_duplicates.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a data set without subjects: its name, a folder, a CSV table")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    logging.getLogger("leukemia_tf").setLevel(logging.ERROR)  # that no subject is known is known

    manifest, table = open_for_audit(args.data)
    with tempfile.TemporaryDirectory() as folder:
        audit_table(manifest, table, shortcuts=False, progress=False).write(folder)
        groups = read_groups(pathlib.Path(folder) / "groups.csv")
    table = scan_table(manifest, table, skip_broken=True, progress=False)
    group = table["path"].map(groups)
    rows = []
    for kept in (False, True):
        for seed in range(args.seeds):
            split = split_table(table.assign(split=""), seed=seed, level="image", groups=groups if kept else None)
            parts = split["split"][group.notna()].groupby(group[group.notna()])
            in_test = parts.agg(lambda part: "test" in set(part) and len(set(part)) > 1)
            rows.append(
                {
                    "data": pathlib.PurePath(args.data).name,
                    "images": len(table),
                    "in_groups": int(group.notna().sum()),
                    "groups": group.nunique(),
                    "groups_kept": kept,
                    "seed": seed,
                    "divided": int((parts.nunique() > 1).sum()),
                    "divided_with_test": int(in_test.sum()),
                    "test_images": int((split["split"] == "test").sum()),
                    "split_hash": split_hash(split),
                }
            )
            print(*list(rows[-1].values())[:-1], flush=True)
    write_text(OUT, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
