"""Types of single values: pydantic checks them, `nnt.config.problems` has the words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainValidator,
    ValidationError,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from nnt.config.yaml_text import ABSENT_WORDS, shown
from nnt.errors import ConfigError, DataError, did_you_mean

WORDS = "words"
"""Type of the errors that say in words of their own what is wrong."""
MAX_COUNT = 10**9
"""Epochs, and rows of a batch."""


class Part(BaseModel):
    """Base of all models: strict, closed and frozen; all numbers are finite."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
    )


def setting(default: Any, text: str, *, run_wide: bool = False) -> Any:
    """Declare a key of the configuration.

    Parameters
    ----------
    default : object
        Its value where nobody sets it, or a function that makes it.
    text : str
        What it means, in Markdown: the row of the table in docs/configuration.md.
    run_wide : bool
        Whether all experts share it; an expert may have its own of the others.
    """
    given: Any = {"default_factory" if callable(default) else "default": default}
    return Field(**given, description=text, json_schema_extra={"run_wide": run_wide})


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


def one_of(noun: str, names: Collection[str]) -> PlainValidator:
    """Take one of some names."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            near = did_you_mean(value, names)
            raise mistake(f"unknown {noun} {shown(value)}; {near}")
        return value

    return PlainValidator(check)


def some_of(noun: str, names: Collection[str], *, at_least: int = 0) -> PlainValidator:
    """Take a list of different names out of some."""
    one: Any = one_of(noun, names)

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) < at_least:
            raise unexpected(f"a list of names out of {', '.join(names)}", value)
        for name in value:
            one.func(name)
        if len(set(value)) < len(value):
            raise unexpected(f"each {noun} once", value)
        return tuple(value)

    return PlainValidator(check)


@dataclass(frozen=True, slots=True)
class Read:
    """A value that is checked as a model and then made into something else."""

    model: Callable[[], type[BaseModel]]
    make: Callable[..., object]
    """Takes the values that are given."""

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
            raise PydanticCustomError("mapping", "expected a mapping")
        checked = self.model().model_validate(value)
        try:
            return self.make(
                **{k: getattr(checked, k) for k in checked.model_fields_set}
            )
        except (ConfigError, DataError) as err:
            raise mistake(str(err)) from err


def _whole(value: object) -> object:
    """Take a float for the whole number that it is, such as 1e3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _to_text(value: object) -> object:
    """Take a number for text: a version may look like one."""
    return str(value) if type(value) in (int, float) else value


def _no_other_null(value: object) -> object:
    if isinstance(value, str) and value in ABSENT_WORDS:
        raise unexpected("text or null", value)
    return value


WHOLE = BeforeValidator(_whole)
# Compiled loops and stores count in 64 bits.
Whole = Annotated[int, WHOLE, Field(le=1 << 62)]
Index = Annotated[Whole, Field(ge=0)]
Count = Annotated[Whole, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Text = Annotated[str, BeforeValidator(_to_text)]
OptionalText = Annotated[str | None, BeforeValidator(_no_other_null)]
