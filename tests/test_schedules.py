"""The learning rate of every epoch is what a schedule says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from some_fits import run

from nnt.engine import (
    Epoch,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def rates(told: list[Epoch]) -> list[float]:
    return [epoch.metrics["lr"] for epoch in told]


@pytest.mark.parametrize("final", [0.0, 0.002])
def test_cosine_schedule_goes_from_the_first_rate_to_the_final(final: float) -> None:
    schedule = {"name": "cosine", "final": final}
    _, told = run(epochs=5, learning_rate=0.01, lr_schedule=schedule)
    turn = np.cos(np.pi * np.arange(5) / 4)
    expected = (0.01 + final) / 2 + (0.01 - final) / 2 * turn
    np.testing.assert_allclose(rates(told), expected, atol=1e-12)


def test_step_schedule_multiplies_every_so_many_epochs() -> None:
    schedule = {"name": "step", "every": 2, "factor": 0.1}
    _, told = run(epochs=5, learning_rate=0.01, lr_schedule=schedule)
    np.testing.assert_allclose(rates(told), [1e-2, 1e-2, 1e-3, 1e-3, 1e-4])


def test_plateau_schedule_lowers_only_without_gain() -> None:
    schedule = {"name": "plateau", "patience": 1, "factor": 0.5}
    _, told = run(
        epochs=40,
        learning_rate=0.3,
        lr_schedule=schedule,
        early_stopping_patience=None,
    )
    best, since, rate = math.inf, 0, 0.3
    for epoch in told:
        assert epoch.metrics["lr"] == pytest.approx(rate)
        since = 0 if epoch.metrics["val/loss"] < best else since + 1
        best = min(best, epoch.metrics["val/loss"])
        if since > 1:
            rate, since = rate * 0.5, 0
    assert rate < 0.3


def test_rate_of_a_schedule_reaches_the_optimiser() -> None:
    schedule = {"name": "step", "every": 1, "factor": 1e-12}
    first, _ = run(epochs=1)
    second, _ = run(epochs=3, lr_schedule=schedule)
    np.testing.assert_allclose(
        first.state["net.0.weight"], second.state["net.0.weight"], atol=1e-8
    )
