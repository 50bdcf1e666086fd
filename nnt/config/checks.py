"""Checks of single values: each gives the typed value or notes what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nnt.config.reading import ABSENT_WORDS, listed
from nnt.errors import ConfigError, did_you_mean, shorten

__all__ = [
    "Check",
    "Problems",
    "choice",
    "integer",
    "known_keys",
    "number",
    "text",
]

MAX_INTEGER = 1 << 62
"""Compiled loops and stores count in 64 bits."""
MAX_PATH = 100
"""Characters of a dotted path in a message."""


@dataclass
class Problems:
    """Every mistake of a configuration, told together."""

    name: str
    origins: Mapping[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def add(self, path: str, expected: str, got: object, hint: str = "") -> None:
        """Note a mistake at a dotted path."""
        said = f"expected {expected}, got {shorten(got)}"
        if got in ABSENT_WORDS:
            said += " (YAML writes null for no value)"
        if isinstance(got, bool):
            said += " (YAML reads on, off, yes, no as true or false: quote them)"
        self.say(path, said + (f"; {hint}" if hint else ""))

    def say(self, path: str, what: str) -> None:
        """Note a mistake in words of its own."""
        shown = path if len(path) <= MAX_PATH else path[:MAX_PATH] + "..."
        self.told.append(f"{self.source_of(path)}: {shown}: {what}")

    def source_of(self, path: str) -> str:
        """Name the source that set a dotted path, or the nearest part above it."""
        parts = path.split(".")
        for n in range(len(parts), 0, -1):
            if (source := self.origins.get(".".join(parts[:n]))) is not None:
                return source
        return self.name

    def raise_all(self) -> None:
        """Raise `ConfigError` with every mistake, if there are any."""
        if self.told:
            raise ConfigError(listed(self.told))


Check = Callable[[Any, str, Problems], Any]
"""(value, dotted path, problems) -> typed value, or None after a mistake."""


def number(
    lower: float = -math.inf,
    upper: float = math.inf,
    *,
    above: bool = False,
    optional: bool = False,
    hint: str = "",
) -> Check:
    """Accept a finite number from `lower`, or strictly above it, to `upper`."""
    bounds = [f"{'>' if above else '>='} {lower:g}"] if lower > -math.inf else []
    bounds += [f"<= {upper:g}"] if upper < math.inf else []
    expected = " ".join(["a number", " and ".join(bounds)]).strip()
    expected += " or null" if optional else ""

    def check(value: Any, path: str, problems: Problems) -> float | None:
        if value is None and optional:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            problems.add(path, expected, value)
            return None
        if not lower <= value <= upper or (above and value == lower):
            problems.add(path, expected, value, hint)
            return None
        return float(value)

    return check


def integer(
    lower: int | None = None,
    upper: int | None = None,
    *,
    limit: int = MAX_INTEGER,
    optional: bool = False,
) -> Check:
    """Accept a whole number, ``1e3`` too; `limit` is told only where it is passed."""
    bounds = [f">= {lower}"] if lower is not None else []
    bounds += [f"<= {upper}"] if upper is not None else []
    expected = " ".join(["a whole number", " and ".join(bounds)]).strip()
    if lower is not None and lower == upper:
        expected = str(lower)
    expected += " or null" if optional else ""

    def check(value: Any, path: str, problems: Problems) -> int | None:
        if value is None and optional:
            return None
        whole = type(value) is int or (isinstance(value, float) and value.is_integer())
        too_low = whole and lower is not None and value < lower
        too_high = whole and upper is not None and value > upper
        if not whole or too_low or too_high:
            problems.add(path, expected, value)
            return None
        if value > limit:
            problems.add(path, f"a whole number <= {limit:,}", value)
            return None
        return int(value)

    return check


def text(*, optional: bool = False, numbers: bool = False) -> Check:
    """Accept text; numbers too where a version may look like one."""
    expected = "text or null" if optional else "text"

    def check(value: Any, path: str, problems: Problems) -> str | None:
        if value is None and optional:
            return None
        if numbers and type(value) in (int, float):
            return str(value)
        if optional and value in ABSENT_WORDS:
            problems.add(path, expected, value)
            return None
        if not isinstance(value, str):
            problems.add(path, expected, value, "quote it if it is meant as text")
            return None
        return value

    return check


def choice(*names: str) -> Check:
    """Accept one of some names."""

    def check(value: Any, path: str, problems: Problems) -> str | None:
        if not isinstance(value, str) or value not in names:
            problems.add(path, "a known name", value, did_you_mean(value, names))
            return None
        return value

    return check


def boolean(value: Any, path: str, problems: Problems) -> bool | None:
    """Accept true or false."""
    if not isinstance(value, bool):
        problems.add(path, "true or false", value)
        return None
    return value


def known_keys(
    value: Any, path: str, known: Iterable[str], problems: Problems
) -> dict[str, Any] | None:
    """Accept a mapping; note the keys that are not known and leave them out."""
    names = list(known)
    if not isinstance(value, Mapping):
        problems.add(path, f"a mapping with {', '.join(names)}", value)
        return None
    for key in value:
        if key not in names:
            problems.say(f"{path}.{key}", f"unknown key; {did_you_mean(key, names)}")
    return {key: value[key] for key in names if key in value}
