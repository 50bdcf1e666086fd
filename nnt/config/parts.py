"""Checks of the structured keys, and the table of all keys."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from nnt.config.checks import (
    Check,
    Problems,
    boolean,
    choice,
    integer,
    known_keys,
    number,
    text,
)
from nnt.config.reading import ABSENT_WORDS
from nnt.config.schema import SPLITS, DataConfig, LRSchedule, Quantization
from nnt.detector import N_INPUTS
from nnt.errors import ConfigError, DataError
from nnt.files import expand_path
from nnt.filters import Filter, IdentityFilter, from_config
from nnt.fixedpoint import check_precision

__all__ = ["CHECKS", "check_quantizable"]

MAX_COUNT = 10**9
"""Epochs, and rows of a batch."""
MAX_BUCKETS = 100_000
MAX_Z = 2.0
"""Of a distribution; z is scaled to [-1, 1]."""
Z_UNIT = "z is scaled here: 1 is 100 cm, so write 0.4 for 40 cm"
MAX_TRACKS = 10**9
"""About a terabyte of text."""
MAX_TRAINED_BITS = 20
"""Outputs are float32 while a network is trained."""
WORD_END = 64
"""Weights of the firmware are below it."""
QUANTIZABLE = {
    "model": ("BaselineModel",),
    "act": ("tanh/2", "tanh"),
    "engine": ("auto", "torch"),
}
"""What goes with `quantize`: the compiled loops cannot hold the firmware's sums."""


def check_filter(value: Any, path: str, problems: Problems) -> Filter:
    """Read a filter."""
    if isinstance(value, str) and value in ABSENT_WORDS:
        problems.add(path, "a filter or null", value)
        return IdentityFilter()
    try:
        return from_config(value)
    except ConfigError as err:
        problems.say(path, str(err).removeprefix("filter: "))
        return IdentityFilter()


def check_experts(value: Any, path: str, problems: Problems) -> tuple[int, ...]:
    """Read the experts: -1 alone, or some of 0 to 4, sorted."""
    numbers = value if isinstance(value, list | tuple) else ()
    whole = all(type(item) is int for item in numbers)
    good = whole and (
        list(numbers) == [-1]
        or (set(numbers) <= set(range(5)) and len(set(numbers)) == len(numbers))
    )
    if not numbers or not good:
        problems.add(path, "[-1] or a list of different experts 0 to 4", value)
        return ()
    return tuple(sorted(numbers))


def check_dist(value: Any, path: str, problems: Problems) -> Any:
    """Read the distribution of the bucket reweighting."""
    if value is None:
        return None
    known = ("n_buckets", "inf_bounds", "norm", "uniform")
    before = len(problems.told)
    values = known_keys(value, path, known, problems)
    if values is None:
        return None
    shapes = [key for key in ("norm", "uniform") if values.get(key) is not None]
    if len(shapes) != 1:
        problems.say(path, f"needs either norm or uniform, got {_both(shapes)}")
    buckets = integer(1, limit=MAX_BUCKETS)(
        values.get("n_buckets"), f"{path}.n_buckets", problems
    )
    inf_bounds = boolean(
        values.get("inf_bounds", False), f"{path}.inf_bounds", problems
    )
    z = number(-MAX_Z, MAX_Z, hint=Z_UNIT)
    fields = {
        "norm": {"mean": z, "std": number(0, MAX_Z, above=True, hint=Z_UNIT)},
        "uniform": {"lower": z, "upper": z},
    }
    parts = {
        key: _all_of(values[key], f"{path}.{key}", fields[key], problems)
        for key in shapes
    }
    uniform = parts.get("uniform")
    sound = len(problems.told) == before
    if sound and uniform and uniform["lower"] >= uniform["upper"]:
        problems.add(f"{path}.uniform", "lower < upper", uniform)
    if len(problems.told) > before:
        return None
    from nnt.sampling import Distribution, Normal, Uniform, bucket_probabilities

    kinds: dict[str, Any] = {"norm": Normal, "uniform": Uniform}
    shape = {key: kinds[key](**part) for key, part in parts.items() if part}
    found = Distribution(n_buckets=buckets, inf_bounds=bool(inf_bounds), **shape)
    try:
        bucket_probabilities(found)
    except DataError as err:
        problems.say(path, str(err).removeprefix("dist: "))
    return found


