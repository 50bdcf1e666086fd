"""The frozen form of a configuration, with the defaults in code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nnt.filters import Filter, IdentityFilter
from nnt.networks import DEFAULT_PRECISION, OUTPUTS, Form
from nnt.objective import Objective, objective_of

if TYPE_CHECKING:
    from nnt.sampling import Distribution
    from nnt.simulation import Simulation

__all__ = ["SPLITS", "Config", "DataConfig", "LRSchedule", "Quantization"]

SPLITS = ("train", "val", "test")

LARGEST_WEIGHT = 63.0
"""BASF2 clips weights to it, so that a word of 7 bits before the point holds them."""


@dataclass(frozen=True)
class LRSchedule:
    """How the learning rate changes: `cosine`, `step` or `plateau`.

    `final` is the last learning rate of `cosine`; `every` the epochs between
    the steps of `step`; `patience` the epochs without gain before `plateau`
    multiplies by `factor`.
    """

    name: str
    final: float = 0.0
    every: int = 100
    patience: int = 10
    factor: float = 0.5


@dataclass(frozen=True)
class Quantization:
    """The firmware's arithmetic to train through: fractional bits and range."""

    phi: int = DEFAULT_PRECISION[0]
    factor: int = DEFAULT_PRECISION[1]
    reference_id: int = DEFAULT_PRECISION[2]
    nodes: int = DEFAULT_PRECISION[3]
    weights: int = DEFAULT_PRECISION[4]
    table: int = DEFAULT_PRECISION[5]
    largest_weight: float = LARGEST_WEIGHT

    @property
    def precision(self) -> tuple[int, ...]:
        """The bits in the order of `nnt.fixedpoint.DEFAULT_PRECISION`."""
        return (
            self.phi, self.factor, self.reference_id,
            self.nodes, self.weights, self.table,
        )  # fmt: skip


@dataclass(frozen=True)
class DataConfig:
    """Where the tracks come from: files, files to split, or the simulation."""

    files: tuple[str, ...] | Mapping[str, tuple[str, ...]] | None = None
    split: tuple[float, float, float] | None = None
    simulate: Simulation | None = None


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a training is told; made by `load_config`."""

    name: str = "custom"
    version: str = "0.2"
    description: str = ""
    category: str = ""
    learning_rate: float = 1e-3
    batch_size: int = 2048
    weight_decay: float = 1e-6
    in_size: int = 27
    out_size: int = 2
    workers: int | None = None
    epochs: int = 10
    model: str = "BaselineModel"
    loss: str = "MSELoss"
    optim: str = "Adam"
    act: str = "relu"
    experts: tuple[int, ...] = (0, 1, 2, 3, 4)
    compare_to: str | None = None
    load_pre_trained_weights: str | None = None
    filter: Filter = field(default_factory=IdentityFilter)
    dist: Distribution | None = None
    seed: int = 1
    data: DataConfig = field(default_factory=DataConfig)
    early_stopping_patience: int | None = 30
    gradient_clip: float | None = None
    lr_schedule: LRSchedule | None = None
    restarts: int = 1
    plot_every: int = 50
    engine: str = "auto"
    class_loss: str = "CrossEntropyLoss"
    class_weight: float = 1.0
    average: float | None = None
    quantize: Quantization | None = None
    extends: str | None = field(default=None, compare=False)
    expert_overrides: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    overridden: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Dotted keys that were given beside the file, with their values."""

    @cached_property
    def form(self) -> Form:
        """The network that is trained."""
        return Form(
            inputs=self.in_size,
            outputs=OUTPUTS[: self.out_size],
            activation=self.act,
            model=self.model,
        )

    @cached_property
    def objective(self) -> Objective:
        """What the training minimises."""
        return objective_of(
            self.form.outputs, self.act, self.loss, self.class_loss, self.class_weight
        )

    def for_expert(self, expert: int) -> Config:
        """Give the configuration of one expert, its overrides merged."""
        if expert not in self._of_experts:
            from nnt.config.build import config_of_expert

            self._of_experts[expert] = config_of_expert(self, expert)
        return self._of_experts[expert]

    @cached_property
    def _of_experts(self) -> dict[int, Config]:
        """Those that were asked for; a training asks dozens of times."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that load back to an equal configuration."""
        from nnt.config.plain import plain

        return plain(self)

    def to_yaml(self) -> str:
        """Give the resolved configuration as YAML."""
        from nnt.config.plain import as_yaml

        return as_yaml(self.to_dict())

    def flat(self) -> dict[str, str | int | float]:
        """Give every value under its dotted key; lists as YAML text."""
        from nnt.config.plain import flatten

        return flatten(self.to_dict())
