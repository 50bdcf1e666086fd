"""Mappings and single values: pydantic checks them, and each says what it expects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    PlainValidator,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import (
    CoreSchema,
    ErrorDetails,
    InitErrorDetails,
    PydanticCustomError,
    core_schema,
)

from nnt.config.yaml_text import ABSENT_WORDS, WORDS_OF_YAML, shown
from nnt.errors import did_you_mean

WORDS, EXPECTED = "words", "expected"
"""Types of errors that say what is wrong, and what was expected instead."""
MAX_NAMES = 10
MAX_COUNT = 10**9
"""Epochs, and rows of a batch."""
MAX_WHOLE = 1 << 62
"""Compiled loops and stores count in 64 bits."""
UNMENTIONED = 10**6
"""A bound above it is mentioned only to those who pass it."""
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


class Part(BaseModel):
    """Base of all models: strict, closed and frozen; all numbers are finite."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="wrap")
    @classmethod
    def _say_what_is_wrong(
        cls, value: Any, handler: ModelWrapValidatorHandler[Self]
    ) -> Self:
        try:
            return handler(value)
        except ValidationError as err:
            if isinstance(value, Mapping):
                found = [cls._in_words(error) for error in err.errors()]
                raise ValidationError.from_exception_data("", found) from err
            more = ["..."] * (len(cls.model_fields) > MAX_NAMES)
            keys = ", ".join([*cls.model_fields][:MAX_NAMES] + more)
            raise unexpected(f"a mapping with {keys}") from err

    @classmethod
    def _in_words(cls, error: ErrorDetails) -> InitErrorDetails:
        path, value, context = error["loc"], error["input"], error.get("ctx", {})
        words = error["msg"]
        if error["type"] == "extra_forbidden":
            words = f"unknown key; {did_you_mean(path[0], cls.model_fields)}"
        elif error["type"] == "missing":
            words = "is missing"
        elif len(path) == 1:
            if error["type"] != WORDS:
                options = get_args(cls.model_fields[str(path[0])].annotation)
                null = " or null" if type(None) in options else ""
                plain = words.removeprefix("Input should be ")
                expected, hint = context.get("expected", plain), context.get("hint", "")
                words = f"expected {expected}{null}, got {shown(value)}{hint}"
            if isinstance(value, bool):
                words += WORDS_OF_YAML
            elif isinstance(value, str) and value in ABSENT_WORDS:
                words += " (in YAML, write null for no value)"
        return InitErrorDetails(type=mistake(words), loc=path, input=value)


def mistake(words: str) -> PydanticCustomError:
    """Make the error of a value that says in words what is wrong."""
    return PydanticCustomError(WORDS, "{words}", {"words": words})


def unexpected(words: str, hint: str = "") -> PydanticCustomError:
    """Make the error of a value that is not what was expected; `hint` ends it."""
    found = {"expected": words, "hint": hint}
    return PydanticCustomError(EXPECTED, "expected {expected}", found)


def mistakes_at(found: Mapping[str, str]) -> ValidationError:
    """Make one error of the mistakes in some keys of a mapping: key -> words."""
    details = [
        InitErrorDetails(type=mistake(words), loc=(key,), input=None)
        for key, words in found.items()
    ]
    return ValidationError.from_exception_data("", details)


def check_one_of(part: BaseModel, first: str, second: str) -> None:
    """Raise an error unless one of two keys is there, and the other is not."""
    there = [getattr(part, key) is not None for key in (first, second)]
    if sum(there) != 1:
        found = "both" if all(there) else "neither"
        raise mistake(f"needs either {first} or {second}, got {found}")


def one_of(noun: str, names: Collection[str]) -> PlainValidator:
    """Take one of some names."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            near = did_you_mean(value, names)
            raise mistake(f"unknown {noun} {shown(value)}; {near}")
        return value

    return PlainValidator(check)


def some_of(
    noun: str, names: Sequence[str], *, at_least: int = 0, in_order: bool = True
) -> PlainValidator:
    """Take a list of different names out of some, and put it `in_order` of those."""
    one: Any = one_of(noun, names)

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) < at_least:
            raise unexpected(f"a list of names out of {', '.join(names)}")
        for name in value:
            one.func(name)
        if len(set(value)) < len(value):
            raise unexpected(f"each {noun} once")
        return tuple(sorted(value, key=names.index) if in_order else value)

    return PlainValidator(check)


def in_words(words: str) -> WrapValidator:
    """Say in words what a value is that pydantic checks."""

    def check(value: object, inner: Callable[[object], object]) -> object:
        try:
            return inner(value)
        except ValidationError as err:
            raise unexpected(words) from err

    return WrapValidator(check)


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """Bounds of a number, and what to say to those who pass them."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    hint: str = ""

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Add the bounds to what pydantic checks of a number."""
        is_whole = source is int
        name = "a whole number" if is_whole else "a number"
        bounds = {k: v for k in SIGNS if (v := getattr(self, k)) is not None}
        if is_whole:
            bounds.setdefault("le", MAX_WHOLE)

        def check(value: Any, inner: Callable[[Any], object]) -> object:
            if is_whole and isinstance(value, float) and value.is_integer():
                value = int(value)  # such as 1e3
            try:
                return inner(value)
            except ValidationError as err:
                broken = err.errors()[0].get("ctx", {})
                signs = " and ".join(
                    f"{SIGNS[key]} {bound:,}"
                    for key, bound in bounds.items()
                    if key in broken or bound < UNMENTIONED
                )
                hint = self.hint if broken else ""
                raise unexpected(f"{name} {signs}".strip(), hint) from err

        schema: Any = {**handler(source), **bounds}
        return core_schema.no_info_wrap_validator_function(check, schema)


def _to_text(value: object) -> object:
    """Take a number for text: a version may look like one."""
    return str(value) if type(value) in (int, float) else value


def no_other_null(value: object) -> object:
    """Refuse what other languages write for null."""
    if isinstance(value, str) and value in ABSENT_WORDS:
        raise unexpected("text")
    return value


Index = Annotated[int, Number(ge=0)]
Count = Annotated[int, Number(ge=1)]
Positive = Annotated[float, Number(gt=0)]
NotNegative = Annotated[float, Number(ge=0)]
Text = Annotated[str, in_words("text")]
TextOrNumber = Annotated[Text, BeforeValidator(_to_text)]
OptionalText = Annotated[Text | None, BeforeValidator(no_other_null)]
