"""Every mistake of a configuration, in words; what holds between keys is a rule."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from nnt.config.schema import Config
from nnt.config.values import WORDS, expectation, model_of
from nnt.config.yaml_text import ABSENT_WORDS, listed, shown
from nnt.errors import ConfigError, did_you_mean

__all__ = ["Conflict", "Problems", "conflicts"]

MAX_PATH = 100
"""Characters of a dotted path in a message."""
QUANTIZABLE = {
    "model": ("BaselineModel",),
    "act": ("tanh/2", "tanh"),
    "engine": ("auto", "torch"),
}
"""What goes with `quantize`: the compiled loops cannot hold the firmware's sums."""


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
        model = _model_above(path)
        part = None if model is None else model.model_fields.get(path[-1])
        expected = "another value" if part is None else expectation(part.annotation)
        words = f"expected {expected}, got {shown(value)}"
    if isinstance(value, bool):
        words += " (YAML reads on, off, yes, no as true or false: quote them)"
    if isinstance(value, str) and value in ABSENT_WORDS:
        words += " (in YAML, write null for no value)"
    return words


def _model_above(path: tuple[str, ...]) -> Any:
    """Find the model whose key is the last of a path."""
    model: Any = Config
    for key in path[:-1]:
        part = model.model_fields.get(key)
        model = None if part is None else model_of(part.annotation, part.metadata)
        if model is None:
            return None
    return model


@dataclass(frozen=True, slots=True)
class Conflict:
    """Keys that do not go together."""

    keys: tuple[str, ...]
    """The one to change first."""
    words: str


def conflicts(config: Config) -> Iterator[Conflict]:
    """Find every rule that a configuration breaks, each value being right by itself."""
    for rule in RULES:
        yield from rule(config)


def _outputs(config: Config) -> Iterator[Conflict]:
    if config.out_size != len(config.outputs):
        yield Conflict(
            ("out_size", "outputs"),
            f"expected {len(config.outputs)}, the number of names in outputs, got "
            f"{config.out_size}; leave out_size out",
        )


def _form(config: Config) -> Iterator[Conflict]:
    try:
        config.form  # noqa: B018 (made here so that it can be read later)
    except ConfigError as err:
        place, _, words = str(err).partition(": ")
        key = "hidden" if place not in Config.model_fields else place
        yield Conflict((key, "model"), words or place)


def _chain(config: Config) -> Iterator[Conflict]:
    if config.chain == "classic" and config.in_size != 27:
        yield Conflict(
            ("in_size", "chain"),
            f"expected 27, got {config.in_size}; {config.in_size} inputs go with "
            "chain: 3dh",
        )
    if config.chain == "3dh" and config.experts != (-1,):
        yield Conflict(
            ("experts", "chain"),
            f"expected [-1] with chain: 3dh, which has one network, got "
            f"{list(config.experts)}",
        )


def _loss(config: Config) -> Iterator[Conflict]:
    if config.loss == "TriggerLoss" and config.outputs != ("z", "theta"):
        yield Conflict(
            ("loss", "outputs", "out_size"),
            "TriggerLoss needs outputs: [z, theta], got "
            f"[{', '.join(config.outputs)}]; use MSELoss with other outputs",
        )


def _quantize(config: Config) -> Iterator[Conflict]:
    if config.quantize is None:
        return
    for key, names in QUANTIZABLE.items():
        if getattr(config, key) not in names:
            yield Conflict(
                (key, "quantize"),
                f"expected {' or '.join(names)} with quantize, got "
                f"{getattr(config, key)!r}",
            )
    if config.whiten is not None:
        yield Conflict(
            ("whiten", "quantize"),
            "expected null with quantize, which works on the original inputs, got "
            f"{config.whiten:g}",
        )


def _teachers(config: Config) -> Iterator[Conflict]:
    if config.teach_from is not None and config.dist is not None:
        yield Conflict(
            ("dist", "teach_from"),
            "expected null with teach_from: the z to train on is then not the z that "
            "dist draws rows by; leave one of them out",
        )


RULES: tuple[Callable[[Config], Iterator[Conflict]], ...] = (
    _outputs, _form, _chain, _loss, _quantize, _teachers,
)  # fmt: skip
