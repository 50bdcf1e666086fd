"""What a sweep is asked to do, checked before anything begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from nnt.config import Config, load_config
from nnt.errors import ConfigError, did_you_mean
from nnt.metrics import METRICS
from nnt.sweep.space import SEED, Space, load_space

HARDWARE = (
    "hardware/multiplications", "hardware/weight_bits", "hardware/bit_operations",
)  # fmt: skip
OF_EPOCHS = (
    "train/loss", "val/loss", "val/loss_vs_reference", "val/z_std_cm",
    "val/z_std_vs_reference", "val/z_trimmed_std_cm",
)  # fmt: skip
"""Metrics that every epoch has."""
LOSSES = ("loss", "loss_vs_reference")
DIRECTIONS = ("minimize", "maximize")
SAMPLERS = ("tpe", "random", "grid", "qmc", "nsga2")
PRUNERS = ("median", "hyperband", "none")
MAX_GRID = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a sweep is asked to do; the record of the sweep begins with it."""

    config: Config
    space: Space
    trials: int
    metrics: Sequence[str]
    directions: Sequence[str]
    sampler: str
    pruner: str
    seed: int
    description: str = ""

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Settings:
        """Read back what `to_dict` has written."""
        known = {f.name: plain[f.name] for f in fields(cls) if f.name in plain}
        config = load_config(plain["config"])
        space = load_space(plain["space"], config)
        return cls(**known | {"config": config, "space": space})

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        plain = {"config": self.config.to_dict(), "space": self.space.to_dict()}
        return vars(self) | plain

    def checked(self) -> Settings:
        """Choose what was left out, and refuse what no sweep can do.

        Raises
        ------
        ConfigError
            Naming the setting, what was expected and found.
        """
        if self.trials < 1:
            raise ConfigError(f"trials: expected a number >= 1, got {self.trials}")
        _check_metrics(self.metrics)
        for direction in self.directions:
            _check_name("direction", direction, DIRECTIONS)
        _check_name("sampler", self.sampler, SAMPLERS)
        if self.sampler == "grid":
            _check_grid(self.space)
        config = self.config
        if SEED in self.space.dimensions and config.split_seed is None:
            # All trials are judged by the same rows.
            config = load_config(config, {"split_seed": config.seed})
        return replace(
            self,
            config=config,
            directions=_directions(self.metrics, self.directions),
            pruner=_pruner(self.pruner, self.metrics),
        )


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ConfigError(f"{what} {name}: unknown; {did_you_mean(name, known)}")


def _check_metrics(metrics: Sequence[str]) -> None:
    """Refuse what no training can hold; the first one checks each name in full."""
    if not metrics or len(set(metrics)) < len(metrics):
        raise ConfigError(f"metric: expected each name once, got {list(metrics)}")
    for name in metrics:
        first = name.partition("/")[0]
        if first == "hardware":
            _check_name("metric", name, HARDWARE)
        elif first not in ("val", "test") and not first.endswith("_fixed_point"):
            known = [f"{split}/{m}" for split in ("val", "test") for m in METRICS]
            _check_name("metric", name, [*known, *OF_EPOCHS[1:], *HARDWARE])


def _directions(metrics: Sequence[str], given: Sequence[str]) -> list[str]:
    """Say for each metric whether lower or higher is better."""
    if given and len(given) != len(metrics):
        raise ConfigError(
            f"direction: expected one for each of {len(metrics)} metrics, got "
            f"{len(given)}"
        )
    return list(given) or [_direction(name) for name in metrics]


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


def _pruner(pruner: str, metrics: Sequence[str]) -> str:
    """Check the pruner, or choose one if it is empty."""
    has_curve = len(metrics) == 1 and metrics[0] in OF_EPOCHS
    pruner = pruner or ("median" if has_curve else "none")
    _check_name("pruner", pruner, PRUNERS)
    if pruner != "none" and len(metrics) > 1:
        raise ConfigError(
            f"pruner {pruner}: several metrics give no order by which to stop a trial "
            "early; use pruner none"
        )
    if pruner != "none" and not has_curve:
        raise ConfigError(
            f"pruner {pruner}: {metrics[0]} is only known at the end of a training; "
            f"use pruner none, or one of the metrics {', '.join(OF_EPOCHS)}"
        )
    return pruner


def _check_grid(space: Space) -> None:
    ranges = [k for k, d in space.dimensions.items() if d.kind.endswith("uniform")]
    if ranges:
        raise ConfigError(
            f"sampler grid: {', '.join(ranges)}: a grid over a range of real numbers "
            "has no end; list the values with choice"
        )
    n_points = math.prod(
        len(d.choices) or int(d.high) - int(d.low) + 1
        for d in space.dimensions.values()
    )
    if n_points > MAX_GRID:
        raise ConfigError(
            f"sampler grid: {n_points:,} points; expected at most {MAX_GRID:,}"
        )
