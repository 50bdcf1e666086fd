"""What a trigger decides on, and all that metrics are functions of.

Decisions on single tracks, whole events and tracks with momentum come down to a
distance that has to be below the cut d: |z|, or minus the output of a class.
Efficiency, rejection and working points are then the same for each. A track *from the
collision point* has |z_reco| < 1 cm, a *background* track |z_reco| > 20 cm. A `Sample`
holds these distances, residuals and losses in ascending order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import STT_MOMENTUM_GEV
from nnt.metrics.prediction import Predictions, momentum_gev
from nnt.metrics.residuals import CoreFit, core_fit
from nnt.types import I64, BoolArray, FloatArray

log = logging.getLogger(__name__)

Quantities = dict[str, tuple[FloatArray, I64]]
"""Name -> values of some rows, shape (M,), and the event of each, shape (M,)."""
Quantity = Callable[[Predictions], FloatArray]

ADDED: dict[str, Quantity] = {}
"""Quantities that users added, by name."""

SIGNAL_Z_CM = 1.0
BACKGROUND_Z_CM = 20.0
CUT_CM = 15.0
FEED_Z_CM = 30.0
EFFICIENCIES = (0.95, 0.96, 0.98)
FEED_EFFICIENCY = 0.96
"""Working point at which feed-down, feed-up and asymmetries are looked at."""
FAR_Z_CM = np.arange(15.0, 81.0, 5.0)
"""Distances from which tracks are counted as fed down or up."""


def binomial_error(share: npt.ArrayLike, n_tracks: npt.ArrayLike) -> FloatArray:
    """Standard error of a share of tracks, greater than 0 at shares 0 and 1 too.

    Notes
    -----
    Standard deviation of the posterior from a flat prior: T. Ullrich and Z. Xu,
    "Treatment of errors in efficiency calculations", physics/0701199.
    """
    n = np.asarray(n_tracks, dtype=np.float64)
    inner = (np.asarray(share, dtype=np.float64) * n + 1) / (n + 2)
    error: FloatArray = np.sqrt(inner * (1 - inner) / (n + 3))
    return error


def rank_at_efficiency(n_tracks: int, efficiency: npt.ArrayLike) -> Any:
    """Place, from 0, of the last of n ordered tracks that an efficiency keeps."""
    needed = np.ceil(np.asarray(efficiency) * n_tracks).astype(np.int64)
    return np.maximum(needed - 1, 0)


def first_cut(last_kept: npt.ArrayLike) -> FloatArray:
    """Smallest cut that keeps a track; the cut is strict, so it lies just above."""
    cut: FloatArray = np.nextafter(last_kept, np.float32(np.inf))
    return cut


def area_of_sorted(signal: FloatArray, background: FloatArray) -> float:
    """Probability that background is further out than signal; ties count half.

    Both are in ascending order, and not empty.
    """
    # Both in order: to look one up in the other is a walk.
    below = np.searchsorted(signal, background, side="left").mean()
    upto = np.searchsorted(signal, background, side="right").mean()
    return float(below + upto) / 2 / len(signal)


@np.errstate(all="ignore")
def cut_at_efficiency_cm(z_signal_cm: FloatArray, efficiency: float) -> float:
    """Smallest cut that keeps this share of the tracks given."""
    size = np.abs(z_signal_cm)
    index = rank_at_efficiency(len(size), efficiency)
    return float(first_cut(np.partition(size, index)[index]))


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What is to be kept and thrown away, and how far out the trigger sees it."""

    distance_cm: FloatArray
    """Shape (M,): kept where below the cut; infinite for what no cut keeps. Of a class,
    minus its output."""
    signal: BoolArray
    """Shape (M,): from the collision point."""
    background: BoolArray
    """Shape (M,)."""
    event: I64
    """Shape (M,): dense number of the event."""
    fake: BoolArray | None = None
    """Shape (M,): fake tracks, which are neither; None without any."""

    def kinds(self, charge: FloatArray | None = None) -> dict[str, BoolArray]:
        """Rows by what they are, with a charge of each also the signal of either."""
        found = {"signal": self.signal, "background": self.background}
        if self.fake is not None:
            found |= {"fake": self.fake, "unwanted": self.fake | self.background}
        if charge is not None:
            found["positive"] = self.signal & (charge == 1)
            found["negative"] = self.signal & (charge == -1)
        return found


