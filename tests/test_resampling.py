"""Errors by drawing events anew, against copying rows by hand and known errors."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from test_decisions import rows

from nnt import metrics
from nnt.metrics import METRICS, EventDraws, Metric, Predictions, Replicas, Sample
from nnt.types import F64, I64

R = 30
DOCS = Path(__file__).parent.parent / "docs" / "evaluation.md"


def table(n: int = 3000, seed: int = 0) -> Predictions:
    """Rows of which every metric can be told."""
    rng, view = np.random.default_rng([seed, 1]), rows(n, seed)
    by_class = np.tanh(2 - np.abs(view.z_reco_cm) / 8 + rng.normal(0, 1, (2, n)))
    nnt, stt = by_class.astype(np.float32)
    charge, pt_gev = rng.choice([-1.0, 1.0], n), rng.uniform(0.3, 3, n)
    view = dataclasses.replace(view, charge=charge, pt_gev=pt_gev, nnt=nnt, stt=stt)
    return dataclasses.replace(view, fake=rng.random(n) < 0.1)


def means(values: F64, event: I64) -> Replicas:
    """Replicas of a mean, as of a loss."""
    view = dataclasses.replace(table(len(values)), event=event)
    return metrics.replicas(view, {"loss": values}, EventDraws(event, 400))


def test_copies_follow_poisson_and_belong_to_the_event() -> None:
    copies = EventDraws(np.arange(9000), R).copies.astype(int)
    assert copies.mean() == pytest.approx(1, abs=0.01)
    assert copies.var() == pytest.approx(1, abs=0.02)
    assert (EventDraws(np.arange(70), R).copies == copies[:, :70]).all()
    correlation = np.corrcoef(copies.T[:200])
    assert np.abs(correlation[np.triu_indices(200, 1)]).mean() < 0.2


@pytest.mark.parametrize("n_tracks", [1, 4])
def test_tracks_of_one_event_count_as_one(n_tracks: int) -> None:
    of_event = np.random.default_rng(0).normal(size=1000)
    event = np.repeat(np.arange(1000), n_tracks)
    error = means(of_event[event], event).errors()["loss"]
    assert error == pytest.approx(np.std(of_event) / np.sqrt(1000), rel=0.1)


def test_what_two_networks_share_drops_out_of_their_difference() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(10, 10, 1000), rng.normal(0, 1, 1000)
    first = means(shared, np.arange(1000))
    second = means(shared + own, np.arange(1000))
    error = metrics.difference_errors(first, second)["loss"]
    assert error == pytest.approx(1 / np.sqrt(1000), rel=0.15)
    assert first.errors()["loss"] > 5 * error
    assert metrics.difference_errors(first, first)["loss"] == 0
    ratio = metrics.ratio_error(second, first, "loss")
    assert ratio == pytest.approx(error / shared.mean(), rel=0.2)
    assert metrics.ratio_error(first, first, "loss") == 0


def test_a_metric_that_replicas_lack_is_judged_by_the_others() -> None:
    values = np.array([1.0, np.nan, 3.0, np.nan, 5.0])
    assert Replicas(values={"rare": values}).errors()["rare"] == pytest.approx(2.0)
    assert np.isnan(Replicas(values={"rare": values[:2]}).errors()["rare"])


def by_hand(view: Predictions, copies: I64) -> dict[str, float]:
    """Metrics of a table where every event is there as often as it was drawn."""
    times = copies[view.event]
    # A copy is an event of its own.
    number = np.concatenate([np.arange(k) for k in times])
    drawn = view[np.repeat(np.arange(len(view)), times)]
    drawn = dataclasses.replace(drawn, event=drawn.event * 20 + number)
    loss = ((drawn.z_cm - drawn.z_reco_cm).astype(np.float64) / 100) ** 2
    return metrics.network_metrics(drawn, {"loss": loss})


def test_metrics_of_replicas_are_those_of_copied_rows() -> None:
    view = table()
    loss = ((view.z_cm - view.z_reco_cm).astype(np.float64) / 100) ** 2
    draws = EventDraws(view.event, R)
    found = metrics.replicas(view, {"loss": loss}, draws).values
    chosen = {name for name, metric in METRICS.items() if metric.error == "events"}
    assert found.keys() == chosen
    _, number = np.unique(view.event, return_inverse=True)
    dense = dataclasses.replace(view, event=number)
    for r in (0, 1, R - 1):
        expected = by_hand(dense, draws.copies[r].astype(np.int64))
        for name, values in found.items():
            assert values[r] == pytest.approx(expected.get(name, np.nan), nan_ok=True)


def test_errors_are_the_spread_of_repeated_experiments() -> None:
    names = ("z_std_cm", "efficiency_at_15cm", "rejection_at_eff96", "roc_area")
    repeated = [metrics.network_metrics(table(seed=seed)) for seed in range(1, 120)]
    errors = metrics.replicas(table()).errors()
    for name in (*names, "rejection_at_eff96_by_class", "charge_asymmetry_at_eff96"):
        spread = np.std([found[name] for found in repeated])
        assert errors[name] == pytest.approx(spread, rel=0.35)


def test_a_part_of_the_events_tells_the_errors_of_all() -> None:
    view = table(12_000)
    part = EventDraws(view.event, 300, max_rows=3_000)
    assert 2_700 < len(part.rows) < 3_300
    chosen = np.unique(view.event[part.rows])
    assert len(part.rows) == np.isin(view.event, chosen).sum()
    few = metrics.replicas(view, draws=part).errors()
    every = metrics.replicas(view, draws=EventDraws(view.event, 300)).errors()
    for name in ("z_mean_cm", "z_std_cm", "z_trimmed_std_cm", "theta_std_deg"):
        assert few[name] == pytest.approx(every[name], rel=0.2)


def errors_of(view: Predictions) -> tuple[dict[str, float], dict[str, float]]:
    losses = {"loss": np.abs(view.z_cm - view.z_reco_cm)}
    sample = Sample.of(view, losses)
    found = metrics.compute_metrics(sample)
    drawn = metrics.replicas(view, losses, EventDraws(view.event, R))
    return found, metrics.metric_errors(found, sample, drawn)


def test_every_metric_is_told_and_has_an_error() -> None:
    found, errors = errors_of(table())
    assert found.keys() == METRICS.keys()
    assert {name for name, m in METRICS.items() if m.error == "none"} == {"n_tracks"}
    assert found.keys() - errors.keys() == {"n_tracks"}
    assert min(errors.values()) > 0


def test_a_share_that_no_draw_changes_has_a_binomial_error() -> None:
    view = table(400)
    perfect = dataclasses.replace(view, z_cm=view.z_reco_cm)
    found, errors = errors_of(perfect)
    assert found["efficiency_at_15cm"] == 1
    n_signal = Sample.of(perfect).sizes()["n_signal"]
    assert perfect.fake is not None
    assert n_signal == ((np.abs(perfect.z_reco_cm) < 1) & ~perfect.fake).sum()
    assert errors["efficiency_at_15cm"] == metrics.binomial_error(1, n_signal) > 0


@pytest.mark.parametrize("z_reco", [[0.0], [50.0, 50.0], [10.0, -30.0, 0.0]])
def test_few_rows_leave_out_what_they_cannot_tell(z_reco: list[float]) -> None:
    z = np.array(z_reco, dtype=np.float32)
    view = dataclasses.replace(
        table(len(z) + 2)[: len(z)], z_reco_cm=z, z_cm=z, event=np.arange(len(z))
    )
    _, errors = errors_of(view)
    assert all(np.isfinite(list(errors.values())))


def test_a_metric_is_added_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.metric, "METRICS", METRICS.copy())
    monkeypatch.setattr(metrics.resampling, "METRICS", metrics.metric.METRICS)

    def median(sample: Sample) -> float | None:
        z = sample.get("z")
        return None if z is None else float(np.median(z))

    added = Metric("z_median_cm", "cm", "neither", median, "events")
    metrics.add_metric(added)
    found, errors = errors_of(table(600))
    assert found["z_median_cm"] != 0
    assert errors["z_median_cm"] > 0
    with pytest.raises(ValueError, match="z_median_cm"):
        metrics.add_metric(added)


def test_the_documentation_names_every_metric() -> None:
    text = DOCS.read_text(encoding="utf-8")
    section = text[text.index("## What the metrics mean") :]
    documented = set(re.findall(r"`(\w+)`", section[: section.index("\n## ", 5)]))
    assert METRICS.keys() <= documented
