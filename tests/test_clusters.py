"""Errors in closed form against slow ones, and against the spread of repetitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnt.metrics import binomial_error, residuals_in_bins, trimmed_std
from nnt.metrics.clusters import (
    event_jackknife,
    event_sums_of_squares,
    paired_ratio,
    share_errors,
)
from nnt.types import F64, I64, BoolArray


def draw(seed: int, n_events: int = 400) -> tuple[I64, F64]:
    """Events of one to three tracks that share most of what is measured."""
    rng = np.random.default_rng(seed)
    event = np.repeat(np.arange(n_events), rng.integers(1, 4, n_events))
    shared = rng.standard_t(3, n_events)[event]
    return event, 0.8 * shared + rng.normal(size=len(event))


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-1, 3), st.integers(-1, 3)), max_size=30
)


@given(ROWS)
def test_sums_over_events_are_those_of_a_loop(rows: list[tuple[int, int, int]]) -> None:
    event, bins, values = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    told = event_sums_of_squares(values.astype(float), event, bins, 3)
    slow = [
        sum(values[(event == e) & (bins == b)].sum() ** 2 for e in range(4))
        for b in range(3)
    ]
    np.testing.assert_allclose(told, slow)


@given(ROWS)
def test_ratios_are_those_of_the_counts(rows: list[tuple[int, int, int]]) -> None:
    event, upper, lower = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    ratio, error = paired_ratio(upper, lower, event, 3)
    for b in range(3):
        above, below = int((upper == b).sum()), int((lower == b).sum())
        if not below:
            assert np.isnan(ratio[b])
            continue
        assert ratio[b] == above / below
        pull = (upper == b) - above / below * (lower == b)
        slow = sum(pull[event == e].sum() ** 2 for e in range(4))
        assert error[b] == pytest.approx(np.sqrt(slow) / below)


def test_a_histogram_over_itself_has_no_error() -> None:
    event, values = draw(0)
    bins = np.digitize(values, [-1, 0, 1])
    ratio, error = paired_ratio(bins, bins, event, 4)
    np.testing.assert_array_equal(ratio, 1)
    np.testing.assert_allclose(error, 0, atol=1e-12)


def figures(event: I64, values: F64) -> dict[str, tuple[float, float]]:
    one = np.zeros(len(values), dtype=np.int64)
    share, share_error, _ = share_errors(np.abs(values) < 2, event, one, 1)
    other = values + np.random.default_rng(len(values)).normal(0, 0.3, len(values))
    upper, lower = (np.where(np.abs(own) > 1, 0, -1) for own in (other, values))
    ratio, ratio_error = paired_ratio(upper, lower, event, 1)

    def width(kept: BoolArray) -> F64:
        return np.array([trimmed_std(values[kept])])

    bins = residuals_in_bins(values, np.zeros(len(values)), [0, 1], event)
    return {
        "share": (share[0], share_error[0]),
        "ratio": (ratio[0], ratio_error[0]),
        "mean": (bins.mean[0], bins.mean_error[0]),
        "trimmed std": (bins.trimmed_std[0], bins.trimmed_std_error[0]),
        "jackknife": (trimmed_std(values), event_jackknife(width, event)[0]),
    }  # fmt: skip


def test_errors_are_the_spread_of_repetitions() -> None:
    repeated = [figures(*draw(seed)) for seed in range(300)]
    for name in repeated[0]:
        spread = np.std([told[name][0] for told in repeated])
        error = np.mean([told[name][1] for told in repeated])
        # Of 300 repetitions, the spread is known to 4 %.
        assert error == pytest.approx(spread, rel=0.15), name


def test_tracks_that_are_alike_within_events_have_larger_errors() -> None:
    event, values = draw(1)
    together, apart = figures(event, values), figures(np.arange(len(values)), values)
    assert together["share"][1] > 1.15 * apart["share"][1]
    n = len(values)
    expected = binomial_error(apart["share"][0], n)
    assert apart["share"][1] == pytest.approx(expected, rel=0.02)


def test_shares_of_nothing_and_of_all_have_errors() -> None:
    bins = np.array([0, 0, 1, 1, 3])
    passing = np.array([True, True, False, False, True])
    share, error, n_rows = share_errors(passing, np.arange(5), bins, 3)
    np.testing.assert_array_equal(share, [1, 0, np.nan])
    np.testing.assert_array_equal(n_rows, [2, 2, 0])
    assert (error[:2] == binomial_error([1, 0], 2)).all()
    assert np.isnan(error[2])


def test_one_event_has_no_jackknife() -> None:
    def total(kept: BoolArray) -> F64:
        return np.array([float(kept.sum())])

    assert np.isnan(event_jackknife(total, np.zeros(9, dtype=np.int64))).all()
    assert event_jackknife(total, np.arange(9))[0] == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 300), st.integers(0, 2**32 - 1))
def test_errors_in_bins_are_those_of_a_loop(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    event, at = rng.integers(0, 90, n), rng.integers(-1, 4, n)
    values = np.round(rng.standard_t(2, n), int(rng.integers(0, 3)))
    told = residuals_in_bins(values, at.astype(float), [0, 1, 2, 3], event)
    for b in np.unique(at[(at >= 0) & (at < 3)]):
        own = values[at == b]
        n_cut = int(0.05 * len(own))
        kept = np.sort(own)[n_cut : len(own) - n_cut]
        off, beyond = own - own.mean(), np.clip(own, kept[0], kept[-1]) - kept.mean()
        share = len(kept) / len(own)
        for figure, error, slow, influence, unit in (
            (told.mean, told.mean_error, own.mean(), off, 1),
            (told.std, told.std_error, own.std(), off**2, 2 * own.std()),
            (
                told.trimmed_std, told.trimmed_std_error, kept.std(), beyond**2,
                2 * kept.std() * share,
            ),
        ):  # fmt: skip
            far = influence - influence.mean()
            sums = [far[event[at == b] == e].sum() for e in range(90)]
            spread = np.sqrt(np.sum(np.square(sums))) / len(own)
            np.testing.assert_allclose(figure[b], slow, 1e-9, 1e-12)
            np.testing.assert_allclose(error[b], spread / (unit or np.inf), 1e-9, 1e-9)
