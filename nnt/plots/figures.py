"""The plots of every training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from nnt.metrics import BACKGROUND_Z_CM, SIGNAL_Z_CM, Predictions, residuals_in_bins
from nnt.plots.registry import register
from nnt.plots.style import COLOURS, canvas, legend_numbers, log_counts, tick_powers

__all__: list[str] = []

Floats = npt.NDArray[np.floating]

Z_BINS_CM = np.linspace(-100, 100, 101)
"""As in the quality monitoring of the trigger (``CDCTriggerNeuroDQMModule``)."""
WIDTH_BINS_CM = np.linspace(-100, 100, 41)
CUTS_CM = np.linspace(0, 60, 121)
MIN_TRACKS = 5
"""Tracks below which a bin tells no width."""


def _has_reference(predicted: Predictions) -> bool:
    return len(predicted) > 0 and predicted.z_reference_cm is not None


def _has_theta(predicted: Predictions) -> bool:
    return len(predicted) > 0 and predicted.theta_deg is not None


@register("z_against_reco")
def z_against_reco(predicted: Predictions) -> Figure:
    """Draw z of the network against z of the reconstruction."""
    figure, axes = canvas(f"z of the network ({len(predicted):,} tracks)")
    counts, _, _ = np.histogram2d(
        predicted.z_reco_cm, predicted.z_cm, bins=(Z_BINS_CM, Z_BINS_CM)
    )
    image = axes.imshow(
        np.ma.masked_equal(counts.T, 0),
        norm=LogNorm(vmin=1, vmax=max(float(counts.max()), 2.0)),
        cmap="viridis",
        origin="lower",
        extent=(-100, 100, -100, 100),
        interpolation="nearest",
        aspect="auto",
    )
    figure.subplots_adjust(right=0.92)
    bar = figure.colorbar(
        image, label="tracks per 2 cm × 2 cm", fraction=0.08, pad=0.02
    )
    tick_powers(bar.ax.yaxis)
    axes.plot([-100, 100], [-100, 100], color="0.5", lw=0.8, ls="--")
    axes.set_xlabel("z of the reconstruction (cm)")
    axes.set_ylabel("z of the network (cm)")
    return figure


@register("z_histogram")
def z_histogram(predicted: Predictions) -> Figure:
    """Draw z of network, reconstruction and reference."""
    figure, axes = canvas("z at the beam line")
    series = {"reconstruction": predicted.z_reco_cm, "network": predicted.z_cm}
    if predicted.z_reference_cm is not None:
        series["reference"] = predicted.z_reference_cm
    for name, z_cm in series.items():
        axes.hist(
            np.clip(z_cm, -100, 100),
            bins=Z_BINS_CM.tolist(),
            histtype="step",
            color=COLOURS[name],
            label=legend_numbers(name, z_cm, "cm"),
        )
    log_counts(axes)
    axes.set_xlabel("z (cm)")
    axes.set_ylabel("tracks per 2 cm")
    axes.legend(fontsize=7)
    return figure


def _residual_histogram(
    axes: Axes, residuals: Mapping[str, Floats], unit: str, limit: float
) -> None:
    bins = np.linspace(-limit, limit, 101)
    for name, values in residuals.items():
        axes.hist(
            values,
            bins=bins.tolist(),
            histtype="step",
            color=COLOURS[name],
            label=legend_numbers(name, values, unit),
        )
    axes.set_ylabel(f"tracks per {bins[1] - bins[0]:.2g} {unit}")
    axes.legend(fontsize=7)


def _z_residuals(
    predicted: Predictions, keep: npt.NDArray[np.bool_]
) -> dict[str, Floats]:
    residuals: dict[str, Floats] = {
        "network": (predicted.z_cm - predicted.z_reco_cm)[keep]
    }
    if predicted.z_reference_cm is not None:
        reference = predicted.z_reference_cm - predicted.z_reco_cm
        residuals["reference"] = reference[keep]
    return residuals


@register("z_residual")
def z_residual(predicted: Predictions) -> Figure:
    """Draw the z residual of all tracks."""
    figure, axes = canvas("z residual")
    everything = np.ones(len(predicted), dtype=np.bool_)
    _residual_histogram(axes, _z_residuals(predicted, everything), "cm", 60)
    axes.set_xlabel("z - z of the reconstruction (cm)")
    return figure


@register("z_residual_collision_point")
def z_residual_collision_point(predicted: Predictions) -> Figure:
    """Draw the z residual of tracks from the collision point."""
    figure, axes = canvas(f"z residual, |z of the reconstruction| < {SIGNAL_Z_CM:g} cm")
    signal = np.abs(predicted.z_reco_cm) < SIGNAL_Z_CM
    _residual_histogram(axes, _z_residuals(predicted, signal), "cm", 30)
    axes.set_xlabel("z - z of the reconstruction (cm)")
    return figure


@register("theta_residual", when=_has_theta)
def theta_residual(predicted: Predictions) -> Figure:
    """Draw the residual of the polar angle."""
    figure, axes = canvas("polar angle residual")
    residuals = {}
    if predicted.theta_deg is not None:
        residuals["network"] = predicted.theta_deg - predicted.theta_reco_deg
    if predicted.theta_reference_deg is not None:
        residuals["reference"] = (
            predicted.theta_reference_deg - predicted.theta_reco_deg
        )
    _residual_histogram(axes, residuals, "deg", 40)
    axes.set_xlabel("theta - theta of the reconstruction (deg)")
    return figure


def _width_against_z(name: str, z_cm: Floats, z_reco_cm: Floats) -> Figure:
    figure, axes = canvas(f"z residual of the {name} against z")
    bins = residuals_in_bins(z_cm - z_reco_cm, z_reco_cm, WIDTH_BINS_CM)
    told = bins.n_tracks >= MIN_TRACKS
    centres_cm = (bins.edges[:-1] + bins.edges[1:]) / 2
    for label, values, errors, colour in (
        ("std", bins.std, bins.std_error, COLOURS[name]),
        ("mean", bins.mean, bins.mean_error, COLOURS["bias"]),
    ):
        axes.errorbar(
            centres_cm[told],
            values[told],
            yerr=errors[told],
            fmt="o",
            ms=3,
            capsize=2,
            color=colour,
            label=label,
        )
    axes.axhline(0, color="0.5", lw=0.8)
    axes.set_xlim(-100, 100)
    axes.set_xlabel("z of the reconstruction (cm)")
    axes.set_ylabel("z residual (cm)")
    width_cm = bins.edges[1] - bins.edges[0]
    axes.legend(title=f"{len(z_cm):,} tracks, bins of {width_cm:g} cm")
    return figure


@register("z_width_against_z")
def z_width_against_z(predicted: Predictions) -> Figure:
    """Draw width and mean of the residual in bins of z."""
    return _width_against_z("network", predicted.z_cm, predicted.z_reco_cm)


@register("z_width_against_z_reference", when=_has_reference)
def z_width_against_z_reference(predicted: Predictions) -> Figure:
    """Draw the same of the reference."""
    z_cm = (
        predicted.z_cm if predicted.z_reference_cm is None else predicted.z_reference_cm
    )
    return _width_against_z("reference", z_cm, predicted.z_reco_cm)


@register("efficiency_and_rejection")
def efficiency_and_rejection(predicted: Predictions) -> Figure:
    """Draw what the trigger keeps and throws away as its cut moves."""
    figure, axes = canvas("efficiency and rejection against the cut |z| < d")
    size = np.abs(predicted.z_reco_cm)
    series = {"network": predicted.z_cm}
    if predicted.z_reference_cm is not None:
        series["reference"] = predicted.z_reference_cm
    for name, z_cm in series.items():
        for kind, of, line in (
            ("efficiency", size < SIGNAL_Z_CM, "-"),
            ("rejection", size > BACKGROUND_Z_CM, "--"),
        ):
            ordered = np.sort(np.abs(z_cm[of]))
            if not len(ordered):
                continue
            share = np.searchsorted(ordered, CUTS_CM, side="left") / len(ordered)
            shown = share if kind == "efficiency" else 1 - share
            label = f"{kind}, {name} ({len(ordered):,} tracks)"
            axes.plot(CUTS_CM, shown, line, color=COLOURS[name], label=label)
    axes.set_xlabel("cut d (cm)")
    axes.set_ylabel("share of tracks")
    axes.set_ylim(0, 1.02)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
    return figure
