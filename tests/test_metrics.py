"""Residuals, efficiency, rejection, feed-down: against slow plain references."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnt import metrics
from nnt.detector import scale_theta, scale_z, theta_to_deg, z_to_cm
from nnt.metrics import Predictions
from nnt.metrics.decisions import area_of_sorted
from nnt.objective import REGRESSION_KINDS, SQUARED, residual_loss
from nnt.tracks import Tracks, read_tracks
from nnt.tracks.table import make_ids

F32 = npt.NDArray[np.float32]

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "belle2_exp20_sample.gz"

LENGTHS_CM = arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(-100, 100, width=32),
)


def predicted(
    z_reco_cm: npt.ArrayLike,
    z_cm: npt.ArrayLike,
    theta_deg: npt.ArrayLike | None = None,
) -> Predictions:
    z_reco = np.asarray(z_reco_cm, dtype=np.float32)
    n = len(z_reco)
    return Predictions(
        z_reco_cm=z_reco,
        theta_reco_deg=np.full(n, 90, dtype=np.float32),
        z_cm=np.asarray(z_cm, dtype=np.float32),
        theta_deg=None if theta_deg is None else np.asarray(theta_deg, np.float32),
        event=np.arange(n),
        expert=np.zeros(n, dtype=np.int64),
    )


def share_below(z_cm: F32, cut_cm: float) -> float:
    return float(np.mean(np.abs(z_cm) < cut_cm))


def smeared(n: int = 2000) -> Predictions:
    rng = np.random.default_rng(1)
    z_reco = rng.choice([0.3, 1.0, 40.0], n) * rng.normal(size=n)
    return predicted(z_reco, z_reco + rng.normal(0, 5, n))


def everything_about(z_reco_cm: F32, z_cm: F32) -> None:
    """Call every function that takes outputs of a network."""
    n = len(z_cm)
    theta_deg = np.full(n, 90, dtype=np.float32)
    rows = dataclasses.replace(
        predicted(z_reco_cm, z_cm, z_cm),
        event=np.arange(n) // 2,
        expert=np.arange(n) % 2,
        pt_gev=np.ones(n, dtype=np.float32),
        phi_deg=theta_deg,
        n_tracks=np.full(n, 2),
    )
    metrics.network_metrics(rows, {"loss": z_cm})
    metrics.in_bins(rows)
    metrics.efficiency_in_bins(rows)
    metrics.replicas(rows, {"loss": z_cm}, metrics.EventDraws(rows.event, 5)).errors()
    edges = np.linspace(-100, 100, 11)
    metrics.residuals_in_bins(theta_deg, z_cm, edges, rows.event)
    metrics.cut_at_efficiency_cm(z_cm, 0.96)
    metrics.pt_from_crossing_angles(np.repeat(z_cm[:, None], 27, axis=1))
    scaled = np.stack([z_cm, z_cm], axis=1)
    for kind in REGRESSION_KINDS.values():
        residual_loss(kind, scaled)
    for convert in (scale_z, scale_theta, z_to_cm, theta_to_deg):
        convert(z_cm)


@pytest.mark.parametrize("every", [1, 2, 37])
@pytest.mark.parametrize(
    "values",
    [[np.inf], [-np.inf], [np.nan], [np.inf, np.nan, -np.inf], [1e38], [3e38, -3e38]],
    ids=str,
)
def test_outputs_of_any_value_are_judged_without_a_warning(
    values: list[float], every: int
) -> None:
    rows = smeared(400)
    z_cm = rows.z_cm.copy()
    z_cm[::every] = np.resize(values, len(z_cm[::every]))
    everything_about(rows.z_reco_cm, z_cm)
    scaled = np.stack([z_cm, z_cm], axis=1)
    loss = residual_loss(SQUARED, scaled).mean()
    finite = bool(np.isfinite(z_cm).all())
    assert (math.isfinite(loss), math.isfinite(metrics.std(z_cm))) == (finite, finite)


@settings(max_examples=20)
@given(arrays(np.float32, st.integers(1, 60), elements=st.floats(width=32)))
def test_any_floats_are_judged_without_a_warning(z_cm: F32) -> None:
    everything_about(np.linspace(-50, 50, len(z_cm), dtype=np.float32), z_cm)


def test_an_output_that_is_not_a_number_does_not_hide_the_event() -> None:
    rows = dataclasses.replace(
        predicted([0.5, 0.5], [np.nan, 3.0]), event=np.zeros(2, dtype=np.int64)
    )
    assert metrics.all_decisions(rows)["event_", ""].distance_cm == [3.0]


@pytest.mark.parametrize("name", sorted(REGRESSION_KINDS))
def test_losses_are_those_of_torch(name: str) -> None:
    rng = np.random.default_rng(0)
    output, target = rng.normal(0, 2, (2, 50, 2)).astype(np.float32)
    of_torch = {"TriggerLoss": "MSELoss"}.get(name, name)
    expected = getattr(torch.nn, of_torch)()(torch.tensor(output), torch.tensor(target))
    found = residual_loss(REGRESSION_KINDS[name], output - target)
    assert found.mean() == pytest.approx(float(expected))


@given(LENGTHS_CM)
def test_std_is_that_of_numpy(values: F32) -> None:
    assert metrics.std(values) == np.std(values, dtype=np.float64)


@given(LENGTHS_CM)
def test_trimmed_std_is_that_of_the_sorted_middle(values: F32) -> None:
    n_cut = int(len(values) * 0.05)
    middle = sorted(float(v) for v in values)[n_cut : len(values) - n_cut]
    mean = sum(middle) / len(middle)
    slow = math.sqrt(sum((v - mean) ** 2 for v in middle) / len(middle))
    assert metrics.trimmed_std(values) == pytest.approx(slow, rel=1e-6, abs=1e-6)


def test_half_width_of_a_normal_distribution_is_its_sigma() -> None:
    values = np.sort(np.random.default_rng(0).normal(3, 2, 200_000))
    assert metrics.half_width_68(values) == pytest.approx(2, rel=0.01)


@given(LENGTHS_CM, st.sampled_from(metrics.EFFICIENCIES))
def test_the_cut_is_the_smallest_that_keeps_the_share(
    z_cm: F32, efficiency: float
) -> None:
    cut_cm = metrics.cut_at_efficiency_cm(z_cm, efficiency)
    assert share_below(z_cm, cut_cm) >= efficiency
    largest_kept = np.abs(z_cm)[np.abs(z_cm) < cut_cm].max()
    assert share_below(z_cm, float(largest_kept)) < efficiency


@given(LENGTHS_CM, LENGTHS_CM)
def test_roc_area_is_the_share_of_ordered_pairs(
    signal_cm: F32, background_cm: F32
) -> None:
    pairs = [
        1.0 if abs(b) > abs(s) else 0.5 if abs(b) == abs(s) else 0.0
        for s in signal_cm
        for b in background_cm
    ]
    slow = sum(pairs) / len(pairs)
    ordered = [np.sort(np.abs(z_cm)) for z_cm in (signal_cm, background_cm)]
    assert area_of_sorted(*ordered) == pytest.approx(slow)


def test_a_perfect_network_keeps_all_signal_and_no_background() -> None:
    z_reco = np.concatenate([np.linspace(-0.9, 0.9, 50), [-60, -40, 40, 60]])
    figures = metrics.network_metrics(predicted(z_reco, z_reco))
    assert figures["z_std_cm"] == figures["z_mean_cm"] == 0
    assert figures["efficiency_at_15cm"] == figures["rejection_at_15cm"] == 1
    assert figures["rejection_at_eff96"] == figures["roc_area"] == 1
    assert figures["feed_down_at_eff96"] == figures["feed_up_at_eff96"] == 0


def test_feed_down_is_of_positive_and_feed_up_of_negative_z() -> None:
    signal = np.zeros(10)
    figures = metrics.network_metrics(
        predicted(
            np.concatenate([signal, [40, 40, 40, 40], [-40, -40]]),
            np.concatenate([np.full(10, 5.0), [1, 50, 50, 50], [-1, -1]]),
        )
    )
    assert figures["feed_down_at_eff96"] == 0.25
    assert figures["feed_up_at_eff96"] == 1


def test_efficiency_is_counted_strictly_inside_the_cut() -> None:
    figures = metrics.network_metrics(predicted([0, 0, 0, 0], [0, -14.9, 15, 16]))
    assert figures["efficiency_at_15cm"] == 0.5


@pytest.mark.parametrize("z_reco", [[], [0.0], [50.0], [-50.0], [10.0]])
def test_what_cannot_be_computed_is_left_out(z_reco: list[float]) -> None:
    figures = metrics.network_metrics(predicted(z_reco, z_reco, theta_deg=z_reco))
    assert all(math.isfinite(value) for value in figures.values())
    assert "roc_area" not in figures


def test_a_network_of_z_only_has_no_theta() -> None:
    assert "theta_std_deg" not in metrics.network_metrics(smeared())


@pytest.mark.parametrize("width", [1, 2])
def test_predictions_are_in_cm_and_degrees(width: int) -> None:
    targets = np.array([[scale_z(10.0), scale_theta(60.0)]], dtype=np.float32)
    tracks = Tracks(make_ids({"Event": [7]}, 1), np.zeros((1, 27), np.float32), targets)
    outputs = dict.fromkeys(("z", "theta")[:width], targets[:, 0] * 0)
    view = metrics.predictions(tracks, outputs)
    assert view.z_reco_cm == pytest.approx(10, abs=1e-4)
    assert view.theta_reco_deg == pytest.approx(60, abs=1e-4)
    assert view.z_cm == pytest.approx(0)
    assert (view.theta_deg is None) == (width == 1)


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not here")
def test_the_network_of_the_data_taking_is_better_than_none() -> None:
    tracks = read_tracks(SAMPLE, use_cache=False)
    assert tracks.reference is not None
    z, theta = tracks.reference.T
    figures, constant = (
        metrics.network_metrics(metrics.predictions(tracks, outputs))
        for outputs in ({"z": z, "theta": theta}, {"z": 0 * z, "theta": 0 * theta})
    )
    assert figures["z_trimmed_std_cm"] < constant["z_trimmed_std_cm"]
    assert constant["roc_area"] == 0.5 < figures["roc_area"]


@given(LENGTHS_CM, st.lists(st.integers(-90, 90), min_size=2, max_size=6, unique=True))
def test_bins_hold_what_picking_by_hand_finds(at_cm: F32, edges: list[int]) -> None:
    residual = np.arange(len(at_cm), dtype=np.float64)
    event = np.arange(len(at_cm))
    bins = metrics.residuals_in_bins(residual, at_cm, sorted(edges), event)
    for i, (lower, upper) in enumerate(itertools.pairwise(sorted(edges))):
        inside = [r for r, a in zip(residual, at_cm, strict=True) if lower <= a < upper]
        assert bins.n_tracks[i] == len(inside)
        mean = np.mean(inside) if inside else np.nan
        assert bins.mean[i] == pytest.approx(mean, nan_ok=True)


def test_the_binomial_error_is_the_spread_of_repeated_counts() -> None:
    share = np.random.default_rng(0).binomial(500, 0.9, 20_000) / 500
    assert metrics.binomial_error(0.9, 500) == pytest.approx(np.std(share), rel=0.03)
    assert metrics.binomial_error([0, 1], 10).min() > 0
