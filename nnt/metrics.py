"""Arrays in, numbers out: losses, residuals, efficiency, rejection, feed-down.

A track *from the collision point* has |z_reco| < 1 cm; a *background* track has
|z_reco| > 20 cm. The trigger keeps tracks with |z| < d, d the cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnt.detector import theta_to_deg, z_to_cm
from nnt.errors import ConfigError, did_you_mean
from nnt.tracks import Tracks

__all__ = [
    "LOSSES",
    "BinnedResiduals",
    "Predictions",
    "binomial_error",
    "cut_at_efficiency_cm",
    "half_width_68",
    "loss",
    "passing_share",
    "predictions",
    "residuals_in_bins",
    "roc_area",
    "std",
    "summary",
    "trimmed_std",
]

Floats = npt.NDArray[np.floating]
I64 = npt.NDArray[np.int64]

SIGNAL_Z_CM = 1.0
BACKGROUND_Z_CM = 20.0
CUT_CM = 15.0
FEED_Z_CM = 30.0
EFFICIENCIES = (0.95, 0.96, 0.98)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """What a network says of tracks, beside the reconstruction; shape (N,) each."""

    z_reco_cm: Floats
    theta_reco_deg: Floats
    z_cm: Floats
    theta_deg: Floats | None
    """None for a network of z only."""
    z_reference_cm: Floats | None
    theta_reference_deg: Floats | None
    event: I64
    """Dense number of the event."""
    expert: I64
    pt_gev: Floats | None = None
    """Transverse momentum; None where the file does not have it."""

    def __len__(self) -> int:
        return len(self.z_cm)


def predictions(
    tracks: Tracks, output_scaled: Floats, reference_scaled: Floats | None = None
) -> Predictions:
    """Put outputs of a network beside the rows that they belong to.

    Parameters
    ----------
    tracks : Tracks
        N rows.
    output_scaled : float array, shape (N, 1) or (N, 2)
        In network units.
    reference_scaled : float array, shape (N, 1) or (N, 2), optional
        Outputs to compare with; those of the network that ran, if not given.
    """
    reference = tracks.reference if reference_scaled is None else reference_scaled
    return Predictions(
        z_reco_cm=z_to_cm(tracks.targets[:, 0]),
        theta_reco_deg=theta_to_deg(tracks.targets[:, 1]),
        z_cm=z_to_cm(output_scaled[:, 0]),
        theta_deg=_theta_deg(output_scaled),
        z_reference_cm=None if reference is None else z_to_cm(reference[:, 0]),
        theta_reference_deg=None if reference is None else _theta_deg(reference),
        event=tracks.event_index,
        expert=tracks.expert,
        pt_gev=tracks.pt_gev,
    )


def _theta_deg(output_scaled: Floats) -> Floats | None:
    return theta_to_deg(output_scaled[:, 1]) if output_scaled.shape[1] == 2 else None


def _mse(difference: Floats) -> float:
    return float(np.mean(np.square(difference, dtype=np.float64)))


def _l1(difference: Floats) -> float:
    return float(np.mean(np.abs(difference), dtype=np.float64))


def _huber(difference: Floats) -> float:
    size = np.abs(difference).astype(np.float64)
    return float(np.mean(np.where(size < 1, size**2 / 2, size - 0.5)))


LOSSES: dict[str, Callable[[Floats], float]] = {
    "MSELoss": _mse,
    "L1Loss": _l1,
    "SmoothL1Loss": _huber,
    "HuberLoss": _huber,
}
"""By their names in PyTorch; Huber and smooth L1 agree at their default width 1."""


def loss(name: str, output: Floats, target: Floats) -> float:
    """Mean loss over rows and outputs, in network units.

    Raises
    ------
    ConfigError
        There is no such loss.
    """
    if name not in LOSSES:
        raise ConfigError(f"loss: unknown {name!r}; {did_you_mean(name, LOSSES)}")
    return LOSSES[name](output - target)


def std(values: Floats) -> float:
    """Standard deviation; 0 for a single value."""
    return float(np.std(values, dtype=np.float64))


def trimmed_std(values: Floats, cut: float = 0.05) -> float:
    """Compute the standard deviation without the outer shares on either side.

    Parameters
    ----------
    values : float array, shape (N,)
        At least one.
    cut : float
        Share that is cut off on each side.
    """
    n_cut = int(len(values) * cut)
    if n_cut == 0:
        return std(values)
    inner = np.partition(values, [n_cut, len(values) - n_cut - 1])
    return std(inner[n_cut : len(values) - n_cut])


def half_width_68(values: Floats) -> float:
    """Half the distance that holds the central 68.27 % of the values."""
    lower, upper = np.quantile(values, [0.15865, 0.84135])
    return float(upper - lower) / 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BinnedResiduals:
    """Residuals in bins of another quantity; shape (B,) each, NaN in empty bins."""

    edges: Floats
    """Shape (B + 1,)."""
    n_tracks: I64
    mean: Floats
    mean_error: Floats
    """``std / sqrt(n)``."""
    std: Floats
    std_error: Floats
    """``std / sqrt(2 n)``, that of a normal distribution."""
    trimmed_std: Floats


def residuals_in_bins(
    residual: Floats, at: Floats, edges: npt.ArrayLike
) -> BinnedResiduals:
    """Summarise residuals in bins.

    Parameters
    ----------
    residual : float array, shape (N,)
        In cm or degrees, as is the result.
    at : float array, shape (N,)
        What to bin in; values outside the edges are left out.
    edges : float array, shape (B + 1,)
        Increasing; a bin holds its lower edge.
    """
    edges = np.asarray(edges, dtype=np.float64)
    n_bins = len(edges) - 1
    bin_of = np.searchsorted(edges, at, side="right") - 1
    order = np.argsort(bin_of, kind="stable")
    ends = np.searchsorted(bin_of[order], np.arange(n_bins + 1))
    table = np.full((3, n_bins), np.nan)
    for i, (start, end) in enumerate(itertools.pairwise(ends)):
        if end > start:
            values = residual[order[start:end]]
            mean = np.mean(values, dtype=np.float64)
            table[:, i] = mean, std(values), trimmed_std(values)
    n_tracks = np.diff(ends)
    root = np.sqrt(np.where(n_tracks > 0, n_tracks, np.nan))
    return BinnedResiduals(
        edges=edges,
        n_tracks=n_tracks,
        mean=table[0],
        mean_error=table[1] / root,
        std=table[1],
        std_error=table[1] / root / np.sqrt(2),
        trimmed_std=table[2],
    )


def binomial_error(share: npt.ArrayLike, n_tracks: npt.ArrayLike) -> Floats:
    """Standard error of a share of tracks, greater than 0 at shares 0 and 1 too.

    Notes
    -----
    Standard deviation of the posterior from a flat prior: T. Ullrich and Z. Xu,
    "Treatment of errors in efficiency calculations", physics/0701199.
    """
    n = np.asarray(n_tracks, dtype=np.float64)
    inner = (np.asarray(share, dtype=np.float64) * n + 1) / (n + 2)
    error: Floats = np.sqrt(inner * (1 - inner) / (n + 3))
    return error


def passing_share(z_cm: Floats, cut_cm: float) -> float:
    """Share of tracks with |z| below the cut."""
    return float(np.mean(np.abs(z_cm) < cut_cm))


def cut_at_efficiency_cm(z_signal_cm: Floats, efficiency: float) -> float:
    """Smallest cut that keeps this share of the tracks given."""
    size = np.sort(np.abs(z_signal_cm))
    index = int(np.ceil(efficiency * len(size))) - 1
    # The cut is strict, so it must lie just above the last track kept.
    return float(np.nextafter(size[max(index, 0)], np.float32(np.inf)))


def roc_area(z_signal_cm: Floats, z_background_cm: Floats) -> float:
    """Probability that a background track lies further out than a signal track.

    Notes
    -----
    The Mann-Whitney statistic; ties count half.
    """
    signal = np.sort(np.abs(z_signal_cm))
    background = np.abs(z_background_cm)
    below = np.searchsorted(signal, background, side="left")
    upto = np.searchsorted(signal, background, side="right")
    return float(np.mean((below + upto) / 2) / len(signal))


def summary(predicted: Predictions) -> dict[str, float]:
    """Figures of a network under the names of the tracked metrics.

    What cannot be computed, for lack of rows, is left out.
    """
    if not len(predicted):
        return {}
    figures = {"n_tracks": float(len(predicted))}
    figures |= _figures(predicted, predicted.z_cm, predicted.theta_deg)
    if predicted.z_reference_cm is not None:
        reference = _figures(
            predicted, predicted.z_reference_cm, predicted.theta_reference_deg
        )
        figures |= {f"{name}_reference": value for name, value in reference.items()}
    return figures


def _figures(
    predicted: Predictions, z_cm: Floats, theta_deg: Floats | None
) -> dict[str, float]:
    figures = _residual_figures("z", "cm", z_cm - predicted.z_reco_cm)
    if theta_deg is not None:
        residual_deg = theta_deg - predicted.theta_reco_deg
        figures |= _residual_figures("theta", "deg", residual_deg)
    return figures | _trigger_figures(z_cm, predicted.z_reco_cm)


def _residual_figures(name: str, unit: str, residual: Floats) -> dict[str, float]:
    return {
        f"{name}_mean_{unit}": float(np.mean(residual, dtype=np.float64)),
        f"{name}_std_{unit}": std(residual),
        f"{name}_trimmed_std_{unit}": trimmed_std(residual),
        f"{name}_half_width_68_{unit}": half_width_68(residual),
    }


def _trigger_figures(z_cm: Floats, z_reco_cm: Floats) -> dict[str, float]:
    signal = z_cm[np.abs(z_reco_cm) < SIGNAL_Z_CM]
    background = z_cm[np.abs(z_reco_cm) > BACKGROUND_Z_CM]
    figures: dict[str, float] = {}
    if len(signal):
        figures["efficiency_at_15cm"] = passing_share(signal, CUT_CM)
    if len(background):
        figures["rejection_at_15cm"] = 1 - passing_share(background, CUT_CM)
    if not len(signal) or not len(background):
        return figures
    figures["roc_area"] = roc_area(signal, background)
    for efficiency in EFFICIENCIES:
        cut_cm = cut_at_efficiency_cm(signal, efficiency)
        name = f"eff{efficiency * 100:.0f}"
        figures[f"cut_cm_at_{name}"] = cut_cm
        figures[f"rejection_at_{name}"] = 1 - passing_share(background, cut_cm)
    cut_cm = figures["cut_cm_at_eff96"]
    for name, far in (
        ("feed_down", z_cm[z_reco_cm > FEED_Z_CM]),
        ("feed_up", z_cm[z_reco_cm < -FEED_Z_CM]),
    ):
        if len(far):
            figures[f"{name}_at_eff96"] = passing_share(far, cut_cm)
    return figures
