"""Ticks and text that cost little look as matplotlib's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import AutoMinorLocator, MultipleLocator

from nnt import plots
from nnt.plots.fast import FastCanvas, _FastRenderer

Change = Callable[[Axes], Any]

CHANGES: dict[str, Change] = {
    "as they are": lambda axes: None,
    "far from zero": lambda axes: axes.set_xlim(1e6, 1e6 + 3),
    "downwards": lambda axes: axes.set_ylim(4, -2),
    "logarithmic": lambda axes: axes.set(yscale="log", ylim=(0.02, 7000)),
    "less than a decade": lambda axes: axes.set(xscale="log", xlim=(2, 8)),
    "between": lambda axes: axes.xaxis.set_minor_locator(AutoMinorLocator()),
    "many": lambda axes: axes.yaxis.set_major_locator(MultipleLocator(0.05)),
    "none": lambda axes: axes.set_xticks([]),
    "named": lambda axes: axes.set_xticks([0.1, 0.7], ["one", "two"]),
    "on all sides": lambda axes: axes.tick_params(right=True, top=True, labeltop=True),
    "on the right": lambda axes: axes.yaxis.tick_right(),
    "without labels": lambda axes: axes.tick_params(labelbottom=False),
    "turned": lambda axes: axes.tick_params(rotation=30),
    "of another colour": lambda axes: axes.tick_params(color="red", length=9),
    "hidden": lambda axes: axes.xaxis.set_visible(False),
    "one by one": lambda axes: axes.get_yticklabels()[0].set_color("red"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_ticks_are_those_of_matplotlib_to_the_pixel(change: Change) -> None:
    def drawn(*, by_matplotlib: bool) -> Any:
        with plots.default_style():
            figure, axes, _ = plots.style.canvas_with_ratio("ticks")
            axes.plot([0, 1], [0.1, 2])
            change(axes)
            for panel in figure.axes if by_matplotlib else ():
                panel.xaxis.get_major_ticks()
                panel.yaxis.get_major_ticks()
            return plots.pixels(figure)

    np.testing.assert_array_equal(drawn(by_matplotlib=False), drawn(by_matplotlib=True))


@pytest.mark.parametrize("angle", [0, 90, 30])
@pytest.mark.parametrize("text", ["tracks per 2 cm", "gjpqy", "1/pT (GeV$^{-1}$)", "·"])
def test_text_is_where_matplotlib_has_it(text: str, angle: float) -> None:
    def drawn(canvas: type[FigureCanvasAgg]) -> Any:
        with plots.default_style():
            figure = Figure(figsize=(2, 2), dpi=110)
            figure.text(0.5, 0.5, text, rotation=angle, color="red")
            target: Any = canvas(figure)
            target.draw()
            return 255 - np.asarray(target.buffer_rgba())[:, :, 1].astype(float)

    ours, theirs = drawn(FastCanvas), drawn(FigureCanvasAgg)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.02)
    for axis in (0, 1):
        at = np.arange(ours.shape[axis])
        centres = [ink.sum(axis=1 - axis) @ at / ink.sum() for ink in (ours, theirs)]
        # Ours begins at a whole pixel; matplotlib 3.10 shifts what it turns.
        assert centres[0] == pytest.approx(centres[1], abs=2.5 if angle == 90 else 1)


def test_text_that_is_kept_is_that_of_its_size_and_settings() -> None:
    figure, axes = plots.canvas("title")
    small, large = (axes.text(0, 0, "text", fontsize=size) for size in (8, 12))
    # Measured with the settings of the user, where letters are fitted to pixels.
    widths = [text.get_window_extent().width for text in (small, large, large)]
    assert widths[0] < widths[1] == widths[2]
    before = plots.pixels(figure)
    _FastRenderer.kept.clear()
    np.testing.assert_array_equal(plots.pixels(figure), before)
