"""Errors by drawing events anew, against errors that are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from nnt.metrics import EventDraws, Replicas, difference_errors

R = 400


def means(values: npt.NDArray[np.float64], event: npt.NDArray[np.int64]) -> Replicas:
    draws = EventDraws(event, R)
    everything = np.zeros(len(values), dtype=np.int32)
    total, number = draws.sums([values, np.ones(len(values))], everything, 1)
    return Replicas(values={"mean": (total / number)[0]})


def test_single_tracks_give_the_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    error = means(values, np.arange(2000)).errors()["mean"]
    assert error == pytest.approx(np.std(values) / np.sqrt(2000), rel=0.1)


def test_tracks_of_one_event_count_as_one() -> None:
    of_event = np.random.default_rng(0).normal(size=500)
    values, event = np.repeat(of_event, 4), np.repeat(np.arange(500), 4)
    error = means(values, event).errors()["mean"]
    assert error == pytest.approx(np.std(values) / np.sqrt(500), rel=0.1)


def test_what_two_networks_share_drops_out_of_their_difference() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 10, 1000), rng.normal(0, 1, 1000)
    first = means(shared, np.arange(1000))
    second = means(shared + own, np.arange(1000))
    error = difference_errors(first, second)["mean"]
    assert error == pytest.approx(1 / np.sqrt(1000), rel=0.15)
    assert first.errors()["mean"] > 5 * error
    assert difference_errors(first, first)["mean"] == 0


def test_a_figure_that_replicas_lack_is_judged_by_the_others() -> None:
    values = np.array([1.0, np.nan, 3.0, np.nan, 5.0])
    assert Replicas(values={"rare": values}).errors()["rare"] == pytest.approx(2.0)
    assert np.isnan(Replicas(values={"rare": values[:2]}).errors()["rare"])
