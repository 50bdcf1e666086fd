"""The structured keys: data, filter, dist, classes, lr_schedule, quantize."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self, get_args, get_type_hints

import numpy as np
from pydantic import BaseModel, PlainValidator, create_model, model_validator

from nnt.config.values import (
    Count,
    Index,
    NotNegative,
    Number,
    Part,
    Positive,
    check_one_of,
    in_words,
    mistake,
    mistakes_at,
    one_of,
    some_of,
    unexpected,
)
from nnt.config.yaml_text import ABSENT_WORDS, shown
from nnt.errors import ConfigError, DataError, did_you_mean
from nnt.files import expand_path
from nnt.filters import Filter, IdentityFilter, from_config
from nnt.networks import DEFAULT_PRECISION, check_precision
from nnt.simulation import Simulation
from nnt.types import F64

SPLITS = ("train", "val", "test")
DEFAULT_SPLIT = (0.6, 0.2, 0.2)

MAX_BUCKETS = 100_000
MAX_TRACKS = 10**9
"""About a terabyte of text."""
MAX_Z = 2
"""Of a distribution; z is scaled to [-1, 1]."""
MAX_TRAINED_BITS = 20
"""Outputs are float32 while a network is trained."""
WORD_END = 64
"""Weights of the firmware are below it."""
LARGEST_WEIGHT = 63.0
"""BASF2 clips weights to it, so that a word of 7 bits before the point holds them."""
HOUGH3D_LARGEST_WEIGHT = 4.0
"""The same in the 3D Hough chain: weights up to it keep 15 fractional bits."""


def _files(value: object) -> tuple[str, ...]:
    paths: Any = (value,) if isinstance(value, str | Path) else value
    are_paths = isinstance(paths, list | tuple) and all(
        isinstance(item, str | Path) and str(item) for item in paths
    )
    if not paths or not are_paths:
        raise mistake(f"expected a list of files, got {shown(value)}")
    return tuple(map(expand_path, paths))


Files = Annotated[tuple[str, ...], PlainValidator(_files)]


class FilesOfSplits(Part):
    """Files for each split."""

    train: Files
    val: Files
    test: Files


def _files_or_splits(value: object) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
    if isinstance(value, Mapping):
        return dict(FilesOfSplits.model_validate(value))
    return _files(value)


def _split(value: object) -> tuple[float, ...]:
    numbers = value if isinstance(value, list | tuple) else ()
    are_shares = all(type(item) in (int, float) and 0 < item < 1 for item in numbers)
    if len(numbers) != len(SPLITS) or not are_shares or abs(sum(numbers) - 1) >= 1e-6:
        words = "expected three fractions above 0 that add up to 1"
        raise mistake(f"{words}, got {shown(value)}")
    return tuple(map(float, numbers))


@cache
def simulation_model() -> type[BaseModel]:
    """Model of the keys of `Simulation`, made when a configuration simulates."""
    hints = get_type_hints(Simulation)
    fields: dict[str, Any] = {
        part.name: (_kind(hints[part.name]), part.default)
        for part in dataclasses.fields(Simulation)
    }
    fields["tracks"] = (Annotated[int, Number(ge=1, le=MAX_TRACKS)], 100_000)
    return create_model("SimulationKeys", __base__=Part, **fields)


def _kind(hint: Any) -> Any:
    if sizes := get_args(hint):
        n = "" if ... in sizes else f"{len(sizes)} "
        return Annotated[hint, in_words(f"a list of {n}numbers")]
    return {int: Index, float: Annotated[float, Number()]}[hint]


def _simulation(value: object) -> Simulation:
    if isinstance(value, Simulation):
        return value
    keys = simulation_model().model_validate(value)
    given = {name: getattr(keys, name) for name in keys.model_fields_set}
    try:
        return Simulation(**given)
    except (ConfigError, DataError) as err:
        raise mistake(str(err)) from err


class DataConfig(Part):
    """Where the tracks come from: files, files to split, or the simulation."""

    files: (
        Annotated[
            tuple[str, ...] | Mapping[str, tuple[str, ...]],
            PlainValidator(_files_or_splits),
        ]
        | None
    ) = None
    split: Annotated[tuple[float, float, float], PlainValidator(_split)] | None = None
    simulate: Annotated[Simulation, PlainValidator(_simulation)] | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        check_one_of(self, "files", "simulate")
        if isinstance(self.files, Mapping) and self.split is not None:
            raise mistakes_at({"split": "not allowed where files are given per split"})
        if isinstance(self.files, tuple) and self.split is None:
            raise mistakes_at({"split": "is missing, for example [0.6, 0.2, 0.2]"})
        if self.simulate is not None and self.split is None:
            object.__setattr__(self, "split", DEFAULT_SPLIT)
        return self


DEFAULT_DATA = DataConfig(simulate=Simulation(), split=DEFAULT_SPLIT)


def _filter(value: object) -> Filter:
    if isinstance(value, str) and value in ABSENT_WORDS:
        raise unexpected("a filter or null")
    try:
        return IdentityFilter() if value is None else from_config(value)
    except ConfigError as err:
        raise mistake(str(err).removeprefix("filter: ")) from err


AnyFilter = Annotated[Filter, PlainValidator(_filter)]

SCALED = "; z is scaled here: 1 is 100 cm, so write 0.4 for 40 cm"
"""What to do about a number that is out of its bounds."""
Z = Annotated[float, Number(ge=-MAX_Z, le=MAX_Z, hint=SCALED)]


class Normal(Part):
    """A normal distribution of scaled z."""

    mean: Z
    std: Annotated[float, Number(gt=0, le=MAX_Z, hint=SCALED)]

    def cdf(self, x: F64) -> F64:
        """Probability below x."""
        # Imported here: most trainings need no scipy.
        from scipy.special import ndtr

        below: F64 = ndtr((x - self.mean) / self.std)
        return below


class Uniform(Part):
    """A uniform distribution of scaled z."""

    lower: Z
    upper: Z

    @model_validator(mode="after")
    def _has_a_width(self) -> Self:
        if self.lower >= self.upper:
            raise mistake(f"expected lower < upper, got {self.lower} and {self.upper}")
        return self

    def cdf(self, x: F64) -> F64:
        """Probability below x."""
        return np.clip((x - self.lower) / (self.upper - self.lower), 0.0, 1.0)


class Distribution(Part):
    """The distribution of z that bucket reweighting aims at."""

    n_buckets: Annotated[int, Number(ge=1, le=MAX_BUCKETS)]
    inf_bounds: Annotated[bool, in_words("true or false")] = False
    norm: Normal | None = None
    uniform: Uniform | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        check_one_of(self, "norm", "uniform")
        if not self._shares().sum() > 0:
            raise mistake("expected some probability in [-1, 1], found none")
        return self

    @np.errstate(over="ignore")
    def _shares(self) -> F64:
        edges = np.linspace(-1.0, 1.0, self.n_buckets + 1)
        if self.inf_bounds:
            edges[0], edges[-1] = -np.inf, np.inf
        law = self.norm or self.uniform
        return np.zeros(0) if law is None else np.diff(law.cdf(edges))

    @property
    def probabilities(self) -> F64:
        """Probability of each bucket, shape (n_buckets,); the sum is one."""
        shares = self._shares()
        shares /= shares.sum()
        return shares


class Classes(Part):
    """What signal and background are, for the outputs nnt and stt."""

    signal_cm: Positive = 1.0
    background_cm: Positive = 1.0
    balance: Annotated[
        tuple[str, ...], some_of("quantity", ("charge", "pt", "theta"), in_order=False)
    ] = ("charge",)

    @model_validator(mode="after")
    def _do_not_overlap(self) -> Self:
        if self.background_cm < self.signal_cm:
            words = (
                f"expected at least signal_cm ({self.signal_cm:g}), got "
                f"{self.background_cm:g}"
            )
            raise mistakes_at({"background_cm": words})
        return self


SCHEDULES = {
    "cosine": ("final",),
    "step": ("every", "factor"),
    "plateau": ("patience", "factor"),
}
"""Name of a schedule -> its parameters."""


class LRSchedule(Part):
    """How the learning rate changes: `cosine`, `step` or `plateau`.

    `final` is the last learning rate of `cosine`; `every` the epochs between
    the steps of `step`; `patience` the epochs without gain before `plateau`
    multiplies by `factor`.
    """

    name: Annotated[str, one_of("schedule", SCHEDULES)]
    final: NotNegative = 0.0
    every: Count = 100
    patience: Count = 10
    factor: Positive = 0.5

    @model_validator(mode="after")
    def _has_its_own_parameters(self) -> Self:
        known = ("name", *SCHEDULES[self.name])
        foreign = self.model_fields_set.difference(known)
        if foreign:
            raise mistakes_at(
                {
                    key: f"unknown key of {self.name}; {did_you_mean(key, known)}"
                    for key in sorted(foreign)
                }
            )
        return self


Bits = Annotated[int, Number(ge=0, le=MAX_TRAINED_BITS)]


class Quantization(Part):
    """The firmware's arithmetic to train through: fractional bits and range."""

    phi: Bits = DEFAULT_PRECISION[0]
    factor: Bits = DEFAULT_PRECISION[1]
    reference_id: Bits = DEFAULT_PRECISION[2]
    nodes: Bits = DEFAULT_PRECISION[3]
    weights: Bits = DEFAULT_PRECISION[4]
    table: Bits = DEFAULT_PRECISION[5]
    largest_weight: Annotated[float, Number(gt=0, lt=WORD_END)] = LARGEST_WEIGHT

    @property
    def precision(self) -> tuple[int, ...]:
        """The bits in the order of `nnt.fixedpoint.DEFAULT_PRECISION`."""
        return (
            self.phi, self.factor, self.reference_id,
            self.nodes, self.weights, self.table,
        )  # fmt: skip

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            check_precision(self.precision)
        except DataError as err:
            raise mistake(str(err)) from err
        return self


def plain_value(value: Any) -> Any:
    """Give one value in a form that loads back to it."""
    if isinstance(value, Filter):
        return str(value)
    if isinstance(value, LRSchedule):
        keys = ("name", *SCHEDULES[value.name])
        return {key: getattr(value, key) for key in keys}
    names: Iterable[str] = ()
    if isinstance(value, BaseModel):
        names = type(value).model_fields
    elif dataclasses.is_dataclass(value):
        names = [part.name for part in dataclasses.fields(value)]
    if names:  # what is absent is left out
        plain = {name: plain_value(getattr(value, name)) for name in names}
        return {name: item for name, item in plain.items() if item is not None}
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return value
