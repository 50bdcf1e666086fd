"""What a sweep varies: keys of a configuration, each with a range or a choice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnt.config import Config, load_config
from nnt.config.files import read_mapping
from nnt.config.yaml_text import listed
from nnt.errors import ConfigError, did_you_mean, shorten
from nnt.files import expand_path

KINDS = ("log_uniform", "uniform", "int", "choice")
FIXED = ("name", "extends")
"""Keys that say what a configuration is, and change nothing in a training."""
CALL = "<overrides>: "
SEED = "seed"
"""Key that makes no configuration better, but shows how far trials differ by chance."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """The values of one key."""

    kind: str
    """``"log_uniform"``, ``"uniform"``, ``"int"`` or ``"choice"``."""
    low: float = 0.0
    """Ends of a range, both included; 0 for a choice."""
    high: float = 0.0
    is_log: bool = False
    """Whether a range is searched by powers."""
    choices: tuple[Any, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Choices as text: a search knows them by it."""
        return tuple(json.dumps(choice) for choice in self.choices)

    @property
    def points(self) -> Sequence[Any]:
        """All that a search can suggest, of choices and whole numbers."""
        return self.labels or range(int(self.low), int(self.high) + 1)

    @property
    def checked(self) -> tuple[Any, ...]:
        """Values that stand for all others: the ends of a range, or every choice."""
        return self.choices or (self.value(self.low), self.value(self.high))

    def value(self, suggested: Any) -> Any:
        """Turn what a search suggests into the value of the key."""
        if self.kind == "choice":
            return json.loads(suggested)
        return int(suggested) if self.kind == "int" else float(suggested)


@dataclass(frozen=True, slots=True)
class Space:
    """All that a sweep varies: dotted key -> its values, checked."""

    dimensions: Mapping[str, Dimension]

    def values(self, suggested: Mapping[str, Any]) -> dict[str, Any]:
        """Turn what a search suggests into overrides of a configuration."""
        return {
            key: dimension.value(suggested[key])
            for key, dimension in self.dimensions.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """As plain values that `load_space` reads back."""
        plain: dict[str, Any] = {}
        for key, dimension in self.dimensions.items():
            if dimension.kind == "choice":
                plain[key] = {"choice": list(dimension.choices)}
                continue
            ends = [dimension.value(dimension.low), dimension.value(dimension.high)]
            plain[key] = {dimension.kind: ends}
            if dimension.kind == "int" and dimension.is_log:
                plain[key]["log"] = True
        return plain


def load_space(source: Space | str | Path | Mapping[str, Any], config: Config) -> Space:
    """Read what a sweep varies, and check it as a configuration is checked.

    Parameters
    ----------
    source : Space, str, Path or mapping
        A YAML file, or its keys: dotted keys of a configuration with
        ``{log_uniform: [a, b]}``, ``{uniform: [a, b]}``, ``{int: [a, b]}`` with or
        without ``log: true``, or ``{choice: [...]}``.
    config : Config
        What is varied. Both ends of each range, and each choice, must be possible in
        it.

    Raises
    ------
    ConfigError
        Naming every mistake: key, what was expected and found.
    """
    if isinstance(source, Space):
        source = source.to_dict()
    if isinstance(source, Mapping):
        name, given = "<space>", dict(source)
    else:
        path = Path(expand_path(source))
        name, given = str(path), read_mapping(path)
    if not given:
        raise ConfigError(
            f"{name}: the space names no key; "
            "for example, learning_rate: {log_uniform: [1e-4, 5e-2]}"
        )
    dimensions: dict[str, Dimension] = {}
    mistakes: list[str] = []
    for key, value in given.items():
        try:
            dimensions[key] = _dimension(key, value)
        except ConfigError as err:
            mistakes.append(f"{name}: {key}: {err}")
    mistakes += _impossible(name, dimensions, config)
    if mistakes:
        raise ConfigError(listed(mistakes))
    return Space(dimensions)


def _dimension(key: str, value: object) -> Dimension:
    if key in FIXED:
        raise ConfigError("names the configuration, which a sweep cannot vary")
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"expected a range or a choice such as {{uniform: [a, b]}} or "
            f"{{choice: [a, b]}}, got {shorten(value)}"
        )
    kinds = [kind for kind in KINDS if kind in value]
    unknown = [str(name) for name in value if name not in (*KINDS, "log")]
    if unknown:
        raise ConfigError(
            f"unknown key {shorten(unknown[0])}; "
            f"{did_you_mean(unknown[0], (*KINDS, 'log'))}"
        )
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise ConfigError(f"expected one of {', '.join(KINDS)}, got {found}")
    kind = kinds[0]
    if "log" in value and kind != "int":
        raise ConfigError(f"log can be used with int, not with {kind}")
    if kind == "choice":
        return Dimension(kind, choices=_choices(value[kind]))
    is_log = value.get("log", kind == "log_uniform")
    if not isinstance(is_log, bool):
        raise ConfigError(f"log: expected true or false, got {shorten(is_log)}")
    low, high = _ends(kind, value[kind], is_log)
    return Dimension(kind, low, high, is_log)


def _choices(value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ConfigError(f"choice: expected a list of values, got {shorten(value)}")
    try:
        labels = [json.dumps(item) for item in value]
    except TypeError as err:
        raise ConfigError(f"choice: expected plain values ({err})") from err
    if len(set(labels)) < len(labels):
        raise ConfigError(f"choice: expected each value once, got {shorten(value)}")
    # Read back, so that tuples and lists are one thing everywhere.
    return tuple(json.loads(label) for label in labels)


def _ends(kind: str, value: object, is_log: bool) -> tuple[float, float]:
    types = int if kind == "int" else (int, float)
    ends = list(value) if isinstance(value, list | tuple) else []
    if len(ends) != 2 or not all(
        isinstance(end, types) and not isinstance(end, bool) and math.isfinite(end)
        for end in ends
    ):
        what = "whole numbers" if kind == "int" else "numbers"
        raise ConfigError(f"{kind}: expected two {what} [a, b], got {shorten(value)}")
    low, high = ends
    if low >= high:
        raise ConfigError(f"{kind}: expected the smaller end first, got {[low, high]}")
    if is_log and low <= 0:
        raise ConfigError(f"{kind}: a logarithmic range starts above 0, got {low}")
    return low, high


def _impossible(
    name: str, dimensions: Mapping[str, Dimension], config: Config
) -> list[str]:
    """Say what the configuration refuses, each mistake once.

    The other keys have the first of their values meanwhile: a key may need another one.
    """
    first = {key: dimension.checked[0] for key, dimension in dimensions.items()}
    found: dict[str, None] = {}
    for key, dimension in dimensions.items():
        for value in dimension.checked:
            try:
                load_config(config, {**first, key: value})
            except ConfigError as err:
                for line in str(err).splitlines():
                    found[f"{name}: {line.removeprefix(CALL)}"] = None
    return list(found)
