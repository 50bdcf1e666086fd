"""Errors by drawing events anew, against errors that are known."""

from __future__ import annotations

import numpy as np
import pytest

from nnt.metrics import bootstrap, difference_errors
from nnt.metrics.bootstrap import resamples


def mean_of(values):
    return lambda rows: {"mean": float(np.mean(values[rows]))}


def test_a_replica_holds_whole_events() -> None:
    event = np.array([3, 0, 0, 3, 1, 3, 5])
    rows, scale = resamples(event, n_replicas=50)
    assert scale == 1.0
    for drawn in rows:
        for number in np.unique(event):
            counts = [(drawn == row).sum() for row in np.flatnonzero(event == number)]
            assert len(set(counts)) == 1
        assert len(np.unique(event)) == sum(
            (drawn == np.flatnonzero(event == number)[0]).sum()
            for number in np.unique(event)
        )


def test_single_tracks_give_the_error_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(size=2000)
    drawn = resamples(np.arange(2000), n_replicas=400)
    error = bootstrap(mean_of(values), drawn).errors()["mean"]
    assert error == pytest.approx(np.std(values) / np.sqrt(2000), rel=0.1)


def test_tracks_of_one_event_count_as_one() -> None:
    of_event = np.random.default_rng(0).normal(size=500)
    values, event = np.repeat(of_event, 4), np.repeat(np.arange(500), 4)
    error = bootstrap(mean_of(values), resamples(event, n_replicas=400)).errors()
    assert error["mean"] == pytest.approx(np.std(values) / np.sqrt(500), rel=0.1)


def test_a_part_of_the_events_stands_for_all() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    rows, scale = resamples(np.arange(20_000), n_replicas=400, max_rows=2000)
    assert {len(drawn) for drawn in rows} == {2000}
    error = bootstrap(mean_of(values), (rows, scale)).errors()["mean"]
    assert error == pytest.approx(1 / np.sqrt(20_000), rel=0.15)


def test_what_two_networks_share_drops_out_of_their_difference() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 10, 1000), rng.normal(0, 1, 1000)
    drawn = resamples(np.arange(1000), n_replicas=400)
    first = bootstrap(mean_of(shared), drawn)
    second = bootstrap(mean_of(shared + own), drawn)
    error = difference_errors(first, second)["mean"]
    assert error == pytest.approx(1 / np.sqrt(1000), rel=0.15)
    assert first.errors()["mean"] > 5 * error
    assert difference_errors(first, first)["mean"] == 0


def test_a_figure_that_replicas_lack_is_judged_by_the_others() -> None:
    values = np.arange(6.0)

    def rare(rows):
        return {"mean": float(values[rows].mean())} if 5 in rows else {}

    replicas = bootstrap(rare, resamples(np.arange(6), n_replicas=60))
    there = replicas.values["mean"][np.isfinite(replicas.values["mean"])]
    assert 10 < len(there) < 60
    assert replicas.errors()["mean"] == pytest.approx(np.std(there, ddof=1))