def _both(forms: list[str]) -> str:
    return "both" if forms else "neither"


def _all_of(
    value: Any, path: str, fields: Mapping[str, Check], problems: Problems
) -> dict[str, Any] | None:
    values = known_keys(value, path, fields, problems)
    if values is None:
        return None
    for key in fields:
        if key not in values:
            problems.say(f"{path}.{key}", "is missing")
    return {
        key: fields[key](item, f"{path}.{key}", problems)
        for key, item in values.items()
    }


def check_data(value: Any, path: str, problems: Problems) -> DataConfig:
    """Read where the tracks come from."""
    values = known_keys(value, path, ("files", "split", "simulate"), problems)
    if values is None:
        return DataConfig()
    forms = [key for key in ("files", "simulate") if values.get(key) is not None]
    if len(forms) != 1:
        problems.say(path, f"needs either files or simulate, got {_both(forms)}")
        return DataConfig()
    split = values.get("split")
    fractions = None if split is None else _split(split, f"{path}.split", problems)
    if forms == ["simulate"]:
        simulation = _simulation(values["simulate"], f"{path}.simulate", problems)
        return DataConfig(split=fractions or (0.6, 0.2, 0.2), simulate=simulation)
    where, files = f"{path}.files", values["files"]
    if not isinstance(files, Mapping):
        if split is None:
            problems.say(f"{path}.split", "is missing, for example [0.6, 0.2, 0.2]")
        return DataConfig(files=_paths(files, where, problems), split=fractions)
    if split is not None:
        problems.say(f"{path}.split", "not allowed where files are given per split")
    known = known_keys(files, where, SPLITS, problems) or {}
    for missing in set(SPLITS) - set(known):
        problems.say(f"{where}.{missing}", "is missing")
    return DataConfig(
        files={
            key: _paths(item, f"{where}.{key}", problems) for key, item in known.items()
        }
    )


def _paths(value: Any, path: str, problems: Problems) -> tuple[str, ...]:
    paths = [value] if isinstance(value, str) else value
    if (
        not isinstance(paths, list | tuple)
        or not paths
        or not all(isinstance(item, str | Path) for item in paths)
    ):
        problems.add(path, "a list of files", value)
        return ()
    return tuple(expand_path(item) for item in paths)


def _split(
    value: Any, path: str, problems: Problems
) -> tuple[float, float, float] | None:
    good = (
        isinstance(value, list | tuple)
        and len(value) == 3
        and all(type(item) in (int, float) and 0 < item < 1 for item in value)
        and abs(sum(value) - 1) < 1e-6
    )
    if not good:
        problems.add(path, "three fractions above 0 that add up to 1", value)
        return None
    train, val, test = (float(item) for item in value)
    return train, val, test


def _simulation(value: Any, path: str, problems: Problems) -> Any:
    # By name: only a configuration that simulates needs the simulation.
    kind: Any = importlib.import_module("nnt.simulation").Simulation
    hints = get_type_hints(kind)
    known = [part.name for part in dataclasses.fields(kind)]
    before = len(problems.told)
    values = known_keys(value, path, known, problems)
    if values is None:
        return None
    checks: dict[Any, Check] = {
        int: integer(0), float: number(), bool: boolean, str: text()
    }  # fmt: skip
    given = {}
    for key, item in values.items():
        check = checks.get(hints[key])
        if key == "tracks":
            check = integer(1, limit=MAX_TRACKS)
        given[key] = check(item, f"{path}.{key}", problems) if check else _tupled(item)
    if len(problems.told) > before:
        return None
    try:
        return kind(**given)
    except (TypeError, ValueError, ConfigError) as err:
        problems.say(path, str(err))
        return None


