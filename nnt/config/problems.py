"""Every mistake of a configuration, in words; what holds between keys is a rule."""

from __future__ import annotations

import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from nnt.config.files import EXPERT_KEYS
from nnt.config.schema import RUN_WIDE, Config
from nnt.config.values import WORDS, Read
from nnt.config.yaml_text import ABSENT_WORDS, WORDS_OF_YAML, listed, shown
from nnt.errors import ConfigError, did_you_mean

MAX_PATH = 100
"""Characters of a dotted path in a message."""
MAX_NAMES = 10
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
BROKEN = {
    "greater_than_equal": "ge",
    "greater_than": "gt",
    "less_than_equal": "le",
    "less_than": "lt",
}
"""Type of an error -> the bound that is broken."""
UNMENTIONED = 10**6
"""A bound above it is mentioned only to those who pass it, and alone."""
KINDS = {int: "a whole number", float: "a number", bool: "true or false"}
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
        """Note a mistake at a dotted path, and who set it or the key above it."""
        source, above = self.origins.get(path), path
        while source is None and above:
            above = above.rpartition(".")[0]
            source = self.origins.get(above)
        shown = path if len(path) <= MAX_PATH else path[:MAX_PATH] + "..."
        self.found.append(f"{source or self.name}: {shown}: {words}")

    def check(
        self,
        values: Mapping[str, Any],
        of_expert: Collection[str] | None = None,
        prefix: str = "",
    ) -> Config:
        """Check values and what holds between them; a mistake counts as the default.

        Of the values of one expert, only mistakes in the keys `of_expert` are new; they
        are noted with a `prefix` such as ``expert_2.``.
        """
        names, wrong = [*Config.model_fields, *EXPERT_KEYS], set[str]()
        if of_expert is not None:
            names = [name for name in Config.model_fields if name not in RUN_WIDE]
        try:
            config = Config.model_validate(values)
        except ValidationError as err:
            errors = {_path(error["loc"]): error for error in err.errors()[::-1]}
            for path, error in reversed(errors.items()):
                if of_expert is None or path[0] in of_expert:
                    words = _words(error, path, _value_at(values, path), names)
                    self.add(prefix + ".".join(path), words)
            wrong = {path[0] for path in errors}
            right = {key: item for key, item in values.items() if key not in wrong}
            config = Config.model_validate(right)
        for keys, words in conflicts(config):
            new = [key for key in keys if of_expert is None or key in of_expert]
            if new and wrong.isdisjoint(keys):
                self.add(prefix + new[0], words)
        return config

    def raise_all(self) -> None:
        """Raise `ConfigError` with every mistake, if there are any."""
        if self.found:
            raise ConfigError(listed(self.found))


