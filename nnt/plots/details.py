"""Plots that an evaluation adds to those of a training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from nnt.metrics import (
    AXES,
    Predictions,
    cut_at_efficiency_cm,
    residuals_in_bins,
    share_in_bins,
    values_at,
)
from nnt.metrics.trigger import SIGNAL_Z_CM
from nnt.plots.figures import Z_EDGES_CM, against_reco
from nnt.plots.registry import register
from nnt.plots.series import (
    MIN_TRACKS,
    both,
    counts_of,
    leave_room,
    name_lines,
    numbers,
    outline,
    points,
)
from nnt.plots.style import COLOURS, canvas, canvas_with_ratio, log_counts, ratio_panel
from nnt.types import FloatArray

__all__: list[str] = []


THETA_EDGES_DEG = np.linspace(10, 170, 81)
COSINE_EDGES = np.linspace(-1, 1, 101)
INVERSE_PT_EDGES = np.linspace(0, 5, 51)
"""Both as in the quality monitoring of the trigger (``CDCTriggerNeuroDQMModule``)."""
PT_TICKS_GEV = (0.2, 0.3, 0.5, 0.7, 1, 2, 3, 5, 10)
EFFICIENCY = 0.96
MAX_SLOPE_ERROR = 0.5
QUANTITIES = {"z": "cm", "theta": "deg"}


def _has(name: str) -> Callable[[Predictions], bool]:
    def when(predicted: Predictions) -> bool:
        return len(predicted) > 0 and name in values_at(predicted)

    return when


def _theta_and(name: str) -> Callable[[Predictions], bool]:
    return lambda p: p.theta_deg is not None and _has(name)(p)


def _has_signal_and(name: str) -> Callable[[Predictions], bool]:
    return lambda p: bool((np.abs(p.z_reco_cm) < SIGNAL_Z_CM).any()) and _has(name)(p)


def _theta(predicted: Predictions) -> bool:
    return len(predicted) > 0 and predicted.theta_deg is not None


def _theta_reference(predicted: Predictions) -> bool:
    return len(predicted) > 0 and predicted.theta_reference_deg is not None


def _residuals(predicted: Predictions, quantity: str) -> dict[str, FloatArray]:
    if quantity == "z":
        return {one.name: one.z_cm - predicted.z_reco_cm for one in both(predicted)}
    return {
        one.name: one.theta_deg - predicted.theta_reco_deg
        for one in both(predicted)
        if one.theta_deg is not None
    }


def _resolution(predicted: Predictions, quantity: str, name: str) -> Figure:
    unit, axis = QUANTITIES[quantity], AXES[name]
    figure, axes, below = canvas_with_ratio(
        f"{quantity} residual: {len(predicted):,} tracks", height_ratio=1.3
    )
    at = values_at(predicted)[name]
    for own, values in _residuals(predicted, quantity).items():
        bins = residuals_in_bins(values, at, axis.edges)
        told = np.where(bins.n_tracks >= MIN_TRACKS, 1.0, np.nan)
        # Error of a normal distribution of that width.
        error = bins.trimmed_std / np.sqrt(2 * np.maximum(bins.n_tracks, 1))
        colour = COLOURS[own]
        points(axes, axis.edges, bins.trimmed_std * told, error, colour, own)
        points(below, axis.edges, bins.mean * told, bins.mean_error, colour)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(f"std of the central 90 % ({unit})")
    below.axhline(0, color="0.5", lw=0.8)
    below.set_ylabel(f"mean ({unit})")
    _set_axis(below, name)
    name_lines(axes)
    return figure


def _set_axis(axes: Axes, name: str) -> None:
    axis = AXES[name]
    axes.set_xlabel(axis.label)
    if name == "pt":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(PT_TICKS_GEV))
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(axis.edges[0], axis.edges[-1])


def _slope(predicted: Predictions) -> Figure:
    figure, axes = canvas(f"response in bins of z: {len(predicted):,} tracks")
    edges = AXES["z"].edges
    for own, values in _residuals(predicted, "z").items():
        bins = residuals_in_bins(values, predicted.z_reco_cm, edges)
        # Few tracks in a narrow bin have slopes of any size.
        told = np.where(bins.slope_error < MAX_SLOPE_ERROR, 1.0, np.nan)
        points(
            axes, edges, (1 + bins.slope) * told, bins.slope_error, COLOURS[own], own
        )
    axes.axhline(1, color="0.5", lw=0.8)
    axes.axhline(0, color="0.5", lw=0.8, ls=":")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(-1, 3)
    axes.set_xlabel(AXES["z"].label)
    axes.set_ylabel("slope of z of the network against z")
    name_lines(axes, title="1: follows the tracks, 0: the same z for all")
    return figure


def _efficiency(predicted: Predictions, name: str) -> Figure:
    axis = AXES[name]
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    figure, axes, below = canvas_with_ratio(
        f"efficiency for {signal.sum():,} tracks from the collision point, "
        f"|z| < d, d of {EFFICIENCY * 100:.0f} %"
    )
    at = values_at(predicted)[name][signal]
    for one in both(predicted):
        cut_cm = cut_at_efficiency_cm(one.z_cm[signal], EFFICIENCY)
        passing = np.abs(one.z_cm[signal]) < cut_cm
        shares = share_in_bins(passing, at, axis.edges)
        told = np.where(shares.n_tracks >= MIN_TRACKS, 1.0, np.nan)
        label = f"{one.name}, d = {cut_cm:.1f} cm"
        points(
            axes, axis.edges, shares.share * told, shares.error, one.colour, label,
            highest=1.0,
        )  # fmt: skip
    n_tracks = shares.n_tracks.astype(np.float64)
    below.stairs(n_tracks, axis.edges, color="0.75", fill=True)
    axes.axhline(EFFICIENCY, color="0.5", lw=0.8)
    axes.set_ylim(top=1.005)
    axes.set_ylabel("efficiency")
    below.set_ylabel("tracks")
    _set_axis(below, name)
    name_lines(axes, loc="lower right")
    return figure


def _register_in_bins() -> None:
    for name in AXES:
        for quantity in QUANTITIES:
            when = _has(name) if quantity == "z" else _theta_and(name)
            plot = partial(_resolution, quantity=quantity, name=name)
            register(f"{quantity}_resolution_against_{name}", when, detail=True)(plot)
        if name != "z":
            register(f"efficiency_against_{name}", _has_signal_and(name), detail=True)(
                partial(_efficiency, name=name)
            )
    register("z_slope_against_z", _has("z"), detail=True)(_slope)


_register_in_bins()


@register(
    "z_against_reco_reference",
    when=lambda p: len(p) > 0 and p.z_reference_cm is not None,
    detail=True,
)
def z_against_reco_reference(predicted: Predictions) -> Figure:
    """Draw z of the reference against z of the reconstruction."""
    values = list(both(predicted))[-1].z_cm
    title = f"z of the reference: {len(predicted):,} tracks"
    return against_reco(
        title, values, predicted.z_reco_cm, Z_EDGES_CM, "z", "cm", "reference"
    )


@register("theta_against_reco", when=_theta, detail=True)
def theta_against_reco(predicted: Predictions) -> Figure:
    """Draw theta of the network against theta of the reconstruction."""
    return _theta_against_reco(predicted, 0)


@register("theta_against_reco_reference", when=_theta_reference, detail=True)
def theta_against_reco_reference(predicted: Predictions) -> Figure:
    """Draw theta of the reference against theta of the reconstruction."""
    return _theta_against_reco(predicted, -1)


def _theta_against_reco(predicted: Predictions, which: int) -> Figure:
    one = list(both(predicted))[which]
    values = predicted.theta_reco_deg if one.theta_deg is None else one.theta_deg
    title = f"theta of the {one.name}: {len(predicted):,} tracks"
    return against_reco(
        title, values, predicted.theta_reco_deg, THETA_EDGES_DEG, "theta", "deg",
        one.name,
    )  # fmt: skip


@register("theta_histogram", when=_theta, detail=True)
def theta_histogram(predicted: Predictions) -> Figure:
    """Draw the cosine of the polar angle of network, reconstruction and reference."""
    figure, axes, ratio = canvas_with_ratio("polar angle")
    cosine = np.cos(np.deg2rad(predicted.theta_reco_deg))
    reco = counts_of(cosine, COSINE_EDGES)
    axes.stairs(reco, COSINE_EDGES, color="0.85", fill=True, zorder=1)
    label = numbers("reconstruction", cosine, "")
    outline(axes, COSINE_EDGES, reco, COLOURS["reconstruction"], label)
    for one in both(predicted):
        if one.theta_deg is not None:
            values = np.cos(np.deg2rad(one.theta_deg))
            counts = counts_of(values, COSINE_EDGES)
            label = numbers(one.name, values, "")
            outline(axes, COSINE_EDGES, counts, one.colour, label)
            ratio_panel(ratio, COSINE_EDGES, counts, reco, one.colour)
    leave_room(axes, 0.3)
    axes.set_ylabel("tracks per 0.02")
    ratio.set_ylabel("over reco.")
    ratio.set_xlabel("cos(theta)")
    ratio.set_xlim(-1, 1)
    name_lines(axes, loc="upper left", ncols=3)
    return figure


@register("inverse_pt_histogram", when=_has("pt"), detail=True)
def inverse_pt_histogram(predicted: Predictions) -> Figure:
    """Draw 1/pt of all tracks, of those from the collision point and of background."""
    figure, axes = canvas(f"momentum of the trigger's {len(predicted):,} tracks")
    pt_gev = values_at(predicted)["pt"]
    size = np.abs(predicted.z_reco_cm)
    for name, rows, colour in (
        ("all", slice(None), COLOURS["reconstruction"]),
        ("from the collision point", size < SIGNAL_Z_CM, COLOURS["network"]),
        ("background, |z| > 20 cm", size > 20, COLOURS["reference"]),
    ):
        inverse = 1 / pt_gev[rows][pt_gev[rows] > 0]
        counts = counts_of(inverse, INVERSE_PT_EDGES)
        label = f"{name}: {len(inverse):,} tracks"
        outline(axes, INVERSE_PT_EDGES, counts, colour, label)
    log_counts(axes)
    axes.set_xlim(0, 5)
    axes.set_xlabel("1/pt (1/GeV)")
    axes.set_ylabel("tracks per 0.1 / GeV")
    name_lines(axes)
    return figure
