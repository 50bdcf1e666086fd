"""Figures of many networks."""

from __future__ import annotations

import numpy as np
import pytest

from nnt import plots
from nnt.metrics import Predictions, portrait, reconstruction_counts
from nnt.plots.style import SERIES_COLOURS


def predicted(n: int, seed: int, theta: bool = True) -> Predictions:
    rng = np.random.default_rng(0)
    z_reco_cm = rng.choice([0.4, 40.0], n) * rng.normal(size=n)
    theta_deg = rng.uniform(30, 130, n)
    noise = np.random.default_rng(seed).normal(0, 2 + seed, n)
    return Predictions(
        z_reco_cm=z_reco_cm,
        theta_reco_deg=theta_deg,
        z_cm=z_reco_cm + noise,
        theta_deg=theta_deg + noise if theta else None,
        z_reference_cm=None,
        theta_reference_deg=None,
        event=np.arange(n),
        expert=np.zeros(n, dtype=np.int64),
    )


def test_every_figure_shows_every_network() -> None:
    portraits = {f"network {k}": portrait(predicted(2000, k)) for k in range(3)}
    drawn = plots.overlays(portraits, reconstruction_counts(predicted(2000, 0)))
    assert set(drawn) == {
        "rejection_against_efficiency", "z_histogram", "z_residual",
        "z_residual_collision_point", "z_width_against_z", "z_width_against_theta",
        "theta_width_against_theta", "feed_down", "feed_up",
    }  # fmt: skip
    for figure in drawn.values():
        legend = figure.axes[0].get_legend()
        assert legend is not None
        texts = [text.get_text() for text in legend.get_texts()]
        assert [t for t in texts if t.startswith("network")] == list(portraits)
        assert plots.png(figure)


@pytest.mark.parametrize("n", [1, 3])
def test_few_tracks_and_no_theta_can_be_drawn(n: int) -> None:
    alone = predicted(n, 1, theta=False)
    drawn = plots.overlays({"x": portrait(alone)}, reconstruction_counts(alone))
    assert "theta_width_against_theta" not in drawn
    for figure in drawn.values():
        plots.png(figure)


def test_of_many_networks_the_important_ones_have_colours() -> None:
    names = [f"n{k}" for k in range(100)]
    shown = plots.looks(names, important=["n99", "n50"])
    assert shown["n0"].colour == "#000000"
    assert shown["n99"].colour == SERIES_COLOURS[0]
    assert shown["n50"].colour == SERIES_COLOURS[1]
    in_legend = [name for name in names if shown[name].in_legend]
    assert len(in_legend) == 1 + len(SERIES_COLOURS)


def test_a_portrait_counts_every_track() -> None:
    own = predicted(3000, 2)
    drawn = portrait(own)
    assert drawn.z_counts.sum() == 3000
    inside = np.abs(own.z_cm - own.z_reco_cm) <= 60
    assert drawn.z_residual_counts.sum() == inside.sum()
    signal = np.abs(own.z_reco_cm) < 1
    assert drawn.z_residual_signal_counts.sum() == signal.sum()


@pytest.mark.parametrize(("n", "epochs"), [(1, 1), (3, 2000), (12, 30)])
def test_learning_curves_of_runs_have_a_panel_per_expert(n: int, epochs: int) -> None:
    curve = np.stack([np.arange(1, epochs + 1), 1 / np.arange(1, epochs + 1)], axis=1)
    losses = {f"r{k}": {0: curve, 3: curve * (1, k + 1)} for k in range(n)}
    figure = plots.learning_curves_of_runs(losses, plots.looks(list(losses)))
    assert [axes.get_title() for axes in figure.axes] == ["expert 0", "expert 3"]
    assert all(len(axes.lines) == n for axes in figure.axes)
    assert (
        max(len(np.asarray(line.get_xdata())) for line in figure.axes[0].lines) <= 1000
    )
    assert plots.png(figure)