def _path(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """Keys down to a value; a list is one value."""
    numbers = [i for i, step in enumerate(loc) if not isinstance(step, str)]
    return tuple(map(str, loc[: numbers[0]] if numbers else loc))


def _value_at(values: Any, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return None
        values = values[key]
    return values


def _words(
    error: ErrorDetails, path: tuple[str, ...], value: object, names: Collection[str]
) -> str:
    fields: Mapping[str, FieldInfo] = Config.model_fields
    for key in path[:-1]:
        model = _model_of(fields[key].annotation, fields[key].metadata)
        fields = {} if model is None else model.model_fields
        names = fields
    if error["type"] == "extra_forbidden":
        return f"unknown key; {did_you_mean(path[-1], names)}"
    if error["type"] == "missing":
        return "is missing"
    words = error["msg"]
    if error["type"] != WORDS:
        part, broken = fields[path[-1]], BROKEN.get(error["type"])
        expected = expectation(part.annotation, part.metadata, broken)
        hints = [item for item in part.metadata if isinstance(item, str) and broken]
        words = f"expected {expected}, got {shown(value)}{''.join(hints)}"
    if isinstance(value, bool):
        words += WORDS_OF_YAML
    if isinstance(value, str) and value in ABSENT_WORDS:
        words += " (in YAML, write null for no value)"
    return words


def expectation(
    annotation: Any, metadata: Iterable[Any] = (), broken: str | None = None
) -> str:
    """Put into words what a value of a type is that says nothing itself.

    `metadata` is what it is annotated with, `broken` the bound that it breaks: ``ge``,
    ``gt``, ``le`` or ``lt``.

    Examples
    --------
    >>> expectation(bool | None)
    'true or false or null'
    >>> expectation(Literal[27, 126])
    '27 or 126'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return expectation(arguments[0], [*arguments[1:], *metadata], broken)
    if origin in (Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not type(None)]
        null = " or null" if type(None) in arguments else ""
        return " or ".join(expectation(k, metadata, broken) for k in kinds) + null
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if model := _model_of(annotation, metadata):
        keys = list(model.model_fields)
        more = ["..."] * (len(keys) > MAX_NAMES)
        return f"a mapping with {', '.join(keys[:MAX_NAMES] + more)}"
    bounds = dict(_bounds(metadata))
    if broken and bounds[broken] >= UNMENTIONED:
        bounds = {broken: bounds[broken]}
    else:
        bounds = {key: bound for key, bound in bounds.items() if bound < UNMENTIONED}
    signs = " and ".join(f"{SIGNS[k]} {bounds[k]:,}" for k in SIGNS if k in bounds)
    return f"{KINDS.get(annotation, 'text')} {signs}".strip()


def _bounds(metadata: Iterable[Any]) -> Iterator[tuple[str, float]]:
    """Bounds of a number; those that come later count."""
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _bounds(item.metadata)
        for key in SIGNS:
            if hasattr(item, key):
                yield key, getattr(item, key)


def _model_of(
    annotation: Any, metadata: Iterable[object] = ()
) -> type[BaseModel] | None:
    """Find the model that a value of an annotated type is checked by, if any."""
    for item in metadata:
        if isinstance(item, Read):
            return item.model()
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _model_of(arguments[0], arguments[1:])
    return next(filter(None, map(_model_of, arguments)), None)


def conflicts(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    """Find every rule that a configuration breaks, each value being right by itself.

    Gives keys that do not go together, the one to change first, and what is wrong.
    """
    outputs, held = config.outputs, ", ".join(config.outputs)
    if config.out_size != len(outputs):
        yield (
            ("out_size", "outputs"),
            f"expected {len(outputs)}, the number of names in outputs, got "
            f"{config.out_size}; leave out_size out",
        )
    try:
        config.form  # noqa: B018 (made here so that it can be read later)
    except ConfigError as err:
        place, _, words = str(err).partition(": ")
        key = "hidden" if place not in Config.model_fields else place
        yield (key, "model"), words or place
    if config.chain == "classic" and config.in_size != 27:
        yield (
            ("in_size", "chain"),
            f"expected 27, got {config.in_size}; {config.in_size} inputs go with "
            "chain: 3dh",
        )
    if config.chain == "3dh" and config.experts != (-1,):
        yield (
            ("experts", "chain"),
            "expected [-1] with chain: 3dh, which has one network, got "
            f"{list(config.experts)}",
        )
    if config.loss == "TriggerLoss" and outputs != ("z", "theta"):
        yield (
            ("loss", "outputs", "out_size"),
            f"TriggerLoss needs outputs: [z, theta], got [{held}]; use MSELoss with "
            "other outputs",
        )
    if config.quantize is not None:
        yield from _conflicts_with_quantize(config)
    if config.teach_from is not None and config.dist is not None:
        yield (
            ("dist", "teach_from"),
            "expected null with teach_from: the z to train on is then not the z that "
            "dist draws rows by; leave one of them out",
        )


def _conflicts_with_quantize(config: Config) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, names in QUANTIZABLE.items():
        if (found := getattr(config, key)) not in names:
            yield (
                (key, "quantize"),
                f"expected {' or '.join(names)} with quantize, got {found!r}",
            )
    if config.whiten is not None:
        yield (
            ("whiten", "quantize"),
            "expected null with quantize, which works on the original inputs, got "
            f"{config.whiten:g}",
        )
