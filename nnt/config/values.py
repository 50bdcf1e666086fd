"""Types of single values: what pydantic checks, and the words for what is expected.

A constraint is an annotation (``Annotated[Whole, Ge(1)]``); `expectation` puts it into
words for messages.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    AllowInfNan,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from nnt.config.yaml_text import ABSENT_WORDS, shown
from nnt.errors import ConfigError, DataError, did_you_mean

__all__ = [
    "MAX_COUNT",
    "UNMENTIONED",
    "WORDS",
    "Expected",
    "Fraction",
    "Hint",
    "OneOf",
    "OptionalText",
    "Part",
    "Positive",
    "Read",
    "Real",
    "Text",
    "Whole",
    "expectation",
    "limit_of",
    "mistake",
    "mistakes_at",
    "model_of",
    "setting",
]

WORDS = "words"
"""Type of the errors that say in words of their own what is wrong."""
MAX_INTEGER = 1 << 62
"""Compiled loops and stores count in 64 bits."""
MAX_COUNT = 10**9
"""Epochs, and rows of a batch."""
MAX_NAMES = 10
UNMENTIONED = 10**6
"""A bound above it is mentioned only to those who pass it."""


class Part(BaseModel):
    """Base of all models: strict, closed and frozen."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True
    )


def setting(default: Any, text: str, *, run_wide: bool = False) -> Any:
    """Declare a key of the configuration.

    Parameters
    ----------
    default : object
        Its value where nobody sets it.
    text : str
        What it means, in Markdown: the row of the table in docs/configuration.md.
    run_wide : bool
        Whether all experts share it; an expert may have its own of the others.
    """
    extra = {"run_wide": run_wide}
    if callable(default):
        return Field(default_factory=default, description=text, json_schema_extra=extra)  # type: ignore[arg-type]
    return Field(default, description=text, json_schema_extra=extra)  # type: ignore[arg-type]


def mistake(words: str) -> PydanticCustomError:
    """Make the error of a value that says in words what is wrong."""
    return PydanticCustomError(WORDS, "{words}", {"words": words})


def mistakes_at(found: Mapping[tuple[str, ...], str]) -> ValidationError:
    """Make one error of mistakes within a value: path in it -> words."""
    details = [
        InitErrorDetails(type=mistake(words), loc=path, input=None)
        for path, words in found.items()
    ]
    return ValidationError.from_exception_data("configuration", details)


@dataclass(frozen=True, slots=True)
class Expected:
    """Words for what a value should have been, where its type does not say it."""

    words: str


@dataclass(frozen=True, slots=True)
class Hint:
    """What to do about a value that is out of its bounds."""

    words: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some names."""

    noun: str
    names: tuple[str, ...]

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check in place of what pydantic does for text."""
        return core_schema.no_info_plain_validator_function(self.check)

    def check(self, value: object) -> str:
        """Give a known name back."""
        if not isinstance(value, str) or value not in self.names:
            near = did_you_mean(value, self.names)
            raise mistake(f"unknown {self.noun} {shown(value)}; {near}")
        return value


@dataclass(frozen=True, slots=True)
class Read:
    """A value that is checked as a model and then made into something else."""

    model: Callable[[], type[BaseModel]]
    make: Callable[[Any], object]

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Read in place of what pydantic does for the type."""
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, source) else self.read(value)
        )

    def read(self, value: object) -> object:
        """Check a mapping and make something of it."""
        if not isinstance(value, Mapping):
            raise mistake(f"expected {_mapping_of(self.model())}, got {shown(value)}")
        checked = self.model().model_validate(value)
        try:
            return self.make(checked)
        except (ConfigError, DataError) as err:
            raise mistake(str(err)) from err


def _to_whole(value: object) -> object:
    """Take 1e3 for 1000, as nobody means a fraction by it."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _to_text(value: object) -> object:
    """Take a number for text: a version may look like one."""
    return str(value) if type(value) in (int, float) else value


def _no_other_null(value: object) -> object:
    if isinstance(value, str) and value in ABSENT_WORDS:
        raise mistake(f"expected text or null, got {shown(value)}")
    return value


Whole = Annotated[int, BeforeValidator(_to_whole), Le(MAX_INTEGER)]
Real = Annotated[float, AllowInfNan(False)]
Positive = Annotated[Real, Gt(0)]
Fraction = Annotated[Real, Gt(0), Lt(1)]
Text = Annotated[str, BeforeValidator(_to_text)]
OptionalText = Annotated[str | None, BeforeValidator(_no_other_null)]


def expectation(annotation: Any, metadata: Iterable[object] = ()) -> str:
    """Put into words what a value of an annotated type is.

    Examples
    --------
    >>> expectation(Annotated[Whole, Ge(1)] | None)
    'a whole number >= 1 or null'
    """
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return expectation(inner, (*more, *metadata))
    known = [item.words for item in metadata if isinstance(item, Expected)]
    if known:
        return known[0]
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        null = " or null" if type(None) in get_args(annotation) else ""
        return " or ".join(expectation(kind, metadata) for kind in kinds) + null
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _mapping_of(annotation)
    if get_origin(annotation) is tuple:
        count = [kind for kind in get_args(annotation) if kind is not Ellipsis]
        return "a list of " + (f"{len(count)} numbers" if len(count) > 1 else "numbers")
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    return f"{names.get(annotation, 'text')} {_bounds(metadata)}".strip()


def _mapping_of(model: type[BaseModel]) -> str:
    names = list(model.model_fields)
    more = ", ..." if len(names) > MAX_NAMES else ""
    return f"a mapping with {', '.join(names[:MAX_NAMES])}{more}"


def limit_of(annotation: Any, metadata: Iterable[object] = ()) -> int:
    """Smallest of the upper bounds of a whole number."""
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        inner, *more = get_args(annotation)
        is_annotated = get_origin(annotation) is Annotated
        return limit_of(inner, (*(more if is_annotated else ()), *metadata))
    return min(int(str(item.le)) for item in metadata if isinstance(item, Le))


def _bounds(metadata: Iterable[object]) -> str:
    words = []
    for item in metadata:
        match item:
            case Ge(ge=bound):
                words.append((0, f">= {bound:,}"))
            case Gt(gt=bound):
                words.append((0, f"> {bound:,}"))
            case Le(le=bound) if isinstance(bound, int | float) and bound < UNMENTIONED:
                words.append((1, f"<= {bound:,}"))
            case Lt(lt=bound):
                words.append((1, f"< {bound:,}"))
    return " and ".join(text for _, text in sorted(words))


def model_of(
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
        return model_of(arguments[0], arguments[1:])
    if get_origin(annotation) in (Union, types.UnionType):
        return next(filter(None, map(model_of, arguments)), None)
    return None
