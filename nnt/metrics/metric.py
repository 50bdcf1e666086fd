"""Every metric of a network: one record for each, which all others go through.

Values, their errors, comparisons and pages take from here what there is, which way is
better and how it is called; to add a metric is to add a record (`add_metric`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import numpy as np

from nnt.metrics.decisions import (
    CUT_CM,
    EFFICIENCIES,
    FEED_EFFICIENCY,
    Sample,
    area_of_sorted,
    binomial_error,
    warn_of,
)
from nnt.metrics.prediction import Predictions
from nnt.metrics.residuals import half_width_68, std, trimmed_std
from nnt.types import FloatArray

Better = Literal["higher", "lower", "neither"]
Value = Callable[[Sample], float | None]
BY = {"": "", "_by_class": " by class"}
"""Suffix of the metrics of a decision -> end of their headings."""
DIRECTIONS: dict[str, int] = {"higher": 1, "lower": -1, "neither": 0}


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that says how good a network is on some rows."""

    name: str
    """As it is logged, without the split."""
    unit: str
    """``cm``, ``deg`` or empty."""
    better: Better
    """Which way is good."""
    value: Value
    """The number, of a sample; None where the rows do not allow it."""
    error: Value | Literal["events", "none"]
    """Where its standard error comes from: ``events`` that are drawn anew, a function
    of the sample, or ``none``."""
    share_of: str = ""
    """Quantity whose rows it is a share of: shares of 0 and 1, which no draw changes,
    have binomial errors."""
    heading: str = ""
    """Of its column in comparisons; empty: only in the list of all metrics."""

    def __post_init__(self) -> None:
        if self.better not in DIRECTIONS:
            expected = ", ".join(DIRECTIONS)
            raise ValueError(
                f"metric {self.name}: expected better to be one of {expected}, "
                f"got {self.better!r}"
            )
        if not callable(self.error) and self.error not in ("events", "none"):
            raise ValueError(
                f"metric {self.name}: expected error to be 'events', 'none' or a "
                f"function of a sample, got {self.error!r}"
            )

    @property
    def direction(self) -> int:
        """1 where higher is better, -1 where lower is, 0 where neither."""
        return DIRECTIONS[self.better]

    def compute(self, function: Value, sample: Sample) -> float | None:
        """Call its value or its error; what fails is left out, with a warning."""
        try:
            return function(sample)
        except Exception as err:  # noqa: BLE001 (a metric of a user)
            warn_of("metric", self.name, f"{type(err).__name__}: {err}")
            return None


METRICS: dict[str, Metric] = {}
"""By name, in the order in which they are listed."""

MODEL_METRICS = (
    "loss",
    "z_trimmed_std_cm",
    "rejection_at_eff96",
    "rejection_at_eff98",
    "rejection_at_eff96_by_class",
    "rejection_at_eff98_by_class",
)
"""Metrics that the model of a run has in MLflow, whose pages ask for all of them."""


def add_metric(metric: Metric) -> Metric:
    """Add a metric to those of every training, evaluation and comparison.

    Raises
    ------
    ValueError
        There is one of that name.
    """
    if metric.name in METRICS:
        raise ValueError(f"metric {metric.name}: a metric of this name exists already")
    METRICS[metric.name] = metric
    return metric


@np.errstate(all="ignore")
def compute_metrics(sample: Sample) -> dict[str, float]:
    """Compute all metrics that the rows allow."""
    if not sample.n_tracks:
        return {}
    found = {name: m.compute(m.value, sample) for name, m in METRICS.items()}
    return {name: value for name, value in found.items() if value is not None}


def network_metrics(
    predicted: Predictions, losses: Mapping[str, FloatArray] | None = None
) -> dict[str, float]:
    """Compute all metrics of a network on some rows; none without rows.

    Parameters
    ----------
    predicted : Predictions
        N rows.
    losses : mapping of str to float array, shape (N,), optional
        ``loss``: that of each row.
    """
    return compute_metrics(Sample.of(predicted, losses))


def main_metrics() -> dict[str, str]:
    """Name -> heading of the metrics that comparisons show first."""
    return {m.name: m.heading for m in METRICS.values() if m.heading}


def _of(
    quantity: str, function: Callable[[FloatArray], float], sample: Sample
) -> float | None:
    values = sample.get(quantity)
    return None if values is None else function(values)


def _mean(values: FloatArray) -> float:
    return float(np.mean(values, dtype=np.float64))


def _core(quantity: str, attribute: str, sample: Sample) -> float | None:
    core = sample.core(quantity)
    if core is None:
        return None
    if attribute == "share_error":
        return float(binomial_error(core.share, sample.size(quantity)))
    return float(getattr(core, attribute))


def _area(signal: str, background: str, sample: Sample) -> float | None:
    near, far = sample.get(signal), sample.get(background)
    return None if near is None or far is None else area_of_sorted(near, far)


def _cut(needs: str, signal: str, efficiency: float, sample: Sample) -> float | None:
    """Smallest cut that keeps a share of the signal, where there are rows to cut on."""
    return None if sample.get(needs) is None else sample.cut(signal, efficiency)


def _negative(value: Value, sample: Sample) -> float | None:
    """A class is kept above a cut on its output, which is minus a distance."""
    found = value(sample)
    return None if found is None else -found


def _passing(quantity: str, cut: Value, sample: Sample) -> float | None:
    values, at = sample.get(quantity), cut(sample)
    if values is None or at is None:
        return None
    return int(np.searchsorted(values, at, side="left")) / len(values)


