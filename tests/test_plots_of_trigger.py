"""Plots of the trigger's decisions: what they keep, reject and mean."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from some_plots import figures, legend_texts, pair, sample

from nnt import metrics, plots
from nnt.metrics import Predictions, cut_at_efficiency_cm
from nnt.tracking import Run
from nnt.training.report import Painter


def with_classes(view: Predictions) -> Predictions:
    """Classes whose probabilities are right, from z that only they see."""
    rng = np.random.default_rng(0)
    near = (np.abs(view.z_reco_cm) < 1).astype(float)
    score = np.clip(rng.normal(2 * near - 1, 1), -3, 3)
    # Two normal distributions of width 1, two widths apart, with these shares.
    odds = near.mean() / (1 - near.mean()) if 0 < near.mean() < 1 else 1.0
    probability = 1 / (1 + np.exp(-2 * score) / odds)
    return dataclasses.replace(
        view, nnt=2 * probability - 1, stt=np.tanh(score), charge=np.sign(score)
    )


def test_rejection_equals_that_of_cutting_by_hand() -> None:
    view = sample(500)
    curve = plots.curves(view, plots.TRAINING)["rejection_against_efficiency"][""]
    signal = view.z_cm[np.abs(view.z_reco_cm) < 1]
    background = view.z_cm[np.abs(view.z_reco_cm) > 20]
    cuts_cm = [cut_at_efficiency_cm(signal, own) for own in curve.line.at]
    by_hand = [np.mean(np.abs(background) >= cut_cm) for cut_cm in cuts_cm]
    np.testing.assert_allclose(curve.line.share, by_hand)


@pytest.mark.parametrize(("n", "reference"), [(1, True), (2, False), (500, True)])
def test_plots_of_the_trigger_can_be_drawn(n: int, reference: bool) -> None:
    view = sample(n)
    view.z_reco_cm[0] = 0.0
    view.z_reco_cm[-1] = 50.0 if n > 1 else 0.0
    drawn = figures(pair(view) if reference else view)
    assert all(map(plots.png, drawn.values()))
    assert ("rejection_against_efficiency" in drawn) == (n > 1)
    assert ("feed_down" in drawn) == (n == 500)


def test_feed_down_tells_the_two_sides_apart() -> None:
    view = dataclasses.replace(
        sample(90),
        z_reco_cm=np.repeat([0.0, 60.0, -60.0], [50, 20, 20]),
        z_cm=np.repeat([5.0, 60.0, 1.0], [50, 20, 20]),
    )
    feed = plots.curves(view, plots.TRAINING)["feed_down"]
    for line, share in zip(feed[1:], (0, 1), strict=True):
        np.testing.assert_array_equal(line.at, metrics.FAR_Z_CM[metrics.FAR_Z_CM < 60])
        np.testing.assert_array_equal(line.share, share)


def test_points_that_no_cut_reaches_are_not_announced() -> None:
    view, n = sample(600), np.arange(600)
    pt_gev, theta_reco_deg = np.full(600, 0.69, dtype=np.float32), np.full(600, 60.0)
    # At 90 degrees, 0.69 GeV are too little.
    theta_deg = np.where(n % 20, 60.0, 90.0)
    lost = dataclasses.replace(
        view, pt_gev=pt_gev, theta_reco_deg=theta_reco_deg, theta_deg=theta_deg
    )
    text = legend_texts(plots.draw("stt_rejection_against_efficiency", lost))
    assert "96, 98 % efficiency is out of reach" in text
    found = legend_texts(plots.draw("rejection_against_efficiency", view))
    assert "points: 95, 96, 98 % efficiency" in found
    assert "out of reach" not in found


def test_both_decisions_are_in_one_picture() -> None:
    view = with_classes(sample(2000))
    networks = pair(view)
    for name in (
        "rejection_against_efficiency",
        "stt_rejection_against_efficiency",
        "efficiency_against_charge",
        "rejection_against_z",
    ):
        text = legend_texts(plots.draw(name, networks))
        assert text.count("network") == 2, name
        assert text.count("class") == 1, name
        assert text.count("reference") == 1, name
    only_class = dataclasses.replace(view, has_z=False, z_cm=view.z_cm * np.nan)
    drawn = set(figures(only_class))
    assert {"rejection_against_efficiency", "calibration", "theta_residual"} <= drawn
    assert not {name for name in drawn if name.startswith(("z_", "feed"))}
    with pytest.raises(ValueError, match="nothing that it shows"):
        plots.draw("z_residual", only_class)


def test_a_network_without_z_has_no_live_images(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    view = dataclasses.replace(sample(50), has_z=False)
    painter = Painter()
    painter.offer(Run(tmp_path), 1, lambda: {"network": view})
    painter.close()
    assert not caplog.records


def test_probabilities_that_are_right_lie_on_the_diagonal() -> None:
    view = with_classes(sample(20000))
    figure = plots.draw("calibration", view)
    points = next(
        line for line in figure.axes[0].lines if str(line.get_label()).endswith("nnt")
    )
    at, share = np.asarray(points.get_xdata()), np.asarray(points.get_ydata())
    assert len(at) > 5
    # Rows that are neither signal nor background do not count.
    background = np.abs(view.z_reco_cm) > metrics.BACKGROUND_Z_CM
    near = np.abs(view.z_reco_cm) < metrics.SIGNAL_Z_CM
    odds = at / (1 - at) * (~near).sum() / background.sum()
    np.testing.assert_allclose(share, odds / (1 + odds), atol=0.1)
