"""Metrics that a sweep searches for: their names, directions, and curves."""

from __future__ import annotations

from collections.abc import Sequence

from nnt.errors import ConfigError, did_you_mean
from nnt.metrics import METRICS

HARDWARE = (
    "hardware/multiplications", "hardware/weight_bits", "hardware/bit_operations",
)  # fmt: skip
PREFIXES = ("val", "test", "hardware")
OF_EPOCHS = (
    "train/loss", "val/loss", "val/loss_vs_reference", "val/z_std_cm",
    "val/z_std_vs_reference", "val/z_trimmed_std_cm",
)  # fmt: skip
"""Metrics that every epoch has."""
LOSSES = ("loss", "loss_vs_reference")
DIRECTIONS = ("minimize", "maximize")


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse what no training can hold; each name is checked in full by the first one.

    Raises
    ------
    ConfigError
        There is no metric, one appears twice, or one is of no split.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise ConfigError(f"metric: expected each name once, got {list(metrics)}")
    for name in metrics:
        first = name.partition("/")[0]
        known = [f"{split}/{m}" for split in ("val", "test") for m in METRICS]
        if first == "hardware" and name in HARDWARE:
            continue
        if first not in PREFIXES and not first.endswith("_fixed_point"):
            near = did_you_mean(name, [*known, *OF_EPOCHS[1:], *HARDWARE])
            raise ConfigError(f"metric {name}: unknown; {near}")
        if first == "hardware":
            raise ConfigError(f"metric {name}: unknown; {did_you_mean(name, HARDWARE)}")


def directions_of(metrics: Sequence[str], given: Sequence[str]) -> list[str]:
    """Say for each metric whether lower or higher is better.

    Raises
    ------
    ConfigError
        It is not known for a metric, or not as many are given as there are metrics.
    """
    for direction in given:
        if direction not in DIRECTIONS:
            near = did_you_mean(direction, DIRECTIONS)
            raise ConfigError(f"direction {direction}: unknown; {near}")
    if given:
        if len(given) != len(metrics):
            raise ConfigError(
                f"direction: expected one for each of {len(metrics)} metrics, got "
                f"{len(given)}"
            )
        return list(given)
    return [_direction(name) for name in metrics]


def _direction(name: str) -> str:
    first, _, base = name.partition("/")
    if first == "hardware" or base in LOSSES:
        return "minimize"
    metric = METRICS.get(base)
    if metric is None or not metric.direction:
        raise ConfigError(
            f"metric {name}: whether less or more of it is better is not known; give "
            "a direction, minimize or maximize"
        )
    return "maximize" if metric.direction > 0 else "minimize"


def choose_pruner(pruner: str | None, metrics: Sequence[str]) -> str:
    """Give the pruner, or a default.

    Raises
    ------
    ConfigError
        It needs the metric of every epoch, which there is not.
    """
    has_curve = len(metrics) == 1 and metrics[0] in OF_EPOCHS
    if pruner is None:
        return "median" if has_curve else "none"
    if pruner != "none" and len(metrics) == 1 and not has_curve:
        raise ConfigError(
            f"pruner {pruner}: {metrics[0]} is only known at the end of a training; "
            f"use pruner none, or one of the metrics {', '.join(OF_EPOCHS)}"
        )
    return pruner