def _rejected(quantity: str, cut: Value, sample: Sample) -> float | None:
    passing = _passing(quantity, cut, sample)
    return None if passing is None else 1 - passing


def _asymmetry(suffix: str, cut: Value, sample: Sample) -> float | None:
    """Efficiency of positive minus that of negative tracks."""
    positive = _passing(f"positive{suffix}", cut, sample)
    negative = _passing(f"negative{suffix}", cut, sample)
    return None if positive is None or negative is None else positive - negative


def _residual_metrics(name: str, unit: str) -> Iterable[Metric]:
    widths = {"std": std, "trimmed_std": trimmed_std, "half_width_68": half_width_68}
    for figure, function in {"mean": _mean, **widths}.items():
        better: Better = "lower" if figure in widths else "neither"
        value, full = partial(_of, name, function), f"{name}_{figure}_{unit}"
        heading = f"{name} trimmed std ({unit})" if figure == "trimmed_std" else ""
        yield Metric(full, unit, better, value, "events", heading=heading)
    for part, its in (("mean", unit), ("std", unit), ("share", "")):
        better = "lower" if part == "std" else "neither"
        value, error = (partial(_core, name, p) for p in (part, f"{part}_error"))
        full = f"{name}_core_{part}_{its}".rstrip("_")
        yield Metric(full, its, better, value, error)


def _trigger_metrics(prefix: str) -> Iterable[Metric]:
    """Efficiency and rejection with a cut on z, and where they end up."""
    for name, kind, share in (
        ("efficiency", f"{prefix}signal", _passing),
        ("rejection", f"{prefix}background", _rejected),
    ):
        value = partial(share, kind, lambda _: CUT_CM)
        heading = "" if prefix else f"{name}, |z| < {CUT_CM:g} cm"
        full = f"{prefix}{name}_at_15cm"
        yield Metric(full, "", "higher", value, "events", kind, heading)
    yield from _curve_metrics(prefix, "")


def _curve_metrics(prefix: str, suffix: str) -> Iterable[Metric]:
    """Area and working points of a decision, by z or by a class."""
    signal, background = f"{prefix}signal{suffix}", f"{prefix}background{suffix}"
    heading = "" if prefix else f"ROC area{BY[suffix]}"
    name, area = f"{prefix}roc_area{suffix}", partial(_area, signal, background)
    yield Metric(name, "", "higher", area, "events", heading=heading)
    for efficiency in EFFICIENCIES:
        cut: Value = partial(_cut, background, signal, efficiency)
        end = f"_at_eff{100 * efficiency:.0f}{suffix}"
        if suffix:
            cut = partial(_negative, cut)
            yield Metric(f"{prefix}cut{end}", "", "neither", cut, "events")
        else:
            yield Metric(f"{prefix}cut_cm{end}", "cm", "neither", cut, "events")
        yield _rejection(prefix, suffix, "background", efficiency)


def _rejection(prefix: str, suffix: str, kind: str, efficiency: float) -> Metric:
    """Share of a kind of tracks that a decision rejects at an efficiency for signal."""
    percent, quantity = f"{100 * efficiency:.0f}", f"{prefix}{kind}{suffix}"
    signal = f"{prefix}signal{suffix}"
    value = partial(_rejected, quantity, partial(_cut, signal, signal, efficiency))
    named, of = {
        "background": ("", f"rejection at {percent} % efficiency"),
        "fake": ("fake_", f"rejection of fakes at {percent} %"),
        "unwanted": ("unwanted_", f"rejection of background and fakes at {percent} %"),
    }[kind]
    is_main = not prefix and efficiency == FEED_EFFICIENCY
    heading = f"{of}{BY[suffix]}" if is_main else ""
    name = f"{prefix}{named}rejection_at_eff{percent}{suffix}"
    return Metric(name, "", "higher", value, "events", quantity, heading)


def _feed_metrics() -> Iterable[Metric]:
    cut = partial(_cut, "background", "signal", FEED_EFFICIENCY)
    for name, quantity in (("feed_down", "far_down"), ("feed_up", "far_up")):
        heading = f"{name.replace('_', '-')} at 96 %"
        value = partial(_passing, quantity, cut)
        full = f"{name}_at_eff96"
        yield Metric(full, "", "lower", value, "events", quantity, heading)


def _charge_asymmetry(suffix: str) -> Metric:
    signal = f"signal{suffix}"
    cut = partial(_cut, signal, signal, FEED_EFFICIENCY)
    value = partial(_asymmetry, suffix, cut)
    return Metric(f"charge_asymmetry_at_eff96{suffix}", "", "neither", value, "events")


def _all_metrics() -> Iterable[Metric]:
    yield Metric("n_tracks", "", "neither", lambda s: float(s.n_tracks), "none")
    loss = partial(_of, "loss", _mean)
    yield Metric("loss", "", "lower", loss, "events", heading="loss")
    yield from _residual_metrics("z", "cm")
    yield from _residual_metrics("theta", "deg")
    for prefix in ("", "event_", "stt_"):
        yield from _trigger_metrics(prefix)
    yield from _feed_metrics()
    yield _charge_asymmetry("")
    for prefix in ("", "stt_"):
        yield from _curve_metrics(prefix, "_by_class")
    yield _charge_asymmetry("_by_class")
    # What a decision makes of fake tracks, which a trigger fires on, too.
    kinds = "fake", "unwanted"
    for scope in product(("", "stt_"), BY, kinds, EFFICIENCIES):
        yield _rejection(*scope)


for _metric in _all_metrics():
    add_metric(_metric)
