"""How far z and theta are off: all together, and in bins of what tracks have."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from matplotlib.figure import Figure

from nnt.metrics import (
    AXES,
    SIGNAL_Z_CM,
    CoreFit,
    Predictions,
    core_fit,
    residuals_in_bins,
)
from nnt.plots.pieces import (
    MIN_TRACKS,
    Bars,
    Histogram,
    Points,
    bin_edges,
    draw_histograms,
    histogram,
    numbers,
    plot_points,
    set_axis,
    share_beyond,
)
from nnt.plots.registry import (
    EVALUATION,
    EVERYWHERE,
    NETWORK,
    REFERENCE,
    Curve,
    register,
)
from nnt.plots.style import (
    canvas,
    canvas_of_rows,
    legend,
    readable,
)
from nnt.types import F64

N_BINS = 100
CORE = 1.5
MAX_SLOPE_ERROR = 0.5
SHORT_NAME = 24
"""Characters of a name that are as high as a low panel and what is below it."""
UNITS = {"z": "cm", "theta": "deg"}
TITLES = {"z": "z residual", "theta": "polar angle residual"}
LIMITS = {("z", False): 60, ("z", True): 30, ("theta", False): 40}
"""Of the residual of each quantity, of all tracks or of signal."""

_Residual = tuple[Histogram, tuple[F64, F64] | None]
"""The counts, and the curve of the fit to the core."""


def _residual(
    predicted: Predictions,
    reference: Predictions | None,
    quantity: str,
    *,
    signal: bool,
) -> _Residual | None:
    residual = predicted.residual(quantity)
    other = None if reference is None else reference.residual(quantity)
    if residual is None:
        return None
    event = predicted.event
    if signal:
        rows = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
        residual, event = residual[rows], event[rows]
        other = None if other is None else other[rows]
    limit = LIMITS[quantity, signal]
    edges = bin_edges(-limit, limit, N_BINS, len(residual))
    fit = core_fit(residual)
    text = numbers(residual, UNITS[quantity], fit)
    if len(residual):
        text += share_beyond(residual, edges)
    counted = histogram(residual, edges, text, other, event)
    core = None if fit is None else _core_curve(fit, len(residual), edges)
    return counted, core


def _core_curve(fit: CoreFit, n_tracks: int, edges: F64) -> tuple[F64, F64]:
    """Tracks that the fit expects in a bin around each place."""
    # As in the fit; those who only draw need no scipy, whose import takes long.
    from scipy.special import ndtr

    at = np.linspace(-CORE, CORE, 61)
    half = (edges[1] - edges[0]) / 2 / fit.std
    expected = fit.share * n_tracks * (ndtr(at + half) - ndtr(at - half))
    return fit.mean + fit.std * at, expected


def _draw_residual(
    curves: Sequence[Curve[_Residual]], quantity: str, *, signal: bool
) -> Figure:
    edges, unit, title = curves[0].data[0].edges, UNITS[quantity], TITLES[quantity]
    if signal:
        title += f", |z of the reconstruction| < {SIGNAL_Z_CM:g} cm"
    drawn = []
    for curve in curves:
        data, _ = curve.data
        label = curve.label and f"{curve.label}: {data.numbers}"
        drawn.append(Bars(curve.look, label, data.counts, data.ratio))
    # The one that has no ratio is that which the others are compared with.
    whole = [curve.name for curve in curves if curve.data[0].ratio is None]
    figure, axes = draw_histograms(
        title,
        edges,
        drawn,
        f"{quantity} - {quantity} of the reconstruction ({unit})",
        f"tracks per {edges[1] - edges[0]:.2g} {unit}",
        over=readable(whole[0], SHORT_NAME) if whole else REFERENCE,
    )
    named = [curve for curve in curves if curve.look.in_legend]
    for curve in named:
        if (core := curve.data[1]) is not None:
            axes.plot(*core, "--", color=curve.look.colour, lw=1)
    # A network that puts all tracks in one place must not hide the others.
    highest = max(*(curve.data[0].counts.max() for curve in named), 1.0)
    axes.set_ylim(0, 1.05 * (highest + sqrt(highest)))
    return figure


for _name, _quantity, _signal, _caption in (
    ("z_residual", "z", False, "z residual of all tracks."),
    (
        "z_residual_collision_point", "z", True,
        "z residual of tracks from the collision point.",
    ),
    ("theta_residual", "theta", False, "Residual of the polar angle."),
):  # fmt: skip
    register(
        _name,
        where=EVERYWHERE,
        caption=_caption,
        curve=_residual,
        quantity=_quantity,
        signal=_signal,
    )(_draw_residual)


_InBins = tuple[dict[str, Points], int]
"""Each figure in bins, and the number of tracks."""


def _in_bins(
    predicted: Predictions, _: Predictions | None, quantity: str, axis: str,
    *, both_widths: bool = False,
) -> _InBins | None:  # fmt: skip
    found, at = predicted.residual(quantity), AXES[axis].values(predicted)
    if found is None or at is None:
        return None
    edges = AXES[axis].edges_for(len(predicted))
    bins = residuals_in_bins(found, at, edges, predicted.event)
    enough = np.where(bins.n_tracks >= MIN_TRACKS, 1.0, np.nan)
    values = {"trimmed std": (bins.trimmed_std, bins.trimmed_std_error)}
    if both_widths:
        values["std"] = (bins.std, bins.std_error)
    values["mean"] = (bins.mean, bins.mean_error)
    panels = {
        panel: Points(edges, shown * enough, errors, bins.n_tracks)
        for panel, (shown, errors) in values.items()
    }
    return panels, len(predicted)


def _draw_in_bins(
    curves: Sequence[Curve[_InBins]], quantity: str, axis: str,
    *, both_widths: bool = False,
) -> Figure:  # fmt: skip
    names, n_tracks = curves[0].data
    figure, panels = canvas_of_rows(
        f"{quantity} residual against {AXES[axis].label.split(' (')[0]}: "
        f"{n_tracks:,} tracks",
        (1.8, 1.5, 1.2) if both_widths else (2.4, 1.8),
    )
    for panel, axes in zip(names, panels, strict=True):
        for curve in curves:
            label = curve.label if axes is panels[0] else None
            plot_points(axes, curve.data[0][panel], curve.look, label)
        axes.set_ylabel(f"{panel} ({UNITS[quantity]})", fontsize=9)
        if panel == "mean":
            axes.axhline(0, color="0.5", lw=0.8)
        else:
            axes.set_ylim(bottom=0)
    set_axis(panels[-1], axis)
    legend(panels[0])
    return figure


for _axis in AXES:
    for _quantity in UNITS:
        register(
            f"{_quantity}_resolution_against_{_axis}",
            where=EVERYWHERE[1:] if _axis == "theta" else EVALUATION,
            caption=f"Trimmed std and mean of the {_quantity} residual against "
            f"{AXES[_axis].label}.",
            curve=_in_bins,
            quantity=_quantity,
            axis=_axis,
        )(_draw_in_bins)
for _name, _where, _of, _whose in (
    ("z_width_against_z", EVERYWHERE, (NETWORK, REFERENCE), ""),
    (
        "z_width_against_z_reference", EVERYWHERE[:2], (REFERENCE,),
        ", for the reference alone",
    ),
):  # fmt: skip
    register(
        _name,
        where=_where,
        caption=f"Widths and mean of the z residual against z{_whose}.",
        of=_of,
        curve=_in_bins,
        quantity="z",
        axis="z",
        both_widths=True,
    )(_draw_in_bins)


def _slope(predicted: Predictions, _: Predictions | None) -> Points | None:
    """Slopes in the narrowest bins that leave most of them a small error."""
    found = predicted.residual("z")
    if found is None:
        return None
    finest = AXES["z"].edges
    n_bins = len(finest) - 1
    for width in (k for k in range(1, n_bins + 1) if n_bins % k == 0):
        edges = finest[::width]
        bins = residuals_in_bins(found, predicted.z_reco_cm, edges, predicted.event)
        small = bins.slope_error < MAX_SLOPE_ERROR
        if small.sum() * 2 >= (bins.n_tracks >= MIN_TRACKS).sum():
            break
    # Few tracks in a narrow bin have slopes of any size.
    slopes = np.where(small, bins.slope, np.nan)
    return Points(edges, slopes, bins.slope_error, bins.n_tracks)


@register(
    "z_slope_against_z",
    where=EVALUATION,
    curve=_slope,
    caption="Slope of the z residual against z within bins of z; 0: the network "
    "follows the tracks, -1: it gives all tracks the same z.",
)
def z_slope_against_z(curves: Sequence[Curve[Points]]) -> Figure:
    """Draw how well a network follows the tracks of each bin of z."""
    figure, axes = canvas("slope of the z residual within bins of z")
    for curve in curves:
        plot_points(axes, curve.data, curve.look, curve.label)
    axes.axhline(0, color="0.5", lw=0.8)
    axes.axhline(-1, color="0.5", lw=0.8, ls=":")
    axes.set_ylim(-2, 1)
    set_axis(axes, "z")
    axes.set_ylabel("slope of the z residual")
    legend(axes, title="0: follows the tracks, -1: the same z for all")
    return figure
