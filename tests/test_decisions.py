"""Events, the single-track trigger, momentum and bins, against plain loops."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from some_plots import figures

from nnt import metrics
from nnt.metrics import Predictions


def rows(n: int = 400, seed: int = 0, events: int | None = None) -> Predictions:
    rng = np.random.default_rng(seed)
    z = np.where(rng.random(n) < 0.5, rng.normal(0, 0.8, n), rng.uniform(-90, 90, n))
    theta = rng.uniform(20, 150, n)
    columns: dict[str, Any] = {
        "z_reco_cm": z,
        "theta_reco_deg": theta,
        "z_cm": z + rng.normal(0, 6, n),
        "theta_deg": theta + rng.normal(0, 10, n),
        "pt_gev": rng.uniform(0.2, 1.5, n),
        "phi_deg": rng.uniform(0, 360, n),
    }
    return Predictions(
        event=rng.integers(0, events or n // 3, n),
        expert=rng.integers(0, 3, n),
        n_tracks=rng.integers(1, 14, n),
        **{n: values.astype(np.float32) for n, values in columns.items()},
    )


@given(st.integers(1, 60), st.integers(0, 1000), st.integers(1, 20))
@settings(max_examples=60)
def test_an_event_passes_with_its_nearest_track(n: int, seed: int, events: int) -> None:
    view = rows(n, seed, events)
    told = metrics.all_decisions(view)["event_", ""]
    assert told.event.tolist() == sorted(set(view.event.tolist()))
    for k, event in enumerate(told.event):
        mine = [i for i in range(n) if view.event[i] == event]
        assert told.distance_cm[k] == min(abs(view.z_cm[i]) for i in mine)
        assert told.signal[k] == any(abs(view.z_reco_cm[i]) < 1 for i in mine)
        assert told.background[k] == all(abs(view.z_reco_cm[i]) > 20 for i in mine)


def test_figures_of_events_are_those_of_a_plain_loop() -> None:
    view = rows()
    figures = metrics.network_metrics(view)
    events = [view[view.event == event] for event in set(view.event.tolist())]
    passing = [(mine, any(abs(z) < 15 for z in mine.z_cm)) for mine in events]
    near = [kept for mine, kept in passing if any(abs(mine.z_reco_cm) < 1)]
    far = [kept for mine, kept in passing if all(abs(mine.z_reco_cm) > 20)]
    assert figures["event_efficiency_at_15cm"] == np.mean(near)
    assert figures["event_rejection_at_15cm"] == 1 - np.mean(far)
    assert figures["event_efficiency_at_15cm"] > figures["efficiency_at_15cm"]


def test_the_single_track_trigger_asks_for_momentum() -> None:
    view = rows()
    assert view.theta_deg is not None
    assert view.pt_gev is not None
    told = metrics.all_decisions(view)["stt_", ""]
    for i in range(len(view)):
        told_gev = view.pt_gev[i] / math.sin(math.radians(view.theta_deg[i]))
        true_gev = view.pt_gev[i] / math.sin(math.radians(view.theta_reco_deg[i]))
        expected = abs(view.z_cm[i]) if told_gev > 0.7 else math.inf
        assert told.distance_cm[i] == expected
        assert told.signal[i] == (abs(view.z_reco_cm[i]) < 1 and true_gev > 0.7)
        assert told.background[i] == (abs(view.z_reco_cm[i]) > 20)


def test_a_working_point_that_momentum_forbids_is_left_out() -> None:
    view = rows(3000)
    slow = dataclasses.replace(view, theta_deg=np.full(3000, 90, np.float32))
    figures = metrics.network_metrics(slow)
    assert "stt_efficiency_at_15cm" in figures
    assert "stt_rejection_at_eff98" not in figures
    assert "rejection_at_eff98" in figures
    assert all(math.isfinite(value) for value in figures.values())


def test_without_momentum_there_is_no_single_track_trigger() -> None:
    names = metrics.network_metrics(dataclasses.replace(rows(), pt_gev=None))
    assert not any(name.startswith("stt_") for name in names)
    assert "event_roc_area" in names


def test_working_points_are_those_of_cutting_by_hand() -> None:
    view = rows(2000)
    figures = metrics.network_metrics(view)
    signal = view.z_cm[np.abs(view.z_reco_cm) < 1]
    background = view.z_cm[np.abs(view.z_reco_cm) > 20]
    for percent in (95, 96, 98):
        cut_cm = metrics.cut_at_efficiency_cm(signal, percent / 100)
        assert figures[f"cut_cm_at_eff{percent}"] == cut_cm
        rejection = np.mean(np.abs(background) >= cut_cm)
        assert figures[f"rejection_at_eff{percent}"] == pytest.approx(rejection)


def test_the_stiffest_tracks_count_and_unknown_momentum_does_not() -> None:
    right = np.full(6, 90, np.float32)
    view = dataclasses.replace(
        rows(6, events=6),
        z_reco_cm=np.array([0, 0, 0, 50, 50, 50], np.float32),
        theta_deg=right,
        theta_reco_deg=right,
        pt_gev=np.array([np.inf, np.nan, 1, np.inf, np.nan, 1], np.float32),
    )
    found = metrics.all_decisions(view)["stt_", ""]
    assert found.signal.tolist() == [True, False, True, False, False, False]
    assert found.background.tolist() == [False, False, False, True, False, True]
    assert np.isfinite(found.distance_cm[[0, 2, 3, 5]]).all()


@pytest.mark.parametrize("n_tails", [0, 30_000])
def test_tails_do_not_move_the_core(n_tails: int) -> None:
    rng = np.random.default_rng(1)
    tails = rng.uniform(-80, 120, n_tails)
    core = metrics.core_fit(np.concatenate([rng.normal(-2, 1.5, 70_000), tails]))
    assert core is not None
    assert core.mean == pytest.approx(-2, abs=0.05)
    assert core.std == pytest.approx(1.5, rel=0.03)
    assert core.share == pytest.approx(70_000 / (70_000 + n_tails), abs=0.02)


def test_errors_of_the_core_are_the_spread_of_repeated_fits() -> None:
    rng = np.random.default_rng(2)
    found = [metrics.core_fit(rng.normal(0, 2, 2000)) for _ in range(200)]
    fits = [fit for fit in found if fit is not None]
    assert len(fits) == 200
    spread = np.std([(fit.mean, fit.std) for fit in fits], axis=0)
    told = np.mean([(fit.mean_error, fit.std_error) for fit in fits], axis=0)
    assert spread == pytest.approx(told, rel=0.35)


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [0.0] * 500, np.arange(29.0), [0.0] * 400 + [1.0] * 30, [np.nan] * 99],
)
def test_little_or_odd_data_have_no_core(values: Any) -> None:
    assert metrics.core_fit(np.asarray(values, dtype=np.float32)) is None


@given(st.integers(30, 200), st.integers(0, 500), st.floats(1e-6, 1e6))
@settings(max_examples=50)
def test_a_core_is_finite_or_none(n: int, seed: int, scale: float) -> None:
    values = np.random.default_rng(seed).standard_cauchy(n) * scale
    core = metrics.core_fit(values.astype(np.float32))
    assert core is None or all(map(math.isfinite, dataclasses.astuple(core)))


def test_slopes_in_bins_are_those_of_straight_lines() -> None:
    rng = np.random.default_rng(3)
    at = rng.uniform(-100, 100, 3000).astype(np.float32)
    residual = (-0.4 * at + 7 + rng.normal(0, 3, 3000)).astype(np.float32)
    edges = np.linspace(-100, 100, 6)
    bins = metrics.residuals_in_bins(residual, at, edges, np.arange(len(at)))
    for i in range(5):
        inside = (at >= edges[i]) & (at < edges[i + 1])
        (slope, _), covariance = np.polyfit(at[inside], residual[inside], 1, cov=True)
        assert bins.slope[i] == pytest.approx(slope, rel=1e-4)
        assert bins.slope_error[i] == pytest.approx(covariance[0, 0] ** 0.5, rel=1e-3)


def test_bins_of_one_place_have_no_slope() -> None:
    at = np.array([5, 5, 5, 15, 25, 25], dtype=np.float32)
    edges = [0, 10, 20, 30, 40]
    bins = metrics.residuals_in_bins(np.arange(6.0), at, edges, np.arange(6))
    assert np.isnan(bins.slope).all()
    assert np.isnan(bins.slope_error).all()


def test_everything_the_rows_have_is_told_against() -> None:
    view = rows()
    view = dataclasses.replace(view, charge=np.resize([-1.0, 1.0], len(view.z_cm)))
    told = metrics.in_bins(view)
    names = {f"{q}_against_{n}" for q in ("z", "theta") for n in metrics.AXES}
    assert told.keys() == names
    less = dataclasses.replace(
        view, phi_deg=None, n_tracks=None, charge=None, theta_deg=None
    )
    assert metrics.in_bins(less).keys() == {
        "z_against_z", "z_against_theta", "z_against_pt"
    }  # fmt: skip
    crowded = told["z_against_n_tracks"]
    assert view.n_tracks is not None
    residual = (view.z_cm - view.z_reco_cm)[view.n_tracks >= 10]
    assert crowded.n_tracks[-1] == len(residual)
    assert crowded.mean[-1] == pytest.approx(residual.mean(), rel=1e-4)


def test_efficiency_in_bins_counts_the_signal_of_each() -> None:
    view = rows(3000)
    assert view.pt_gev is not None
    told = metrics.efficiency_in_bins(view)["pt"]
    kept = np.abs(view.z_cm) < metrics.network_metrics(view)["cut_cm_at_eff96"]
    near = np.abs(view.z_reco_cm) < 1
    for i, (lower, upper) in enumerate(itertools.pairwise(metrics.AXES["pt"].edges)):
        chosen = kept[near & (view.pt_gev >= lower) & (view.pt_gev < upper)]
        assert told.n_tracks[i] == len(chosen)
        if len(chosen):
            assert told.share[i] == np.mean(chosen)
            expected = metrics.binomial_error(told.share[i], len(chosen))
            assert told.error[i] == pytest.approx(expected, rel=0.5)
        else:
            assert np.isnan([told.share[i], told.error[i]]).all()


@pytest.mark.parametrize("percent", [95, 96, 98])
@pytest.mark.parametrize(("prefix", "by_class"), [("", "nnt"), ("stt_", "stt")])
def test_the_cut_of_a_class_is_the_highest_that_keeps_the_share(
    percent: int, prefix: str, by_class: str
) -> None:
    view = rows(900)
    output = np.random.default_rng(1).normal(0, 0.4, 900).astype(np.float32)
    output -= np.abs(view.z_reco_cm) / 60
    outputs: dict[str, Any] = {by_class: output}
    view = dataclasses.replace(view, **outputs)
    assert view.pt_gev is not None
    momentum = view.pt_gev / np.sin(np.radians(view.theta_reco_deg))
    near = np.abs(view.z_reco_cm) < 1
    signal = near & (momentum > 0.7) if prefix else near
    found = metrics.network_metrics(view)
    cut = found[f"{prefix}cut_at_eff{percent}_by_class"]
    assert np.mean(output[signal] > cut) >= percent / 100
    higher = min(value for value in output[signal] if value > cut)
    assert np.mean(output[signal] > higher) < percent / 100
    background = output[np.abs(view.z_reco_cm) > 20]
    rejection = found[f"{prefix}rejection_at_eff{percent}_by_class"]
    assert rejection == pytest.approx(np.mean(background <= cut))
    pairs = np.sign(output[signal][:, None] - background[None, :])
    area = found[f"{prefix}roc_area_by_class"]
    assert area == pytest.approx((pairs.mean() + 1) / 2)


def test_the_charge_asymmetry_is_positive_minus_negative_efficiency() -> None:
    view = rows(2000)
    charge = np.random.default_rng(2).choice([-1, 0, 1], 2000).astype(np.float32)
    view = dataclasses.replace(view, charge=charge)
    found = metrics.network_metrics(view)
    kept = np.abs(view.z_cm) < found["cut_cm_at_eff96"]
    near = np.abs(view.z_reco_cm) < 1
    expected = kept[near & (charge == 1)].mean() - kept[near & (charge == -1)].mean()
    assert found["charge_asymmetry_at_eff96"] == pytest.approx(expected)


def test_tracks_of_no_particle_count_as_nothing_but_themselves() -> None:
    view = rows(2000)
    fake = np.random.default_rng(3).random(2000) < 0.3
    output = np.random.default_rng(4).normal(size=2000).astype(np.float32)
    view = dataclasses.replace(view, nnt=output)
    alone = metrics.network_metrics(view[~fake])
    found = metrics.network_metrics(dataclasses.replace(view, fake=fake))
    events = {"n_tracks", *(name for name in alone if name.startswith("event_"))}
    for name, value in alone.items():
        if name not in events:
            assert found[name] == pytest.approx(value), name
    for suffix, kept in (
        ("", np.abs(view.z_cm) < alone["cut_cm_at_eff96"]),
        ("_by_class", output > alone["cut_at_eff96_by_class"]),
    ):
        rejected = found[f"fake_rejection_at_eff96{suffix}"]
        assert rejected == pytest.approx(1 - kept[fake].mean())
        unwanted = fake | (np.abs(view.z_reco_cm) > 20)
        rejected = found[f"unwanted_rejection_at_eff96{suffix}"]
        assert rejected == pytest.approx(1 - kept[unwanted].mean())


def test_an_event_of_background_and_fakes_is_background() -> None:
    view = rows(600)
    fake = np.random.default_rng(5).random(600) < 0.4
    view = dataclasses.replace(view, fake=fake)
    decision = metrics.all_decisions(view)["event_", ""]
    for i, event in enumerate(decision.event):
        mine = view.event == event
        size = np.abs(view.z_reco_cm[mine])
        real = ~fake[mine]
        assert decision.signal[i] == (real & (size < 1)).any()
        assert decision.background[i] == (~real | (size > 20)).all()
    assert 0 < decision.background.mean() < 1


def test_fakes_are_counted_and_drawn() -> None:
    view = rows(2000)
    assert "n_fake" not in metrics.Sample.of(view).sizes()
    assert "fake_rejection_against_efficiency" not in figures(view)
    fake = np.random.default_rng(3).random(2000) < 0.3
    view = dataclasses.replace(view, fake=fake)
    assert metrics.Sample.of(view).sizes()["n_fake"] == fake.sum()
    figure = figures(view)["fake_rejection_against_efficiency"]
    (axes,) = figure.axes
    assert axes.get_ylabel() == "rejection of fakes"
    kept = np.abs(view.z_cm) <= np.quantile(
        np.abs(view.z_cm[~fake & (np.abs(view.z_reco_cm) < 1)]), 0.9, method="higher"
    )
    curve = axes.lines[0]
    drawn = np.interp(0.9, *np.asarray(curve.get_data(), dtype=np.float64))
    assert drawn == pytest.approx(1 - kept[fake].mean(), abs=0.02)


def test_a_network_of_a_class_alone_has_no_metrics_of_z() -> None:
    view = dataclasses.replace(
        rows(300), has_z=False, theta_deg=None, nnt=np.linspace(-1, 1, 300)
    )
    found = metrics.network_metrics(view)
    assert {name for name in found if not name.endswith("_by_class")} == {"n_tracks"}
    assert "rejection_at_eff96_by_class" in found
