"""Several networks in one figure, drawn from their portraits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnt.metrics import BinnedResiduals, Portrait, Shares
from nnt.metrics.portrait import Z_EDGES_CM, Z_RESIDUAL_EDGES_CM
from nnt.plots.style import SERIES_COLOURS, canvas, canvas_with_ratio, log_counts
from nnt.types import F64, I64

__all__ = ["Look", "legend_of", "looks", "overlays"]


MIN_TRACKS = 5
"""Tracks below which a bin tells nothing."""
OTHERS = "#BBBBBB"
LEGEND_CHARACTERS = 34
MAX_INSIDE = 4
"""Names that a legend may hold within the axes."""
WIDER = 1.28


@dataclass(frozen=True, slots=True)
class Look:
    """How one network is drawn."""

    colour: str
    width: float
    order: float
    """Higher is drawn over lower."""
    in_legend: bool


def looks(names: Sequence[str], important: Sequence[str] = ()) -> dict[str, Look]:
    """Choose how networks are drawn: the first black, some in colour, the rest grey.

    Parameters
    ----------
    names : sequence of str
        All networks; the first is what the others are compared with.
    important : sequence of str
        Which of the others get a colour first, where there are too many.
    """
    ranked = [*important, *(name for name in names if name not in important)]
    coloured = [name for name in ranked if name != names[0]][: len(SERIES_COLOURS)]
    of_name = dict.fromkeys(names, OTHERS)
    of_name |= dict(zip(coloured, SERIES_COLOURS, strict=False))
    of_name[names[0]] = "#000000"
    return {
        name: Look(
            colour=colour,
            width=0.7 if colour == OTHERS else 1.4,
            order=2.0 if colour == OTHERS else 3.0,
            in_legend=colour != OTHERS,
        )
        for name, colour in of_name.items()
    }


def overlays(
    portraits: Mapping[str, Portrait],
    reconstruction: I64,
    shown: Mapping[str, Look] | None = None,
) -> dict[str, Figure]:
    """Draw every figure of a comparison.

    Parameters
    ----------
    portraits : mapping
        Name of the network to its curves, all on the same rows; the first is
        what the others are compared with.
    reconstruction : int64 array, shape (100,)
        Reconstructed tracks in bins of z.
    shown : mapping, optional
        How each network is drawn.
    """
    overlay = _Overlay(portraits, shown or looks(list(portraits)))
    drawn = {
        "rejection_against_efficiency": overlay.rejection(),
        "z_histogram": overlay.z_histogram(reconstruction),
        "z_residual": overlay.residual("z residual", lambda p: p.z_residual_counts),
        "z_residual_collision_point": overlay.residual(
            "z residual of tracks from the collision point",
            lambda p: p.z_residual_signal_counts,
        ),
        "z_width_against_z": overlay.binned(
            "z of the reconstruction (cm)", "z", "cm", lambda p: p.against_z
        ),
        "z_width_against_theta": overlay.binned(
            "theta of the reconstruction (deg)", "z", "cm", lambda p: p.against_theta
        ),
        "theta_width_against_theta": overlay.binned(
            "theta of the reconstruction (deg)", "theta", "deg",
            lambda p: p.theta_against_theta,
        ),
        "feed_down": overlay.feed(
            "feed-down: tracks with z > D that pass at 96 % efficiency",
            lambda p: p.feed_down,
        ),
        "feed_up": overlay.feed(
            "feed-up: tracks with z < -D that pass at 96 % efficiency",
            lambda p: p.feed_up,
        ),
    }  # fmt: skip
    return {name: figure for name, figure in drawn.items() if figure is not None}


def legend_of(axes: Axes, shown: Mapping[str, Look]) -> tuple[list[Artist], list[str]]:
    """Handles and labels: the curves in colour, and how many are grey."""
    handles, labels = axes.get_legend_handles_labels()
    n_grey = sum(not look.in_legend for look in shown.values())
    if n_grey:
        handles.append(Line2D([], [], color=OTHERS, lw=0.7))
        labels.append(f"{n_grey} others")
    return handles, labels


class _Overlay:
    def __init__(
        self, portraits: Mapping[str, Portrait], shown: Mapping[str, Look]
    ) -> None:
        self.portraits = portraits
        self.shown = shown
        self.first = next(iter(portraits.values()))

    def _each(self) -> Iterator[tuple[str, Portrait, Look]]:
        for name, portrait in self.portraits.items():
            yield name, portrait, self.shown[name]

    def _legend(self, figure: Figure, axes: Axes) -> None:
        handles, labels = legend_of(axes, self.shown)
        if not handles:
            return
        if len(handles) <= MAX_INSIDE:
            axes.legend(handles, labels, fontsize=7)
            return
        # Many names would hide the curves: beside them, in a figure made wider.
        for panel in figure.axes:
            left, bottom, width, height = panel.get_position().bounds
            panel.set_position((left / WIDER, bottom, width / WIDER, height))
        figure.set_figwidth(figure.get_figwidth() * WIDER)
        axes.legend(
            handles, labels, fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1),
            borderaxespad=0, frameon=False,
        )  # fmt: skip

    def _highlighted(self, of: Callable[[Portrait], I64]) -> float:
        """Highest value of those in colour: a degenerate one must not hide them."""
        shown = [of(p) for _, p, look in self._each() if look.in_legend]
        return max(float(counts.max()) for counts in shown)

    def rejection(self) -> Figure | None:
        if self.first.rejection is None:
            return None
        figure, axes = canvas("background rejection against signal efficiency")
        for name, portrait, look in self._each():
            if portrait.rejection is not None:
                _line(axes, name, portrait.efficiency, portrait.rejection, look)
        axes.set_xlim(self.first.efficiency[0], 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("efficiency for tracks from the collision point")
        axes.set_ylabel("rejection of background tracks")
        self._legend(figure, axes)
        return figure

    def z_histogram(self, reconstruction: I64) -> Figure:
        figure, axes, ratio = canvas_with_ratio(f"z, {self.first.n_tracks:,} tracks")
        _steps(axes, Z_EDGES_CM, reconstruction, label="reconstruction", fill=True)
        for name, portrait, look in self._each():
            _steps(axes, Z_EDGES_CM, portrait.z_counts, name, look)
            shares = _ratio(portrait.z_counts, reconstruction)
            _steps(ratio, Z_EDGES_CM, shares, None, look)
        log_counts(axes)
        axes.set_ylabel("tracks per 2 cm (outer bins: and beyond)")
        ratio.set_ylabel("network / reco.")
        ratio.set_ylim(0, 3)
        ratio.axhline(1, color="0.5", lw=0.8)
        ratio.set_xlabel("z (cm)")
        self._legend(figure, axes)
        return figure

    def residual(self, title: str, of: Callable[[Portrait], I64]) -> Figure:
        figure, axes, ratio = canvas_with_ratio(title)
        reference = of(self.first)
        for name, portrait, look in self._each():
            counts = of(portrait)
            _steps(axes, Z_RESIDUAL_EDGES_CM, counts, name, look)
            if portrait is not self.first:
                shares = _ratio(counts, reference)
                _steps(ratio, Z_RESIDUAL_EDGES_CM, shares, None, look)
        axes.set_ylim(0, 1.08 * max(self._highlighted(of), 1))
        axes.set_ylabel("tracks per 2 cm")
        ratio.set_ylabel("ratio to the first")
        ratio.set_ylim(0, 2)
        ratio.axhline(1, color="black", lw=0.8)
        ratio.set_xlabel("z - z of the reconstruction (cm)")
        self._legend(figure, axes)
        return figure

    def binned(
        self,
        x_label: str,
        quantity: str,
        unit: str,
        of: Callable[[Portrait], BinnedResiduals | None],
    ) -> Figure | None:
        if all(of(portrait) is None for portrait in self.portraits.values()):
            return None
        figure, axes, below = canvas_with_ratio(
            f"{quantity} residual: width of the central 90 % (above), mean (below)",
            height_ratio=1.6,
        )
        for name, portrait, look in self._each():
            bins = of(portrait)
            if bins is None:
                continue
            told = bins.n_tracks >= MIN_TRACKS
            centres = ((bins.edges[:-1] + bins.edges[1:]) / 2)[told]
            width, mean = bins.trimmed_std[told], bins.mean[told]
            _line(axes, name, centres, width, look, bins.std_error[told])
            _line(below, None, centres, mean, look, bins.mean_error[told])
        axes.set_ylim(bottom=0)
        axes.set_ylabel(f"trimmed std ({unit})")
        below.axhline(0, color="0.5", lw=0.8)
        below.set_ylabel(f"mean ({unit})")
        below.set_xlabel(x_label)
        self._legend(figure, axes)
        return figure

    def feed(
        self, title: str, of: Callable[[Portrait], Shares | None]
    ) -> Figure | None:
        told = {name: of(portrait) for name, portrait in self.portraits.items()}
        if not any(s is not None and (s.n_tracks > 0).any() for s in told.values()):
            return None
        figure, axes = canvas(title)
        for name, shares in told.items():
            if shares is None:
                continue
            there = shares.n_tracks >= MIN_TRACKS
            _line(
                axes, name, shares.at[there], shares.share[there],
                self.shown[name], shares.error[there],
            )  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlabel("D (cm)")
        axes.set_ylabel("share of tracks beyond D that pass")
        self._legend(figure, axes)
        return figure


def _line(
    axes: Axes,
    name: str | None,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    look: Look,
    error: npt.ArrayLike | None = None,
) -> None:
    x, y = np.asarray(x), np.asarray(y)
    marker = "." if error is not None and look.in_legend else None
    axes.plot(
        x, y, color=look.colour, lw=look.width, zorder=look.order, marker=marker,
        ms=4, label=_label(name, look),
    )  # fmt: skip
    if error is not None and look.in_legend:
        spread = np.asarray(error)
        axes.fill_between(
            x, y - spread, y + spread, color=look.colour, alpha=0.15, lw=0
        )


def _steps(
    axes: Axes,
    edges: F64,
    counts: npt.ArrayLike,
    label: str | None,
    look: Look | None = None,
    *,
    fill: bool = False,
) -> None:
    if look is None:
        axes.stairs(counts, edges, color="0.85", fill=fill, label=label, zorder=1)
        return
    axes.stairs(
        counts, edges, color=look.colour, lw=look.width, zorder=look.order,
        label=_label(label, look), baseline=None,
    )  # fmt: skip


def _label(name: str | None, look: Look) -> str | None:
    if name is None or not look.in_legend:
        return None
    if len(name) <= LEGEND_CHARACTERS:
        return name
    return name[: LEGEND_CHARACTERS - 1] + "…"


def _ratio(counts: I64, of: I64) -> F64:
    return counts / np.where(of >= MIN_TRACKS, of, np.nan)