def all_decisions(predicted: Predictions) -> dict[tuple[str, str], Decision]:
    """All decisions that the outputs and the rows allow.

    The single-track trigger takes the momentum from the transverse momentum of its
    track and theta of the network. Its signal are tracks from the collision point that
    have it with theta of the reconstruction; background is all background, of any
    momentum. So the efficiency may end below 1, where theta of the network is wrong.
    Tracks whose momentum is not known (NaN) are neither.

    Returns
    -------
    dict
        By prefix (``""`` for tracks, ``"event_"``, ``"stt_"`` for the single-track
        trigger) and suffix (``""`` for cuts on |z|, ``"_by_class"``) of their metrics.
    """
    found: dict[tuple[str, str], Decision] = {}
    theta_deg, pt_gev = predicted.theta_deg, predicted.pt_gev
    if predicted.has_z:
        distance_cm = np.abs(predicted.z_cm)
        found["", ""] = _of_tracks(predicted, distance_cm)
        found["event_", ""] = _of_events(predicted, distance_cm)
        if theta_deg is not None and pt_gev is not None:
            fast = momentum_gev(pt_gev, theta_deg) > STT_MOMENTUM_GEV
            of_fast = np.where(fast, distance_cm, distance_cm.dtype.type(np.inf))
            found["stt_", ""] = _of_tracks(predicted, of_fast, fast=True)
    if predicted.nnt is not None:
        found["", "_by_class"] = _of_tracks(predicted, -predicted.nnt)
    if predicted.stt is not None:
        found["stt_", "_by_class"] = _of_tracks(predicted, -predicted.stt, fast=True)
    return found


def _of_tracks(
    predicted: Predictions, distance_cm: FloatArray, *, fast: bool = False
) -> Decision:
    """Keep or drop each track; of signal, a momentum may be required."""
    signal, background = _kinds(predicted)
    if fast and predicted.pt_gev is not None:
        momentum = momentum_gev(predicted.pt_gev, predicted.theta_reco_deg)
        signal &= momentum > STT_MOMENTUM_GEV
        background &= ~np.isnan(predicted.pt_gev)
    return Decision(distance_cm, signal, background, predicted.event, predicted.fake)


def _kinds(predicted: Predictions) -> tuple[BoolArray, BoolArray]:
    """Real tracks from the collision point, and those of background."""
    size, real = np.abs(predicted.z_reco_cm), predicted.real
    return real & (size < SIGNAL_Z_CM), real & (size > BACKGROUND_Z_CM)


def _of_events(predicted: Predictions, distance_cm: FloatArray) -> Decision:
    """Keep an event if at least one of its tracks passes.

    An event is signal if at least one of its tracks comes from the collision
    point, and background if all of them are background or fakes; others
    count as neither.
    """
    # Events as they come; those without a row here are dropped again.
    n_events = int(predicted.event.max(initial=-1)) + 1
    signal_track, background_track = _kinds(predicted)
    unwanted = background_track | ~predicted.real
    nearest = np.full(n_events, np.inf, dtype=distance_cm.dtype)
    # No cut keeps NaN, nor does it hide the other tracks of its event.
    np.fmin.at(nearest, predicted.event, distance_cm)
    present, signal, background = np.zeros((3, n_events), dtype=np.bool_)
    present[predicted.event] = True
    signal[predicted.event[signal_track]] = True
    background[:] = present
    background[predicted.event[~unwanted]] = False
    kinds = signal[present], background[present]
    return Decision(nearest[present], *kinds, np.flatnonzero(present))


@cache
def warn_of(kind: str, name: str, why: str) -> None:
    """Say once what is missing, and why: nothing else of a training is lost for it."""
    log.warning("%s %s cannot be computed and is left out: %s", kind, name, why)


def add_quantity(name: str, values: Quantity) -> None:
    """Add a quantity that metrics can be functions of (`Sample.get`).

    Parameters
    ----------
    name : str
        For `Sample.get`.
    values : callable
        Predictions of N rows -> float array, shape (N,); NaN in rows that do not count.

    Raises
    ------
    ValueError
        There is one of that name.
    """
    if name in ADDED:
        raise ValueError(f"quantity {name}: a quantity of this name exists already")
    ADDED[name] = values


