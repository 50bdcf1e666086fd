"""Types of single values, each an annotation that checks and says what it expects."""

from __future__ import annotations

import math
import operator
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
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
    "WORDS",
    "Fraction",
    "Number",
    "OneOf",
    "OptionalText",
    "Part",
    "Positive",
    "Read",
    "Text",
    "expectation",
    "mistake",
    "mistakes_at",
    "model_of",
    "setting",
    "unexpected",
]

WORDS = "words"
"""Type of the errors that say in words of their own what is wrong."""
SIGNS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
MAX_NUMBER: dict[type, float] = {int: 1 << 62, float: sys.float_info.max}
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


def unexpected(words: str, value: object) -> PydanticCustomError:
    """Make the error of a value that is not what was expected."""
    return mistake(f"expected {words}, got {shown(value)}")


def mistakes_at(found: Mapping[tuple[str, ...], str]) -> ValidationError:
    """Make one error of mistakes within a value: path in it -> words."""
    details = [
        InitErrorDetails(type=mistake(words), loc=path, input=None)
        for path, words in found.items()
    ]
    return ValidationError.from_exception_data("configuration", details)


@dataclass(frozen=True, slots=True, eq=False)
class Number:
    """A finite number, whole or not, within bounds such as ``{">=": 1}``."""

    kind: type[int] | type[float]
    bounds: Mapping[str, float] = field(default_factory=dict)
    null: bool = False
    """Whether it may be null."""
    hint: str = ""
    """What to do about a number that is out of its bounds."""

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check in place of what pydantic does for numbers."""
        return core_schema.no_info_plain_validator_function(self.check)

    def check(self, value: object) -> float | None:
        """Give a number back; a whole one may be written as 1e3."""
        if value is None and self.null:
            return None
        bounds = {"<=": MAX_NUMBER[self.kind], **self.bounds}
        named = {sign: bound for sign, bound in bounds.items() if bound < UNMENTIONED}
        if not self._is_of_kind(value):
            raise unexpected(self._words(named), value)
        number: Any = value
        broken = {k: v for k, v in bounds.items() if not SIGNS[k](number, v)}
        if broken:
            # A high bound is mentioned to those who pass it alone.
            words = self._words(named if broken.keys() & named.keys() else broken)
            raise mistake(f"expected {words}, got {shown(value)}{self.hint}")
        return self.kind(number)

    def _is_of_kind(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, int):
            return self.kind is int or abs(value) <= MAX_NUMBER[float]
        return value.is_integer() if self.kind is int else math.isfinite(value)

    def _words(self, bounds: Mapping[str, float]) -> str:
        within = " and ".join(
            f"{sign} {bounds[sign]:,}" for sign in SIGNS if sign in bounds
        )
        kind = "a whole number" if self.kind is int else "a number"
        return f"{kind} {within}".strip() + (" or null" if self.null else "")


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
            raise unexpected(_mapping_of(self.model()), value)
        checked = self.model().model_validate(value)
        try:
            return self.make(checked)
        except (ConfigError, DataError) as err:
            raise mistake(str(err)) from err


def _to_text(value: object) -> object:
    """Take a number for text: a version may look like one."""
    return str(value) if type(value) in (int, float) else value


def _no_other_null(value: object) -> object:
    if isinstance(value, str) and value in ABSENT_WORDS:
        raise unexpected("text or null", value)
    return value


Positive = Annotated[float, Number(float, {">": 0})]
Fraction = Annotated[float | None, Number(float, {">": 0, "<": 1}, null=True)]
Text = Annotated[str, BeforeValidator(_to_text)]
OptionalText = Annotated[str | None, BeforeValidator(_no_other_null)]


def expectation(annotation: Any) -> str:
    """Put into words what a value of a type is that says nothing itself.

    Examples
    --------
    >>> expectation(bool | None)
    'true or false or null'
    """
    if get_origin(annotation) is Annotated:
        return expectation(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        null = " or null" if type(None) in get_args(annotation) else ""
        return " or ".join(map(expectation, kinds)) + null
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _mapping_of(annotation)
    return "true or false" if annotation is bool else "text"


def _mapping_of(model: type[BaseModel]) -> str:
    names = list(model.model_fields)
    more = ", ..." if len(names) > MAX_NAMES else ""
    return f"a mapping with {', '.join(names[:MAX_NAMES])}{more}"


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
