"""A few operations out of a list, others for each image."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from leukemia_tf.data.augment.policy import build_steps
from leukemia_tf.data.augment.step import Step
from leukemia_tf.errors import InputError

_MIX = ("mix_up", "cut_mix")


@dataclasses.dataclass(frozen=True)
class SomeOf(Step):
    """Apply between ``least`` and ``most`` of the steps to each image, drawn without replacement, in the order drawn.

    Each number of steps is equally likely, and each choice of so many.

    Args:
        least, most: whole numbers, 0 to the number of steps.
        steps: dicts or steps, see :func:`leukemia_tf.data.augment.get_policy`; none of those that mix images.
    """

    name = "some_of"

    least: int = 1
    most: int = 1
    steps: tuple[Step, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "steps", build_steps(self.steps))
        if mixing := [step.name for step in self.steps if step.name in _MIX]:
            raise InputError(f"`steps` of step `some_of` must leave labels alone, got {', '.join(mixing)}")
        self._check_whole("least", 0, len(self.steps))
        self._check_whole("most", self.least, len(self.steps))

    def __call__(self, images, labels, seed):
        count, fold = tf.shape(images)[0], tf.random.experimental.stateless_fold_in
        # Row r says which step each image gets in round r: its own shuffle of all steps, cut off after its number of
        # rounds. One more than the last step means none.
        shuffled = tf.argsort(tf.random.stateless_uniform([len(self.steps), count], fold(seed, 0)), axis=0)
        rounds = tf.random.stateless_uniform([count], fold(seed, 1), self.least, self.most + 1, tf.int32)
        choices = tf.where(tf.range(len(self.steps))[:, None] < rounds, shuffled, len(self.steps))

        def one_round(number, current):
            rows = tf.dynamic_partition(tf.range(count), choices[number], len(self.steps) + 1)
            parts = []
            for index, (step, chosen) in enumerate(zip(self.steps, rows)):
                step_seed = fold(fold(seed, 2 + number), index)
                parts.append(step(tf.gather(current, chosen), None, step_seed)[0])
            parts.append(tf.gather(current, rows[-1]))
            return number + 1, tf.ensure_shape(tf.dynamic_stitch(rows, parts), images.shape)

        # A loop of the graph, since unrolled it would hold every step `most` times.
        _, images = tf.while_loop(lambda number, _: number < self.most, one_round, (0, images))
        return images, labels

    def describe(self) -> dict:
        """As for any step; the steps inside are described too."""
        inner = [step.describe() for step in self.steps]
        return {"step": self.name, "least": self.least, "most": self.most, "steps": inner}

    def __str__(self) -> str:
        return f"{self.name}({self.least} to {self.most} of: {'; '.join(map(str, self.steps))})"