class Sample:
    """Values of one network on some rows, each quantity in ascending order.

    Parameters
    ----------
    n_tracks : int
        Rows.
    values : mapping of str to float array
        By the names that `quantities` gives, each in ascending order.
    """

    def __init__(self, n_tracks: int, values: Mapping[str, FloatArray]) -> None:
        self.n_tracks = n_tracks
        self._values = values
        self._cores: dict[str, CoreFit | None] = {}
        self._cuts: dict[tuple[str, float], float | None] = {}

    @classmethod
    def of(
        cls, predicted: Predictions, losses: Mapping[str, FloatArray] | None = None
    ) -> Sample:
        """Sort the predictions of a network for some rows."""
        found = quantities(predicted, losses)
        return cls(len(predicted), {k: np.sort(v) for k, (v, _) in found.items()})

    def get(self, name: str) -> FloatArray | None:
        """Values of a quantity in ascending order; None where there are none."""
        values = self._values.get(name)
        return None if values is None or not len(values) else values

    def size(self, name: str) -> int:
        """Number of values of a quantity."""
        return len(self._values.get(name, ()))

    def sizes(self) -> dict[str, int]:
        """How many tracks and events the shares are of."""
        found = {
            f"{prefix}n_{kind}": self.size(f"{prefix}{kind}")
            for prefix in ("", "event_", "stt_")
            for kind in ("signal", "background", "fake")
            if f"{prefix}{kind}" in self._values
        }
        far = {"n_feed_down": "far_down", "n_feed_up": "far_up"}
        return found | {k: self.size(name) for k, name in far.items()}

    def core(self, name: str) -> CoreFit | None:
        """Fit of the core of a quantity, done once."""
        if name not in self._cores:
            values = self.get(name)
            self._cores[name] = None if values is None else core_fit(values)
        return self._cores[name]

    def cut(self, name: str, efficiency: float) -> float | None:
        """Smallest cut that keeps a share of a quantity, found once; None without."""
        place, values = (name, efficiency), self.get(name)
        if values is None:
            return None
        if place not in self._cuts:
            last = values[rank_at_efficiency(len(values), efficiency)]
            self._cuts[place] = float(first_cut(last)) if np.isfinite(last) else None
        return self._cuts[place]


@np.errstate(all="ignore")
def quantities(
    predicted: Predictions, losses: Mapping[str, FloatArray] | None = None
) -> Quantities:
    """Take apart the predictions of a network for some rows.

    Parameters
    ----------
    predicted : Predictions
        N rows.
    losses : mapping of str to float array, shape (N,), optional
        Losses of the rows.

    Returns
    -------
    dict
        ``z`` (cm) and ``theta`` (deg): residuals of real tracks. For each decision,
        with its prefix and suffix as metrics have them: ``signal``, ``background``,
        where there are any ``fake`` and ``unwanted`` (both of them), and, of tracks
        alone, ``positive`` and ``negative`` (signal by charge): how far out the
        trigger sees them. ``far_down``, ``far_up``: the same of far tracks at
        positive and at negative z.
    """
    event, charge = predicted.event, predicted.charge
    found: Quantities = {k: (v, event) for k, v in (losses or {}).items()}
    real = slice(None) if predicted.fake is None else predicted.real
    for quantity in ("z", "theta"):
        residual = predicted.residual(quantity)
        if residual is not None:
            found[quantity] = residual[real], event[real]
    for (prefix, suffix), decision in all_decisions(predicted).items():
        kinds = decision.kinds(None if prefix else charge)
        for kind, rows in kinds.items():
            own = decision.distance_cm[rows], decision.event[rows]
            found[f"{prefix}{kind}{suffix}"] = own
    if predicted.has_z:
        distance, z_cm = np.abs(predicted.z_cm), predicted.z_reco_cm
        for name, is_far in (
            ("far_down", z_cm > FEED_Z_CM),
            ("far_up", z_cm < -FEED_Z_CM),
        ):
            far = predicted.real & is_far
            found[name] = distance[far], event[far]
    return found | _added(predicted)


def _added(predicted: Predictions) -> Quantities:
    found: Quantities = {}
    for name, function in ADDED.items():
        try:
            values, why = np.asarray(function(predicted), dtype=np.float64), ""
            if values.shape != (len(predicted),):
                why = f"expected shape ({len(predicted)},), got {values.shape}"
        except Exception as err:  # noqa: BLE001 (of a user)
            why = f"{type(err).__name__}: {err}"
        if why:
            warn_of("quantity", name, why)
            continue
        counts = ~np.isnan(values)
        found[name] = values[counts], predicted.event[counts]
    return found
