"""Classes of rows, and weights that balance them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnt.classes import BINS, Balance, class_targets, spread_of_weights
from nnt.types import F32


@pytest.mark.parametrize(
    ("z_cm", "fast", "target", "count"),
    [
        (0.5, None, 1, 1),
        (-0.5, None, 1, 1),
        (5.0, None, -1, 0),
        (-25.0, None, -1, 1),
        (20.0, None, -1, 0),
        (1.0, None, -1, 0),
        (math.nan, None, -1, 0),
        (0.5, True, 1, 1),
        (0.5, False, -1, 1),
        (5.0, False, -1, 1),
        (math.nan, False, -1, 0),
    ],
)
def test_class_of_a_row(
    z_cm: float, fast: bool | None, target: int, count: int
) -> None:
    told = None if fast is None else np.array([fast])
    targets, counts = class_targets(np.array([z_cm]), 1.0, 20.0, told)
    assert (targets.item(), counts.item()) == (target, count)
    # Nothing is between equal limits.
    targets, counts = class_targets(np.array([z_cm]), 1.0, 1.0, told)
    near = abs(z_cm) < 1 and fast is not False
    assert (targets.item(), counts.item()) == (1 if near else -1, math.isfinite(z_cm))


def rows(seed: int, n: int = 600) -> tuple[F32, F32, dict[str, F32]]:
    """Rows whose background has other charges and momenta than their signal."""
    rng = np.random.default_rng(seed)
    z_cm = rng.choice([0.0, 5.0, 30.0], n, p=(0.3, 0.2, 0.5))
    background = z_cm > 0
    charge = np.where(rng.random(n) < np.where(background, 0.8, 0.5), 1.0, -1.0)
    pt_gev = rng.exponential(np.where(background, 0.5, 1.0))
    pt_gev[rng.random(n) < 0.05] = math.inf
    quantities = {"charge": charge, "pt": pt_gev}
    targets, counts = class_targets(z_cm, 1.0, 20.0)
    return targets, counts, {k: v.astype(np.float32) for k, v in quantities.items()}


@given(
    st.integers(0, 999), st.sampled_from([(), ("charge",), ("pt",), ("charge", "pt")])
)
def test_spectra_are_equal_and_weights_average_one(
    seed: int, names: tuple[str, ...]
) -> None:
    targets, counts, all_quantities = rows(seed)
    quantities = {name: all_quantities[name] for name in names}
    balance = Balance.fit(targets, counts, quantities)
    weights = balance.weights(targets, counts, quantities).astype(np.float64)
    signal = targets > 0
    assert not weights[counts == 0].any()
    assert weights.mean() == pytest.approx(1, rel=1e-6)
    assert weights[signal].sum() == pytest.approx(weights[~signal].sum(), rel=1e-6)
    for name, values in quantities.items():
        bins = np.searchsorted(balance.edges[name], values, side="right")
        spectra = [
            np.bincount(bins[rows], weights[rows], minlength=BINS)
            for rows in (signal, ~signal)
        ]
        np.testing.assert_allclose(spectra[0], spectra[1], rtol=1e-5)


def test_bins_without_either_are_left_out() -> None:
    targets = np.array([1, 1, -1, -1], np.float32)
    charge = np.array([1, -1, -1, -1], np.float32)
    ones = np.ones(4, np.float32)
    balance = Balance.fit(targets, ones, {"charge": charge})
    found = balance.weights(targets, ones, {"charge": charge})
    assert found.tolist() == [0, 2, 1, 1]


@pytest.mark.parametrize("target", [-1, 1])
def test_rows_of_one_class_alone_count_nothing(target: int) -> None:
    targets, ones = np.full(5, target, np.float32), np.ones(5, np.float32)
    assert not Balance.fit(targets, ones, {}).weights(targets, ones, {}).any()


def test_spread_of_weights() -> None:
    assert spread_of_weights(np.array([2.0, 2.0, 0.0])) == 1
    assert spread_of_weights(np.array([1.0, 3.0])) == pytest.approx(16 / 20)
    assert spread_of_weights(np.zeros(3)) == 0
