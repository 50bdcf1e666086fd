"""Lines ``key = value`` of BASF2's configurations, as its parser reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nnt.errors import ExportError, shorten

__all__ = ["Row", "Setting", "Value", "parse_lines", "shown", "shown_number"]

Row = tuple[float, ...]
Value = float | Row | tuple[Row, ...]

EARLIER_NAMES = {
    "maxHitsperSL": "maxHitsPerSL",
    "SLPattern": "SLpattern",
    "SLPatternMask": "SLpatternMask",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One line ``key = value``; ``key == value`` forbids BASF2 to change it."""

    value: Value
    locked: bool = False


def shown_number(value: float) -> str:
    """Show a number so that it comes back exactly, whole ones without a point."""
    is_whole = float(value).is_integer() and abs(value) < 2**53
    return str(int(value)) if is_whole else repr(float(value))


def parse_lines(
    content: str, place: str, dimensions: Mapping[str, int]
) -> dict[str, Setting]:
    """Read the lines of a configuration as BASF2 does.

    Parameters
    ----------
    content : str
        The text.
    place : str
        Its file, for messages.
    dimensions : mapping of str to int
        Of the value of each key: 0 a number, 1 a list, 2 a list of lists.

    Raises
    ------
    ExportError
        A value is not of the kind that its key has, or a locked one comes again.
    """
    values: dict[str, Setting] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        bare = "".join(line.split("#")[0].split())
        if len(bare) < 3 or "=" not in bare:
            continue
        key, value = bare.split("=", 1)
        locked = value.startswith("=")
        key = EARLIER_NAMES.get(key, key)
        where = f"{place}:{number}: {key[:40]}"
        if key in values and values[key].locked:
            raise ExportError(f"{where}: was locked (==) by an earlier line")
        found = _value(value.removeprefix("="), dimensions.get(key), where)
        values[key] = Setting(found, locked)
    return values


def _value(text: str, dimensions: int | None, place: str) -> Value:
    found = _parsed(text, place)
    # Earlier files hold the one row of outputScale as a plain list.
    if dimensions == 2 and isinstance(found, tuple) and _depth(found) == 1:
        found = (tuple(item for item in found if not isinstance(item, tuple)),)
    if dimensions is not None and _depth(found) != dimensions:
        kinds = ("one number", "a list [a, b]", "a list of lists [[a, b], [c, d]]")
        raise ExportError(
            f"{place}: expected {kinds[dimensions]}, found {shorten(text)}"
        )
    return found


def _depth(value: Value) -> int:
    if not isinstance(value, tuple):
        return 0
    return 2 if value and isinstance(value[0], tuple) else 1


def _parsed(text: str, place: str) -> Value:
    if text.startswith("[[") and text.endswith("]]"):
        return tuple(_numbers(row, place) for row in text[2:-2].split("],["))
    if text.startswith("[") and text.endswith("]"):
        return _numbers(text[1:-1], place)
    return _number(text, place)


def _numbers(text: str, place: str) -> Row:
    return tuple(_number(item, place) for item in text.split(","))


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExportError(f"{place}: expected a number, found {shorten(text)}")
    return value


def shown(value: Value) -> str:
    """Show a value as BASF2 reads it."""
    if isinstance(value, tuple):
        return "[" + ",".join(shown(item) for item in value) + "]"
    return shown_number(value)
