"""What networks say, counted: z, theta and momentum, over the reconstruction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from nnt.metrics import BACKGROUND_Z_CM, SIGNAL_Z_CM, Predictions
from nnt.plots.pieces import (
    Bars,
    Histogram,
    bin_edges,
    counts_of,
    draw_histograms,
    filled,
    histogram,
    numbers,
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
    COLOURS,
    RECONSTRUCTION,
    Look,
    canvas,
    colour_bar,
    log_counts,
)
from nnt.types import F64, FloatArray

N_BINS = 100
"""As in the quality monitoring of the trigger (``CDCTriggerNeuroDQMModule``)."""
RANGES = {"z": (-100.0, 100.0), "theta": (10.0, 170.0), "cos(theta)": (-1.0, 1.0)}
UNITS = {"z": "cm", "theta": "deg", "cos(theta)": ""}
INVERSE_PT_RANGE, INVERSE_PT_BINS = (0.0, 5.0), 50


def _values(
    predicted: Predictions, quantity: str
) -> tuple[FloatArray | None, FloatArray]:
    """What a network and the reconstruction say, of shape (N,) each."""
    if quantity == "z":
        return predicted.z_cm if predicted.has_z else None, predicted.z_reco_cm
    found, reco = predicted.theta_deg, predicted.theta_reco_deg
    if quantity == "theta" or found is None:
        return found, reco
    return np.cos(np.deg2rad(found)), np.cos(np.deg2rad(reco))


def _over_reconstruction(
    predicted: Predictions, _: Predictions | None, quantity: str
) -> tuple[Histogram, Histogram] | None:
    """Count what a network says, and the reconstruction."""
    values, reco = _values(predicted, quantity)
    if values is None:
        return None
    edges, unit = bin_edges(*RANGES[quantity], N_BINS, len(values)), UNITS[quantity]
    event, clip = predicted.event, quantity == "z"
    return (
        histogram(values, edges, numbers(values, unit), reco, event, clip=clip),
        histogram(reco, edges, numbers(reco, unit), None, event, clip=clip),
    )


def _draw_over_reconstruction(
    curves: Sequence[Curve[tuple[Histogram, Histogram]]], quantity: str
) -> Figure:
    is_z = quantity == "z"
    _, reco = curves[0].data
    edges = reco.edges
    name = f"reconstruction: {reco.numbers}"
    drawn = [Bars(Look(RECONSTRUCTION), name, reco.counts)]
    for curve in curves:
        data, _ = curve.data
        label = curve.label and f"{curve.label}: {data.numbers}"
        drawn.append(Bars(curve.look, label, data.counts, data.ratio))
    y = f"tracks per {edges[1] - edges[0]:g}"
    figure, axes = draw_histograms(
        "z at the beam line" if is_z else "polar angle",
        edges,
        drawn,
        "z (cm)" if is_z else quantity,
        f"{y} cm (outer bins: with overflow)" if is_z else y,
        over="reconstruction",
    )
    filled(axes, edges, reco.counts, "0.85")
    if is_z:
        log_counts(axes)
    return figure


for _name, _quantity, _where, _what in (
    ("z_histogram", "z", EVERYWHERE, "z"),
    ("theta_histogram", "cos(theta)", EVALUATION, "Cosine of the polar angle"),
):
    register(
        _name,
        where=_where,
        caption=f"{_what} of every network, overlaid on that of the reconstruction.",
        curve=_over_reconstruction,
        quantity=_quantity,
    )(_draw_over_reconstruction)


_Map = tuple[F64, F64, str]
"""Edges, counts, and how many tracks there are."""


def _map(predicted: Predictions, _: Predictions | None, quantity: str) -> _Map | None:
    values, reco = _values(predicted, quantity)
    if values is None:
        return None
    limits = RANGES[quantity]
    edges = bin_edges(*limits, N_BINS, len(values))
    counts = np.histogram2d(reco, values, len(edges) - 1, (limits, limits))[0]
    return edges, counts, f"{len(values):,} tracks{share_beyond(values, edges)}"


def _against_reco(curves: Sequence[Curve[_Map]], quantity: str) -> Figure:
    curve, unit = curves[0], UNITS[quantity]
    edges, counts, n_tracks = curve.data
    figure, axes = canvas(f"{quantity} of the {curve.name}: {n_tracks}")
    limits = (edges[0], edges[-1])
    image = axes.imshow(
        np.ma.masked_equal(counts.T, 0),
        norm=LogNorm(vmin=1, vmax=max(float(counts.max()), 2.0)), cmap="viridis",
        origin="lower", extent=(*limits, *limits), interpolation="nearest",
        aspect="auto",
    )  # fmt: skip
    step = f"{edges[1] - edges[0]:g} {unit}"
    colour_bar(axes, image, f"tracks per {step} × {step}")
    axes.plot(limits, limits, color="0.5", lw=0.8, ls="--")
    axes.set_xlabel(f"{quantity} of the reconstruction ({unit})")
    axes.set_ylabel(f"{quantity} of the {curve.name} ({unit})")
    return figure


for _quantity in ("z", "theta"):
    for _of in (NETWORK, REFERENCE):
        is_main = (_quantity, _of) == ("z", NETWORK)
        register(
            f"{_quantity}_against_reco{'' if _of == NETWORK else '_reference'}",
            where=EVERYWHERE[:2] if is_main else EVALUATION,
            caption=f"{_quantity} of the {_of} against {_quantity} of the "
            "reconstruction.",
            of=(_of,),
            curve=_map,
            quantity=_quantity,
        )(_against_reco)


_Spectra = tuple[F64, dict[str, F64], int]
"""Edges, counts of each kind of tracks, and how many have no momentum."""


def _inverse_pt(predicted: Predictions, _: Predictions | None) -> _Spectra | None:
    if predicted.pt_gev is None or not len(predicted):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1 / predicted.pt_gev
    there = np.isfinite(inverse)
    size = np.abs(predicted.z_reco_cm)
    edges = bin_edges(*INVERSE_PT_RANGE, INVERSE_PT_BINS, len(inverse))
    kinds = {
        "all": there,
        f"from the collision point, |z| < {SIGNAL_Z_CM:g} cm": size < SIGNAL_Z_CM,
        f"background, |z| > {BACKGROUND_Z_CM:g} cm": size > BACKGROUND_Z_CM,
    }
    counts = {
        name: counts_of(inverse[there & rows], edges, clip=True)
        for name, rows in kinds.items()
    }
    return edges, counts, int((~there).sum())


@register(
    "inverse_pt_histogram",
    where=EVALUATION,
    of=(NETWORK,),
    curve=_inverse_pt,
    caption="1/pT of trigger tracks.",
)
def inverse_pt_histogram(curves: Sequence[Curve[_Spectra]]) -> Figure:
    """Draw 1/pT of all tracks, of those from the collision point and of background."""
    edges, of_kinds, n_without = curves[0].data
    n_tracks = of_kinds["all"].sum()
    without = f" ({n_without:,} without a momentum)" if n_without else ""
    drawn = [
        Bars(Look(colour), f"{name}: {counts.sum():,.0f} tracks", counts)
        for (name, counts), colour in zip(
            of_kinds.items(), (RECONSTRUCTION, *COLOURS), strict=False
        )
    ]
    title = f"1/pT of trigger tracks: {n_tracks:,.0f} tracks{without}"
    y = f"tracks per {edges[1] - edges[0]:g} GeV$^{{-1}}$ (last bin: with overflow)"
    return draw_histograms(title, edges, drawn, "1/pT (GeV$^{-1}$)", y, log=True)[0]


def fixed_point_difference(difference: FloatArray, quantity: str, unit: str) -> Figure:
    """Draw by how much fixed-point and floating-point outputs differ.

    Parameters
    ----------
    difference : float array, shape (N,)
        Output of the integer network minus that of the float network; not empty.
    quantity, unit : str
        ``"z"`` and ``"cm"``, or ``"theta"`` and ``"deg"``.
    """
    limit = max(float(np.abs(difference).max(initial=0)), 1e-9)
    label = (
        f"{len(difference):,} tracks: mean {np.mean(difference):.3g} {unit}, "
        f"std {np.std(difference):.3g} {unit}, largest {limit:.3g} {unit}"
    )
    edges = bin_edges(-limit, limit, N_BINS, len(difference))
    return draw_histograms(
        f"{quantity}: fixed point minus floating point",
        edges,
        [Bars(Look(COLOURS[0]), label, counts_of(difference, edges))],
        f"difference of {quantity} ({unit})",
        f"tracks per {edges[1] - edges[0]:.2g} {unit}",
        log=True,
    )[0]
