"""Learning rates of the schedules against values worked out by hand."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from leukemia_tf.errors import InputError
from leukemia_tf.training import Phase
from leukemia_tf.training.schedules import OneCycle, Triangular2, make_schedule


def rates(schedule, steps) -> list[float]:
    return [float(schedule(step)) for step in steps]


def test_constant_is_a_number():
    assert make_schedule(Phase("p", learning_rate=0.1), None) == 0.1


def test_cosine_warms_up_and_ends_at_zero():
    schedule = make_schedule(Phase("p", schedule="cosine", epochs=10, warmup_epochs=1, learning_rate=0.1), 5)
    # 5 steps of warm-up, then half a cosine over 45: its middle is half the peak.
    np.testing.assert_allclose(rates(schedule, (0, 5, 27.5, 50)), [0.0, 0.1, 0.05, 0.0], atol=1e-6)


def test_one_cycle_has_its_corners_and_middles_where_pytorch_has_them():
    schedule = make_schedule(Phase("p", schedule="one_cycle", epochs=10, learning_rate=1e-3), 10)
    # Up from max / 25 in 0.3 * 100 - 1 steps, down to (max / 25) / 1e4 at step 99, where it stays. In the middle of
    # either way half a cosine is at the mean of its ends.
    expected = {0: 4e-5, 14.5: (4e-5 + 1e-3) / 2, 29: 1e-3, 64: (1e-3 + 4e-9) / 2, 99: 4e-9, 150: 4e-9}
    np.testing.assert_allclose(rates(schedule, expected), list(expected.values()), rtol=1e-4, atol=2e-10)
    # A quarter of the way up: 4e-5 + 9.6e-4 * (1 - cos(45 degrees)) / 2.
    assert float(schedule(7.25)) == pytest.approx(4e-5 + 9.6e-4 * (1 - np.sqrt(0.5)) / 2, rel=1e-4)


def test_one_cycle_stepped_once_stays_at_the_published_constant():
    """Systems 001-A and 001-B gave the schedule their validation loss as its step: a rate of max / 25 all along."""
    schedule = OneCycle(1e-3, total_steps=50 * 900, final_div_factor=1000)
    assert float(schedule(0)) == pytest.approx(4e-5, rel=1e-6)
    np.testing.assert_allclose(rates(schedule, (0.9, 0.02)), 4e-5, rtol=1e-6)


@pytest.mark.parametrize("total", [1, 2, 3, 4, 10])
def test_one_cycle_of_a_few_steps_stays_between_its_ends(total):
    values = rates(OneCycle(1.0, total), range(total))
    assert np.isfinite(values).all() and values[-1] <= 1 / 25 and max(values) <= 1.0


def test_triangles_halve():
    phase = Phase("p", schedule="triangular2", learning_rate=1e-3)
    # 5 batches up and 5 down from 1e-5; the second triangle is half as high, the third a quarter.
    expected = {
        0: 1e-5, 3: 1e-5 + 0.6 * 9.9e-4, 5: 1e-3, 8: 1e-5 + 0.4 * 9.9e-4, 10: 1e-5, 15: 1e-5 + 9.9e-4 / 2, 20: 1e-5,
        25: 1e-5 + 9.9e-4 / 4,
    }  # fmt: skip
    np.testing.assert_allclose(rates(make_schedule(phase, None), expected), list(expected.values()), rtol=1e-5)


def test_triangles_of_system_000_are_gone_after_its_first_epoch():
    """90 batches an epoch: the peaks fall from 1e-3 to 1.2e-5 as the second epoch begins."""
    schedule = Triangular2(1e-5, 1e-3, 5)
    assert max(rates(schedule, range(90, 180))) == pytest.approx(1.2e-5, abs=1e-7)
    assert max(rates(schedule, range(1000, 1010))) == pytest.approx(1e-5, rel=1e-6)


def test_piecewise_falls_with_the_first_batch_after_each_share():
    # MedMNIST: times 0.1 at 50 % and 75 %. 8 epochs of 5 batches: from batch 20 and from batch 30 on.
    schedule = make_schedule(Phase("p", schedule="piecewise", epochs=8, learning_rate=1e-3), 5)
    expected = {0: 1e-3, 19: 1e-3, 20: 1e-4, 29: 1e-4, 30: 1e-5, 39: 1e-5}
    np.testing.assert_allclose(rates(schedule, expected), list(expected.values()), rtol=1e-6)
    config = {"boundaries": [0.4], "factor": 0.5}
    schedule = make_schedule(Phase("p", schedule="piecewise", schedule_config=config, epochs=1, learning_rate=1.0), 10)
    assert rates(schedule, range(10)) == [1.0] * 4 + [0.5] * 6


@pytest.mark.parametrize("schedule", [OneCycle(1e-3, 100, 0.2, 10.0, 100.0), Triangular2(1e-5, 1e-3, 7)])
def test_schedules_are_saved_with_an_optimizer_and_move_with_its_steps(schedule):
    optimizer = keras.optimizers.deserialize(keras.optimizers.serialize(keras.optimizers.AdamW(schedule)))
    variable = keras.Variable([1.0])
    optimizer.build([variable])
    for step in range(4):
        assert float(optimizer.learning_rate) == pytest.approx(float(schedule(step)))
        optimizer.apply([keras.ops.ones(1)])


@pytest.mark.parametrize("name", ["cosine", "one_cycle", "piecewise"])
def test_a_schedule_over_an_unknown_number_of_steps_is_refused(name):
    with pytest.raises(InputError, match=f"'{name}' of phase `p` needs `steps_per_epoch`. Received: None"):
        make_schedule(Phase("p", schedule=name), None)


@pytest.mark.parametrize(
    ("schedule", "config", "message"),
    [
        ("one_cycle", {"pct": 0.3}, "'one_cycle' takes pct_start, div_factor, final_div_factor. Received: 'pct'"),
        ("constant", {"factor": 0.1}, "'constant' takes no numbers. Received: 'factor'"),
        ("one_cycle", {"pct_start": 1}, "share of the phase between 0 and 1. Received: 1"),
        ("one_cycle", {"div_factor": 0.5}, "at least 1. Received: 0.5"),
        ("one_cycle", {"final_div_factor": "x"}, "at least 1. Received: 'x'"),
        ("triangular2", {"base": 0}, "learning rate above 0. Received: 0"),
        ("triangular2", {"base": 1e-3}, "below its `learning_rate`.*Received: 0.001"),
        ("triangular2", {"step_size_up": 2.5}, "whole number of batches, 1 or more. Received: 2.5"),
        ("piecewise", {"boundaries": [0.75, 0.5]}, r"rising shares.*Received: \[0.75, 0.5\]"),
        ("piecewise", {"boundaries": []}, r"rising shares.*Received: \[\]"),
        ("piecewise", {"factor": 1.0}, "between 0 and 1. Received: 1.0"),
    ],
)
def test_wrong_numbers_are_named(schedule, config, message):
    with pytest.raises(InputError, match=f"`schedule_config.*phase `mine`.*{message}") as caught:
        Phase("mine", schedule=schedule, schedule_config=config)
    assert "\n" not in str(caught.value)
