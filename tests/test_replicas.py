"""Figures of events drawn anew, against copying the rows by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from nnt import metrics
from nnt.metrics import EventDraws, Predictions

R = 30


def table(n: int = 3000, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    z = np.where(rng.random(n) < 0.5, rng.normal(0, 0.8, n), rng.uniform(-90, 90, n))
    theta = rng.uniform(20, 150, n)
    columns: dict[str, Any] = {
        "z_reco_cm": z,
        "theta_reco_deg": theta,
        "z_cm": z + rng.normal(0, 6, n),
        "theta_deg": theta + rng.normal(0, 5, n),
        "z_reference_cm": z,
        "theta_reference_deg": theta,
        "pt_gev": rng.uniform(0.3, 3, n),
    }
    return Predictions(
        event=rng.integers(0, n // 3, n),
        expert=rng.integers(0, 2, n) * 3,
        **{name: values.astype(np.float32) for name, values in columns.items()},
    )


def copies_of(event: np.ndarray) -> np.ndarray:
    """Copies of each event in each replica, shape (E, R)."""
    n = int(event.max()) + 1
    numbers = np.arange(n, dtype=np.int32)
    return EventDraws(np.arange(n), R).counts([(numbers, n)])[0].astype(int)


def test_copies_follow_poisson_and_belong_to_the_event() -> None:
    copies = copies_of(np.arange(9000))
    assert copies.mean() == pytest.approx(1, abs=0.01)
    assert copies.var() == pytest.approx(1, abs=0.02)
    assert (copies_of(np.arange(70)) == copies[:70]).all()
    correlation = np.corrcoef(copies[:200])
    assert np.abs(correlation[np.triu_indices(200, 1)]).mean() < 0.2


def test_counts_and_sums_are_those_of_copied_rows() -> None:
    rng = np.random.default_rng(1)
    event = rng.integers(0, 5000, 9000)  # out of order, more than one block
    bins = rng.integers(-1, 7, 9000).astype(np.int32)
    values, group = rng.normal(size=9000), rng.integers(0, 2, 9000).astype(np.int32)
    draws = EventDraws(event, R)
    counts, other = draws.counts([(bins, 7), (group, 2)])
    sums = draws.sums([values], group, 2)[0]
    copies = copies_of(np.arange(event.max() + 1))[event]
    for r in (0, 7, R - 1):
        inside = bins >= 0
        expected = np.bincount(bins[inside], copies[inside, r], minlength=7)
        assert (counts[:, r] == expected).all()
        assert (other[:, r] == np.bincount(group, copies[:, r])).all()
        assert sums[:, r] == pytest.approx(np.bincount(group, copies[:, r] * values))


def test_no_rows_no_counts() -> None:
    draws = EventDraws(np.zeros(0, dtype=np.int64), R)
    assert not draws.counts([(np.zeros(0, np.int32), 3)])[0].any()


def by_hand(view: Predictions, copies: np.ndarray) -> dict[str, float]:
    """Figures of a table where every event is there as often as it was drawn."""
    times = copies[view.event]
    rows = np.repeat(np.arange(len(view)), times)
    # A copy is an event of its own.
    number = np.concatenate([np.arange(k) for k in times]) if len(rows) else rows
    drawn = view[rows]
    return metrics.network_figures(
        dataclasses.replace(drawn, event=drawn.event * 10 + number)
    )


def test_figures_are_those_of_copied_rows() -> None:
    view = table()
    loss = ((view.z_cm - view.z_reco_cm) / 100) ** 2
    replicas = metrics.figure_replicas(
        view, view.z_cm, view.theta_deg, {"loss": loss}, R
    )
    copies = copies_of(view.event)
    errors = replicas.errors()
    compared = set()
    for r in (0, 1, R - 1):
        for scope, mine in (("all", slice(None)), ("expert_3", view.expert == 3)):
            part = view[mine]
            expected = by_hand(part, copies[:, r])
            expected["loss"] = np.average(loss[mine], weights=copies[part.event, r])
            for name, value in expected.items():
                if name == "n_tracks" or "core" in name:
                    continue
                key = f"{scope}/{name}"
                # Rows are spread over bins: by a small part of the error.
                allowed = 0.4 * errors[key] + 1e-6
                assert replicas.values[key][r] == pytest.approx(value, abs=allowed)
                compared.add(name)
    assert {"loss", "z_trimmed_std_cm", "roc_area", "feed_up_at_eff96"} <= compared
    assert {"event_rejection_at_eff96", "stt_efficiency_at_15cm"} <= compared


def test_errors_are_the_spread_of_repeated_experiments() -> None:
    names = ("z_std_cm", "efficiency_at_15cm", "rejection_at_eff96", "roc_area")
    told = [metrics.network_figures(table(seed=seed)) for seed in range(1, 120)]
    view = table()
    errors = metrics.figure_replicas(view, view.z_cm, view.theta_deg).errors()
    for name in names:
        spread = np.std([figures[name] for figures in told])
        assert errors[f"all/{name}"] == pytest.approx(spread, rel=0.35)


def test_a_network_against_itself_differs_by_nothing() -> None:
    view = table(500)
    one, two = (
        metrics.figure_replicas(view, view.z_cm, view.theta_deg, n_replicas=R)
        for _ in range(2)
    )
    assert set(metrics.difference_errors(one, two).values()) <= {0.0}


def test_every_figure_has_an_error() -> None:
    view = table()
    figures = {"all": metrics.network_figures(view)}
    errors, _ = metrics.figure_errors(view, view.z_cm, view.theta_deg, figures)
    assert figures["all"].keys() - errors["all"].keys() == {"n_tracks"}
    assert min(errors["all"].values()) > 0


def test_a_share_that_no_draw_changes_has_a_binomial_error() -> None:
    view = table(400)
    perfect = dataclasses.replace(view, z_cm=view.z_reco_cm)
    figures = {"all": metrics.network_figures(perfect)}
    assert figures["all"]["efficiency_at_15cm"] == 1
    errors, _ = metrics.figure_errors(perfect, perfect.z_cm, None, figures)
    n_signal = metrics.sample_sizes(perfect, perfect.z_cm, None)["n_signal"]
    assert n_signal == (np.abs(perfect.z_reco_cm) < 1).sum()
    expected = metrics.binomial_error(1, n_signal)
    assert errors["all"]["efficiency_at_15cm"] == expected > 0


@pytest.mark.parametrize("z_reco", [[0.0], [50.0, 50.0], [10.0, -30.0, 0.0]])
def test_few_rows_leave_out_what_they_cannot_tell(z_reco: list[float]) -> None:
    z = np.array(z_reco, dtype=np.float32)
    view = dataclasses.replace(
        table(len(z) + 2)[: len(z)], z_reco_cm=z, z_cm=z, event=np.arange(len(z))
    )
    figures = {"all": metrics.network_figures(view)}
    errors, _ = metrics.figure_errors(view, view.z_cm, view.theta_deg, figures)
    assert all(np.isfinite(list(errors["all"].values())))
