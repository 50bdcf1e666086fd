"""Ticks and text that look as those of matplotlib, and cost a third.

A figure of a training has some twenty ticks, which matplotlib makes of five artists
each, and forty pieces of text, which it lays out twice, letter by letter. Here an axis
is drawn by three artists, and a line of text is kept as an image for the next figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis, YAxis
from matplotlib.backends.backend_agg import (
    FigureCanvasAgg,
    RendererAgg,
    get_hinting_flag,
)
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT, TICKRIGHT, TICKUP
from matplotlib.text import Text

from nnt.types import U8

SETTINGS: Any = rcParams

SIDES = {
    "x": {"bottom": TICKDOWN, "top": TICKUP},
    "y": {"left": TICKLEFT, "right": TICKRIGHT},
}
"""Where an axis has ticks, and their markers."""
UNDERSTOOD = {"gridOn", "grid_alpha", "labelsize"} | {
    f"{what}{side}"
    for sides in SIDES.values()
    for side in sides
    for what in ("", "label")
}
"""Settings of ticks that are drawn here."""
TOLERANCE = 1e-10
"""Of the view, by which a tick may lie beyond its end."""
MAX_KEPT = 2000
"""Lines of text that are kept as images."""


class _FastAxis(Axis):
    """An axis without artists for its ticks, until someone asks for them.

    From then on, and with settings that are not understood, matplotlib draws it.
    """

    majorTicks: Any = ()  # noqa: N815 (names of matplotlib)
    minorTicks: Any = ()  # noqa: N815

    def get_major_ticks(self, numticks: int | None = None) -> list[Any]:
        """Make an artist of each tick."""
        self._make_artists()
        return list(super().get_major_ticks(numticks))

    def get_minor_ticks(self, numticks: int | None = None) -> list[Any]:
        """Make an artist of each tick between."""
        self._make_artists()
        return list(super().get_minor_ticks(numticks))

    def _make_artists(self) -> None:
        if self.majorTicks == ():
            self.majorTicks, self.minorTicks = [], []

    def draw(self, renderer: Any) -> None:
        """Draw grid, ticks and labels."""
        if self.majorTicks == () and self.get_visible():
            major, minor = (_Ticks.of(self, kind) for kind in ("major", "minor"))
            # An offset has its place beyond the labels.
            if major and minor and not self.get_major_formatter().get_offset():
                major.draw(renderer)
                minor.draw(renderer)
                self.label.draw(renderer)
                return
        super().draw(renderer)


class _FastXAxis(_FastAxis, XAxis):
    pass


class _FastYAxis(_FastAxis, YAxis):
    pass


@dataclass(frozen=True, slots=True, eq=False)
class _Ticks:
    """Large or small ticks of an axis."""

    axis: Any
    kind: str
    params: dict[str, Any]
    places: npt.NDArray[Any]
    texts: list[str]

    @classmethod
    def of(cls, axis: Any, kind: str) -> _Ticks | None:
        """Find those in view; None where matplotlib has to draw them."""
        params = axis.get_tick_params(kind)
        if not params.keys() <= UNDERSTOOD:
            return None
        ticker = axis.major if kind == "major" else axis.minor
        get = axis.get_majorticklocs if kind == "major" else axis.get_minorticklocs
        places = np.asarray(get())
        texts = ticker.formatter.format_ticks(places)
        scale = axis.get_transform()
        low, high = sorted(scale.transform(axis.get_view_interval()))
        room, at = TOLERANCE * (high - low), scale.transform(places)
        inside = np.flatnonzero((at >= low - room) & (at <= high + room))
        return cls(axis, kind, params, places[inside], [texts[i] for i in inside])

    def draw(self, renderer: Any) -> None:
        """Draw the grid, and ticks and labels on each side that has them."""
        n = len(self.places)
        if self.params["gridOn"]:
            ends = np.tile([0, 1, np.nan], n)
            self._line(
                renderer, np.repeat(self.places, 3), ends, "grid",
                color=SETTINGS["grid.color"], lw=SETTINGS["grid.linewidth"],
                alpha=self.params.get("grid_alpha", SETTINGS["grid.alpha"]),
            )  # fmt: skip
        for i, (side, marker) in enumerate(SIDES[self.axis.axis_name].items()):
            if n and self.params[side]:
                self._line(
                    renderer, self.places, np.full(n, i), f"tick{i + 1}", ls="none",
                    marker=marker, mec=self._setting("color"),
                    ms=self._setting("size", self.kind),
                    mew=self._setting("width", self.kind),
                )  # fmt: skip
            if any(self.texts) and self.params[f"label{side}"]:
                self._labels(renderer, i)

    def _setting(self, name: str, *kind: str) -> Any:
        return SETTINGS[".".join((f"{self.axis.axis_name}tick", *kind, name))]

    def _line(
        self, renderer: Any, along: Any, across: Any, which: str, **look: Any
    ) -> None:
        """Draw a line or markers at places along the axis and across it."""
        axes, is_x = self.axis.axes, self.axis.axis_name == "x"
        get: Any = axes.get_xaxis_transform if is_x else axes.get_yaxis_transform
        line = Line2D(*((along, across) if is_x else (across, along)), **look)
        line.set_transform(get(which))
        line.set_figure(axes.figure)
        line.draw(renderer)

    def _labels(self, renderer: Any, side: int) -> None:
        axes, name = self.axis.axes, self.axis.axis_name
        pad = self._setting("size", self.kind) + self._setting("pad", self.kind)
        get = getattr(axes, f"get_{name}axis_text{side + 1}_transform")
        transform, va, ha = get(pad)
        size = self.params.get("labelsize", self._setting("labelsize"))
        label = Text(fontsize=size, color=self._setting("color"), va=va, ha=ha)
        label.set_transform(transform)
        label.set_figure(axes.figure)
        for place, text in zip(self.places, self.texts, strict=True):
            label.set_text(text)
            label.set_position((place, side) if name == "x" else (side, place))
            label.draw(renderer)


class FastAxes(Axes):
    """Axes whose ticks cost little."""

    def _init_axis(self) -> None:
        self.xaxis = _FastXAxis(self, clear=False)
        self.yaxis = _FastYAxis(self, clear=False)
        for side in SIDES["x"]:
            self.spines[side].register_axis(self.xaxis)
        for side in SIDES["y"]:
            self.spines[side].register_axis(self.yaxis)

    def clear(self) -> None:
        """Empty the axes."""
        super().clear()
        for spine in self.spines.values():
            # Otherwise the artist of a first tick does so.
            spine.set_position(("outward", 0))


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """A line of text in pixels."""

    image: U8
    left: float
    """From the start of the text to the image."""
    width: float
    height: float
    descent: float
    """How much of the height is below the line."""


class _FastRenderer(RendererAgg):
    """Keeps the text that it has drawn, for all figures of the process."""

    kept: dict[tuple[str, int, float, int], _Drawn] = {}  # noqa: RUF012 (of all renderers)

    def draw_text(
        self, gc: Any, x: float, y: float, s: str, prop: Any, angle: float,
        ismath: Any = False, mtext: Any = None,
    ) -> None:  # fmt: skip
        """Draw text from below, y down; at an angle and formulas as matplotlib does."""
        if ismath or angle not in (0, 90):
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        drawn = self._drawn(s, prop)
        # An image has its place by the row below it.
        image, left, bottom = drawn.image, x + drawn.left, y + drawn.descent + 1
        if angle:
            image = np.ascontiguousarray(np.rot90(image))
            left, bottom = x + drawn.descent + 1 - image.shape[1], y - drawn.left
        self._renderer.draw_text_image(image, round(left), round(bottom), 0, gc)

    def get_text_width_height_descent(
        self, s: str, prop: Any, ismath: Any
    ) -> tuple[float, float, float]:
        """Measure text in pixels."""
        if ismath:
            size: tuple[float, float, float]
            size = super().get_text_width_height_descent(s, prop, ismath)
            return size
        drawn = self._drawn(s, prop)
        return drawn.width, drawn.height, drawn.descent

    def _drawn(self, s: str, prop: Any) -> _Drawn:
        hinting = get_hinting_flag()
        key = s, hash(prop), self.dpi, hinting
        found = self.kept.get(key)
        if found is None:
            font = self._prepare_font(prop)
            font.set_text(s, 0, flags=hinting)
            width, height = font.get_width_height()
            font.draw_glyphs_to_bitmap(antialiased=True)
            found = _Drawn(
                np.array(font.get_image()), font.get_bitmap_offset()[0] / 64,
                width / 64, height / 64, font.get_descent() / 64,
            )  # fmt: skip
            if len(self.kept) >= MAX_KEPT:
                self.kept.clear()
            self.kept[key] = found
        return found


class FastCanvas(FigureCanvasAgg):
    """A canvas on which text costs little."""

    size: tuple[int, int, float]
    made: RendererAgg | None = None

    def get_renderer(self) -> RendererAgg:
        """Make a renderer of the size of the figure, or hand out the last."""
        size = (*self.get_width_height(physical=True), self.figure.dpi)
        if self.made is None or size != self.size:
            self.size, self.made = size, _FastRenderer(*size)
        return self.made