def _tupled(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_tupled(item) for item in value)
    return value


def check_schedule(value: Any, path: str, problems: Problems) -> LRSchedule | None:
    """Read how the learning rate changes."""
    if value is None:
        return None
    factor = number(0, above=True)
    parameters: dict[str, dict[str, Check]] = {
        "cosine": {"final": number(0)},
        "step": {"every": integer(1), "factor": factor},
        "plateau": {"patience": integer(1), "factor": factor},
    }
    if not isinstance(value, Mapping):
        problems.add(path, "a mapping with name, or null", value)
        return None
    name = choice(*parameters)(value.get("name"), f"{path}.name", problems)
    if name is None:
        return None
    values = known_keys(value, path, ("name", *parameters[name]), problems) or {}
    given = {
        key: parameters[name][key](item, f"{path}.{key}", problems)
        for key, item in values.items()
        if key != "name"
    }
    return LRSchedule(name=name, **given)


def check_quantize(value: Any, path: str, problems: Problems) -> Quantization | None:
    """Read the arithmetic to train through."""
    if value is None:
        return None
    bits = integer(0, MAX_TRAINED_BITS)
    checks: dict[str, Check] = {
        part.name: bits for part in dataclasses.fields(Quantization)
    }
    checks["largest_weight"] = number(0, above=True)
    before = len(problems.told)
    values = known_keys(value, path, checks, problems) or {}
    given = {
        key: checks[key](item, f"{path}.{key}", problems)
        for key, item in values.items()
    }
    if given.get("largest_weight") is not None and given["largest_weight"] >= WORD_END:
        problems.add(
            f"{path}.largest_weight", f"a number < {WORD_END}", given["largest_weight"]
        )
    if len(problems.told) > before:
        return None
    found = Quantization(**given)
    try:
        check_precision(found.precision)
    except DataError as err:
        problems.say(path, str(err))
    return found


def check_quantizable(values: Mapping[str, Any], path: str, problems: Problems) -> None:
    """Refuse to train a network through arithmetic that cannot hold it."""
    for key in QUANTIZABLE.keys() & values.keys():
        if values[key] not in QUANTIZABLE[key]:
            expected = f"{' or '.join(QUANTIZABLE[key])} with quantize"
            problems.add(f"{path}{key}", expected, values[key])


CHECKS: dict[str, Check] = {
    "name": text(),
    "version": text(numbers=True),
    "description": text(),
    "category": text(),
    "learning_rate": number(0, above=True),
    "batch_size": integer(1, limit=MAX_COUNT),
    "weight_decay": number(0),
    "in_size": integer(N_INPUTS, N_INPUTS),
    "out_size": integer(1, 2),
    "workers": integer(1, optional=True),
    "epochs": integer(0, limit=MAX_COUNT),
    "model": choice("BaselineModel", "BaselineModelBN", "SimpleModel"),
    "loss": choice("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"),
    "optim": choice("Adam", "AdamW", "Rprop", "SGD"),
    "act": choice(
        "tanh", "tanh/2", "softsign", "relu", "sigmoid", "leaky_relu", "selu"
    ),
    "experts": check_experts,
    "compare_to": text(optional=True),
    "load_pre_trained_weights": text(optional=True),
    "filter": check_filter,
    "dist": check_dist,
    "seed": integer(0),
    "data": check_data,
    "early_stopping_patience": integer(1, optional=True),
    "gradient_clip": number(0, above=True, optional=True),
    "lr_schedule": check_schedule,
    "restarts": integer(1),
    "plot_every": integer(0),
    "engine": choice("auto", "torch", "compiled"),
    "quantize": check_quantize,
    "extends": text(optional=True),
}
"""Key -> its check, in the order in which a configuration is shown."""
