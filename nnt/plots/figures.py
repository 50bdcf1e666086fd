"""The plots of every training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from scipy.special import ndtr

from nnt.metrics import (
    AXES,
    BACKGROUND_Z_CM,
    CUT_CM,
    SIGNAL_Z_CM,
    CoreFit,
    Predictions,
    binomial_error,
    core_fit,
    residuals_in_bins,
)
from nnt.plots.registry import register
from nnt.plots.series import (
    MIN_TRACKS,
    Series,
    both,
    counts_of,
    leave_room,
    name_lines,
    numbers,
    outline,
    points,
    share_beyond,
)
from nnt.plots.style import (
    COLOURS,
    canvas,
    canvas_with_ratio,
    log_counts,
    ratio_panel,
    tick_powers,
)
from nnt.types import F64, BoolArray, FloatArray

__all__ = ["against_reco", "residual_figure"]


Z_EDGES_CM = np.linspace(-100, 100, 101)
"""As in the quality monitoring of the trigger (``CDCTriggerNeuroDQMModule``)."""
CUTS_CM = np.linspace(0, 60, 121)


def _has_reference(predicted: Predictions) -> bool:
    return len(predicted) > 0 and predicted.z_reference_cm is not None


def _has_theta(predicted: Predictions) -> bool:
    return len(predicted) > 0 and predicted.theta_deg is not None


def against_reco(
    title: str,
    values: FloatArray,
    reco: FloatArray,
    edges: F64,
    quantity: str,
    unit: str,
    name: str = "network",
) -> Figure:
    """Draw what a network says against the reconstruction, as a 2-D histogram.

    Parameters
    ----------
    title : str
        Above the plot.
    values, reco : float array, shape (N,)
        Of the network and of the reconstruction.
    edges : float64 array, shape (B + 1,)
        Even bins of both.
    quantity, unit : str
        ``"z"`` and ``"cm"``, or ``"theta"`` and ``"deg"``.
    name : str
        What the values are of.
    """
    figure, axes = canvas(title + share_beyond(values, edges))
    limits = (edges[0], edges[-1])
    counts, _, _ = np.histogram2d(reco, values, len(edges) - 1, (limits, limits))
    image = axes.imshow(
        np.ma.masked_equal(counts.T, 0),
        norm=LogNorm(vmin=1, vmax=max(float(counts.max()), 2.0)),
        cmap="viridis",
        origin="lower",
        extent=(*limits, *limits),
        interpolation="nearest",
        aspect="auto",
    )
    figure.subplots_adjust(right=0.92)
    width = f"{edges[1] - edges[0]:g} {unit}"
    bar = figure.colorbar(
        image, label=f"tracks per {width} × {width}", fraction=0.08, pad=0.02
    )
    tick_powers(bar.ax.yaxis)
    axes.plot(limits, limits, color="0.5", lw=0.8, ls="--")
    axes.set_xlabel(f"{quantity} of the reconstruction ({unit})")
    axes.set_ylabel(f"{quantity} of the {name} ({unit})")
    return figure


@register("z_against_reco")
def z_against_reco(predicted: Predictions) -> Figure:
    """Draw z of the network against z of the reconstruction."""
    title = f"z of the network: {len(predicted):,} tracks"
    return against_reco(
        title, predicted.z_cm, predicted.z_reco_cm, Z_EDGES_CM, "z", "cm"
    )


@register("z_histogram")
def z_histogram(predicted: Predictions) -> Figure:
    """Draw z of network, reconstruction and reference."""
    figure, axes, ratio = canvas_with_ratio("z at the beam line")
    reco = counts_of(predicted.z_reco_cm, Z_EDGES_CM, clip=True)
    axes.stairs(reco, Z_EDGES_CM, color="0.85", fill=True, zorder=1)
    label = numbers("reconstruction", predicted.z_reco_cm, "cm")
    outline(axes, Z_EDGES_CM, reco, COLOURS["reconstruction"], label)
    for one in both(predicted):
        counts = counts_of(one.z_cm, Z_EDGES_CM, clip=True)
        label = numbers(one.name, one.z_cm, "cm")
        outline(axes, Z_EDGES_CM, counts, one.colour, label)
        ratio_panel(ratio, Z_EDGES_CM, counts, reco, one.colour)
    log_counts(axes)
    leave_room(axes, 0.3)
    axes.set_ylabel("tracks per 2 cm (outer: and beyond)")
    ratio.set_ylabel("over reco.")
    ratio.set_xlabel("z (cm)")
    name_lines(axes, loc="upper left", ncols=3)
    return figure


def residual_figure(
    title: str,
    residuals: Mapping[str, FloatArray],
    quantity: str,
    unit: str,
    limit: float,
) -> Figure:
    """Draw residuals, the normal distributions of their cores, and their ratio.

    Parameters
    ----------
    title : str
        Above the plot.
    residuals : mapping
        Shape (N,), of the ``network`` and, if there is one, the ``reference``.
    quantity, unit : str
        ``"z"`` and ``"cm"``, or ``"theta"`` and ``"deg"``.
    limit : float
        End of the axis.
    """
    edges = np.linspace(-limit, limit, 101)
    if "reference" in residuals:
        figure, axes, ratio = canvas_with_ratio(title)
        counts = [counts_of(residuals[n], edges) for n in ("network", "reference")]
        ratio_panel(ratio, edges, counts[0], counts[1], COLOURS["network"])
        ratio.set_ylabel("over ref.")
        below = ratio
    else:
        figure, axes = canvas(title)
        below = axes
    for name, values in residuals.items():
        fit = core_fit(values)
        label = numbers(name, values, unit, fit)
        if len(values):
            label += share_beyond(values, edges)
        outline(axes, edges, counts_of(values, edges), COLOURS[name], label)
        if fit is not None:
            _draw_core(axes, fit, len(values), edges, COLOURS[name])
    axes.set_xlim(-limit, limit)
    leave_room(axes, 0.35)
    axes.set_ylabel(f"tracks per {edges[1] - edges[0]:.2g} {unit}")
    below.set_xlabel(f"{quantity} - {quantity} of the reconstruction ({unit})")
    name_lines(axes, loc="upper right")
    return figure


def _draw_core(
    axes: Axes, fit: CoreFit, n_tracks: int, edges: F64, colour: str
) -> None:
    at = fit.mean + fit.std * np.linspace(-1.5, 1.5, 61)
    half = (edges[1] - edges[0]) / 2
    inside = ndtr((at + half - fit.mean) / fit.std)
    inside -= ndtr((at - half - fit.mean) / fit.std)
    axes.plot(at, fit.share * n_tracks * inside, "--", color=colour, lw=1)


def _z_residuals(
    predicted: Predictions, keep: BoolArray | slice
) -> dict[str, FloatArray]:
    return {one.name: (one.z_cm - predicted.z_reco_cm)[keep] for one in both(predicted)}


@register("z_residual")
def z_residual(predicted: Predictions) -> Figure:
    """Draw the z residual of all tracks."""
    residuals = _z_residuals(predicted, slice(None))
    return residual_figure("z residual", residuals, "z", "cm", 60)


@register("z_residual_collision_point")
def z_residual_collision_point(predicted: Predictions) -> Figure:
    """Draw the z residual of tracks from the collision point, in a narrow range."""
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    title = f"z residual, |z of the reconstruction| < {SIGNAL_Z_CM:g} cm"
    return residual_figure(title, _z_residuals(predicted, signal), "z", "cm", 30)


@register("theta_residual", when=_has_theta)
def theta_residual(predicted: Predictions) -> Figure:
    """Draw the residual of the polar angle."""
    residuals = {
        one.name: one.theta_deg - predicted.theta_reco_deg
        for one in both(predicted)
        if one.theta_deg is not None
    }
    return residual_figure("polar angle residual", residuals, "theta", "deg", 40)


def _width_against_z(shown: list[Series], z_reco_cm: FloatArray) -> Figure:
    names = " and ".join(one.name for one in shown)
    figure, axes, below = canvas_with_ratio(
        f"z residual against z, {names}: {len(z_reco_cm):,} tracks", height_ratio=1.3
    )
    edges = AXES["z"].edges
    for one in shown:
        bins = residuals_in_bins(one.z_cm - z_reco_cm, z_reco_cm, edges)
        told = np.where(bins.n_tracks >= MIN_TRACKS, 1.0, np.nan)
        points(axes, edges, bins.std * told, bins.std_error, one.colour, one.name)
        points(
            axes, edges, bins.trimmed_std * told, 0 * bins.std_error, one.colour,
            f"{one.name}, central 90 %", marker="_",
        )  # fmt: skip
        points(below, edges, bins.mean * told, bins.mean_error, one.colour)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("std (cm)")
    below.axhline(0, color="0.5", lw=0.8)
    below.set_xlim(edges[0], edges[-1])
    below.set_ylabel("mean (cm)")
    below.set_xlabel("z of the reconstruction (cm)")
    name_lines(axes, title=f"bins of {edges[1] - edges[0]:g} cm")
    return figure


@register("z_width_against_z")
def z_width_against_z(predicted: Predictions) -> Figure:
    """Draw width and mean of the residual in bins of z."""
    return _width_against_z(list(both(predicted)), predicted.z_reco_cm)


@register("z_width_against_z_reference", when=_has_reference)
def z_width_against_z_reference(predicted: Predictions) -> Figure:
    """Draw the same of the reference alone."""
    return _width_against_z(list(both(predicted))[1:], predicted.z_reco_cm)


@register("efficiency_and_rejection")
def efficiency_and_rejection(predicted: Predictions) -> Figure:
    """Draw what the trigger keeps and throws away as its cut moves."""
    figure, axes = canvas("efficiency and rejection against the cut |z| < d")
    size = np.abs(predicted.z_reco_cm)
    for one in both(predicted):
        for kind, of, line in (
            ("efficiency", size < SIGNAL_Z_CM, "-"),
            ("rejection", size > BACKGROUND_Z_CM, "--"),
        ):
            ordered = np.sort(np.abs(one.z_cm[of]))
            if not len(ordered):
                continue
            share = np.searchsorted(ordered, CUTS_CM, side="left") / len(ordered)
            shown = share if kind == "efficiency" else 1 - share
            error = binomial_error(share, len(ordered))
            label = f"{kind}, {one.name} ({len(ordered):,} tracks)"
            axes.plot(CUTS_CM, shown, line, color=one.colour, label=label)
            axes.fill_between(
                CUTS_CM, shown - error, shown + error, color=one.colour, alpha=0.2, lw=0
            )
    axes.axvline(CUT_CM, color="0.5", lw=0.8)
    axes.set_xlim(CUTS_CM[0], CUTS_CM[-1])
    axes.set_xlabel("cut d (cm)")
    axes.set_ylabel("share of tracks")
    axes.set_ylim(0, 1.02)
    name_lines(axes)
    return figure
