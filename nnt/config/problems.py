"""Every mistake of a configuration, in words, with its place and its origin."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from nnt.config.schema import Config
from nnt.config.values import UNMENTIONED, WORDS, Hint, expectation, limit_of, model_of
from nnt.config.yaml_text import ABSENT_WORDS, listed, shown
from nnt.errors import ConfigError, did_you_mean

__all__ = ["Problems"]

MAX_PATH = 100
"""Characters of a dotted path in a message."""
BOUNDS = (
    "greater_than", "greater_than_equal", "less_than", "less_than_equal",
)  # fmt: skip


@dataclass
class Problems:
    """Collects the mistakes of one configuration, to report them together."""

    name: str
    origins: Mapping[str, str] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def add(self, path: str, words: str) -> None:
        """Note a mistake at a dotted path."""
        shown = path if len(path) <= MAX_PATH else path[:MAX_PATH] + "..."
        self.found.append(f"{self.source_of(path)}: {shown}: {words}")

    def source_of(self, path: str) -> str:
        """Name the source that set a dotted path, or the nearest part above it."""
        parts = path.split(".")
        for n in range(len(parts), 0, -1):
            if (source := self.origins.get(".".join(parts[:n]))) is not None:
                return source
        return self.name

    def add_errors(
        self,
        err: ValidationError,
        values: Mapping[str, Any],
        names: Collection[str],
        prefix: str = "",
        only: Collection[str] | None = None,
    ) -> set[str]:
        """Note what pydantic found.

        Parameters
        ----------
        err : ValidationError
            Of the model `Config`.
        values : mapping
            What was validated.
        names : collection of str
            Valid names of keys.
        prefix : str
            Of every path, such as ``"expert_2."``.
        only : collection of str, optional
            Keys whose mistakes count; those of others are known already.

        Returns
        -------
        set of str
            Keys that hold a mistake.
        """
        seen: set[tuple[str, ...]] = set()
        for error in err.errors(include_url=False):
            path = _path(error["loc"])
            if path in seen or (only is not None and path[0] not in only):
                continue
            seen.add(path)
            words = _words(error, path, _value_at(values, path), names)
            self.add(prefix + ".".join(path), words)
        return {str(error["loc"][0]) for error in err.errors(include_url=False)}

    def raise_all(self) -> None:
        """Raise `ConfigError` with every mistake, if there are any."""
        if self.found:
            raise ConfigError(listed(self.found))


def _path(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Keys down to a value; a list is one value."""
    path: list[str] = []
    for step in loc:
        if not isinstance(step, str):
            break
        path.append(step)
    return tuple(path)


def _value_at(values: Any, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return None
        values = values[key]
    return values


def _words(
    error: ErrorDetails,
    path: tuple[str, ...],
    value: object,
    names: Collection[str],
) -> str:
    if error["type"] == "extra_forbidden":
        model = _model_above(path)
        known = names if len(path) == 1 or model is None else model.model_fields
        return f"unknown key; {did_you_mean(path[-1], known)}"
    if error["type"] == "missing":
        return "is missing"
    words = error["msg"]
    if error["type"] != WORDS:
        words = f"expected {_expected(error, path)}, got {shown(value)}"
    if isinstance(value, bool):
        words += " (YAML reads on, off, yes, no as true or false: quote them)"
    if isinstance(value, str) and value in ABSENT_WORDS:
        words += " (in YAML, write null for no value)"
    if error["type"] in BOUNDS:
        words += "".join(f"; {hint}" for hint in _hints(path))
    return words


def _hints(path: tuple[str, ...]) -> list[str]:
    model = _model_above(path)
    part = None if model is None else model.model_fields.get(path[-1])
    metadata = () if part is None else part.metadata
    return [item.words for item in metadata if isinstance(item, Hint)]


def _expected(error: ErrorDetails, path: tuple[str, ...]) -> str:
    model = _model_above(path)
    part = None if model is None else model.model_fields.get(path[-1])
    if part is None:
        return "another value"
    if error["type"] == "less_than_equal" and error["ctx"]["le"] >= UNMENTIONED:
        return f"a whole number <= {limit_of(part.annotation, part.metadata):,}"
    return expectation(part.annotation, part.metadata)


def _model_above(path: tuple[str, ...]) -> Any:
    """Find the model whose key is the last of a path."""
    model: Any = Config
    for key in path[:-1]:
        part = model.model_fields.get(key)
        model = None if part is None else model_of(part.annotation, part.metadata)
        if model is None:
            return None
    return model
