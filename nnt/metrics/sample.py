"""What metrics are functions of: the numbers of one network on some rows, in order."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np

from nnt.metrics.decisions import FEED_Z_CM, Decision, all_decisions, first_cut
from nnt.metrics.prediction import Predictions
from nnt.metrics.residuals import CoreFit, core_fit
from nnt.types import I64, FloatArray

log = logging.getLogger(__name__)

Quantities = dict[str, tuple[FloatArray, I64]]
"""Name -> values of some rows, shape (M,), and the event of each, shape (M,)."""
Quantity = Callable[[Predictions], FloatArray]

ADDED: dict[str, Quantity] = {}
"""Quantities that users added, by name."""


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

    def holds(self, name: str) -> bool:
        """Whether a quantity exists for the network, be it without values."""
        return name in self._values

    def core(self, name: str) -> CoreFit | None:
        """Fit of the core of a quantity, done once."""
        if name not in self._cores:
            values = self.get(name)
            self._cores[name] = None if values is None else core_fit(values)
        return self._cores[name]

    def cut(self, name: str, efficiency: float) -> float | None:
        """Smallest cut that keeps a share of a quantity, found once; None without."""
        place = name, efficiency
        if place not in self._cuts:
            values, last = self.get(name), math.nan
            if values is not None:
                last = values[max(math.ceil(efficiency * len(values)) - 1, 0)]
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
    event = predicted.event
    found: Quantities = {k: (v, event) for k, v in (losses or {}).items()}
    real = slice(None) if predicted.fake is None else predicted.real
    for quantity in ("z", "theta"):
        residual = predicted.residual(quantity)
        if residual is not None:
            found[quantity] = (residual[real], event[real])
    for (prefix, suffix), decision in all_decisions(predicted).items():
        found |= _by_kind(prefix, suffix, decision, predicted.charge)
    if predicted.has_z:
        distance = np.abs(predicted.z_cm)
        for name, far in (
            ("far_down", predicted.real & (predicted.z_reco_cm > FEED_Z_CM)),
            ("far_up", predicted.real & (predicted.z_reco_cm < -FEED_Z_CM)),
        ):
            found[name] = (distance[far], event[far])
    return found | _added(predicted)


def _added(predicted: Predictions) -> Quantities:
    found: Quantities = {}
    for name, function in ADDED.items():
        try:
            values = np.asarray(function(predicted), dtype=np.float64)
        except Exception as err:  # noqa: BLE001 (of a user)
            warn_of("quantity", name, f"{type(err).__name__}: {err}")
            continue
        if values.shape != (len(predicted),):
            why = f"expected shape ({len(predicted)},), got {values.shape}"
            warn_of("quantity", name, why)
            continue
        counts = ~np.isnan(values)
        found[name] = (values[counts], predicted.event[counts])
    return found


def _by_kind(
    prefix: str, suffix: str, decision: Decision, charge: FloatArray | None
) -> Quantities:
    kinds = {"signal": decision.signal, "background": decision.background}
    if decision.fake is not None:
        kinds["fake"] = decision.fake
        kinds["unwanted"] = decision.fake | decision.background
    if not prefix and charge is not None:
        kinds["positive"] = decision.signal & (charge == 1)
        kinds["negative"] = decision.signal & (charge == -1)
    return {
        f"{prefix}{kind}{suffix}": (decision.distance_cm[rows], decision.event[rows])
        for kind, rows in kinds.items()
    }


def sample_sizes(sample: Sample) -> dict[str, int]:
    """How many tracks and events the shares are of."""
    sizes = {
        f"{prefix}n_{kind}": sample.size(f"{prefix}{kind}")
        for prefix in ("", "event_", "stt_")
        for kind in ("signal", "background", "fake")
        if sample.holds(f"{prefix}{kind}")
    }
    far = {"n_feed_down": "far_down", "n_feed_up": "far_up"}
    return sizes | {name: sample.size(quantity) for name, quantity in far.items()}
