"""Train a recipe: ``python experiments/run.py RECIPE [--data ...]``, the same as ``leukemia-tf train RECIPE``."""

import sys

from leukemia_tf.cli import train_main

if __name__ == "__main__":
    sys.exit(train_main())
