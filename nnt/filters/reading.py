"""Filters as configurations write them: read by a whitelist, never evaluated."""

from __future__ import annotations

import ast
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from nnt.errors import ConfigError, did_you_mean, shorten
from nnt.filters.kinds import (
    FILTERS,
    MODULE,
    ConCatFilter,
    Filter,
    IdentityFilter,
    is_bound,
)

MAX_LENGTH = 4000
MAX_DEPTH = 20
MAX_SHOWN = 200


def parse(text: str) -> Filter:
    """Read a filter expression by a whitelist; nothing is evaluated.

    It consists of calls of known filters with constants and lists, such as
    ``dataset_filters.ConCatFilter([dataset_filters.Max2EventsFilter()])``. The prefix
    ``dataset_filters.`` may be left out.

    Raises
    ------
    ConfigError
        If the text is anything else.
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(
            f"filter: expected at most {MAX_LENGTH} characters, got {len(text)}"
        )
    try:
        # Only the syntax tree is made here: no name in it is looked up.
        with warnings.catch_warnings():
            warnings.simplefilter("error", SyntaxWarning)
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as err:
        raise ConfigError(
            f"filter: expected an expression such as {MODULE}.IdentityFilter(), "
            f"got {shorten(text)}"
        ) from err
    found = _read_node(tree.body, 0)
    if not isinstance(found, Filter):
        raise ConfigError(f"filter: expected a filter, got {shorten(text)}")
    return found


def _read_node(node: ast.expr, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ConfigError(f"filter: nested deeper than {MAX_DEPTH} levels")
    match node:
        case ast.Call(func=func, args=args, keywords=keywords):
            values = [_read_node(arg, depth + 1) for arg in args]
            named: dict[str, Any] = {}
            for keyword in keywords:
                if keyword.arg is None or keyword.arg in named:
                    raise ConfigError("filter: expected each parameter once, by name")
                named[keyword.arg] = _read_node(keyword.value, depth + 1)
            if isinstance(func, ast.Name) and func.id == "range" and depth:
                return _range(values, named)
            return _make(_name_of(func), values, named)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_read_node(item, depth + 1) for item in items]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            number: Any = node.operand
            return -number.value
        case ast.Constant(value=None | int() | float() | str()):
            return node.value
    raise ConfigError(
        f"filter: expected calls of known filters with constants, "
        f"got {type(node).__name__.lower()} at column {node.col_offset + 1}"
    )


def _range(values: Sequence[Any], named: Mapping[str, Any]) -> range:
    """Row numbers, as Python writes them."""
    whole = all(type(value) is int and is_bound(value) for value in values)
    if named or not whole or not 1 <= len(values) <= 3 or values[2:] == [0]:
        raise ConfigError(
            "filter: expected range(stop), range(start, stop) or range(start, stop, "
            f"step) of integers, got range({shorten(values)[1:-1]})"
        )
    return range(*values)


def _name_of(func: ast.expr) -> str:
    match func:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module == MODULE:
            return name
    raise ConfigError(
        f"filter: expected a call of {MODULE}.NAME, got something else "
        f"at column {func.col_offset + 1}; valid: {', '.join(sorted(FILTERS))}"
    )


def _make(name: str, values: Sequence[Any], named: Mapping[str, Any]) -> Filter:
    """Make a filter, unless its fields cannot be written as text and read again."""
    if name not in FILTERS:
        raise ConfigError(
            f"filter: no filter {shorten(name)}; {did_you_mean(name, FILTERS)} "
            "(to use your own filter, name its module in NNT_PLUGINS)"
        )
    fields = dataclasses.fields(FILTERS[name])
    known = [field.name for field in fields]
    required = {f.name for f in fields if f.default is dataclasses.MISSING}
    given = dict(zip(known, values, strict=False)) | dict(named)
    twice = len(given) < len(values) + len(named)
    if twice or not required <= set(given) <= set(known):
        raise ConfigError(
            f"filter: expected {name}({', '.join(known)}), got "
            f"{_call(name, values, named)}"
        )
    try:
        made = FILTERS[name](**given)
    except (TypeError, ValueError, ArithmeticError) as err:
        raise ConfigError(f"filter: {_call(name, [], given)}: {err}") from err
    # A run keeps a filter as text.
    for field in known:
        value = getattr(made, field)
        if not _is_constant(value):
            raise ConfigError(
                f"filter: {name}.{field}: expected finite numbers, text, none, "
                f"filters, or lists of them, which a run can keep, got {shorten(value)}"
            )
    return made


def _call(name: str, values: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Show a call as it was written, in bounded length."""
    words = [*map(shorten, values), *(f"{k}={shorten(v)}" for k, v in named.items())]
    text = f"{name}({', '.join(words)})"
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def _is_constant(value: object) -> bool:
    """Whether a configuration can hold a value of a filter."""
    if isinstance(value, list | tuple):
        return all(map(_is_constant, value))
    if value is None or isinstance(value, bool | str | range | Filter):
        return True
    return is_bound(value)


def from_config(value: object) -> Filter:
    """Read a filter from the value of a configuration.

    It is the text form, a list of ``Name`` or ``{Name: {parameter: value}}`` (all must
    keep a row), or None for every row.

    Raises
    ------
    ConfigError
        If it names no known filter or has wrong parameters.
    """
    if value is None:
        return IdentityFilter()
    if isinstance(value, Filter):
        return value
    if isinstance(value, str):
        return parse(value)
    if not isinstance(value, list | tuple):
        raise ConfigError(
            f"filter: expected text, a list of filters or null, got {shorten(value)}"
        )
    parts = [_from_entry(entry, 0) for entry in value]
    return parts[0] if len(parts) == 1 else ConCatFilter(tuple(parts))


def _from_entry(entry: object, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise ConfigError(f"filter: nested deeper than {MAX_DEPTH} levels")
    if isinstance(entry, str):
        return parse(entry) if "(" in entry else _make(entry, [], {})
    if isinstance(entry, Mapping) and len(entry) == 1:
        name, parameters = next(iter(entry.items()))
        if isinstance(parameters, Mapping):
            named = {str(key): item for key, item in parameters.items()}
            inner = named.get("filters")
            if name == "ConCatFilter" and isinstance(inner, list | tuple):
                named["filters"] = [_from_entry(item, depth + 1) for item in inner]
            return _make(str(name), [], named)
    raise ConfigError(
        "filter: expected a name or {name: {parameter: value}}, got " + shorten(entry)
    )
