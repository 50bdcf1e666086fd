"""How the text of a chain is laid out, for reader and writer alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import Chain
from nnt.tracks.table import Tracks
from nnt.types import BoolArray

__all__ = ["Check", "Columns", "Layout", "beyond", "stacked"]

Columns = Mapping[str, npt.NDArray[Any]]
Check = tuple[str, BoolArray, str]
"""Column, rows that are wrong, and what was expected."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """The text format of one chain: its columns, and what they may hold."""

    chain: Chain
    required: Callable[[Sequence[str]], Sequence[str]]
    """Columns that a header of these names must have."""
    headless: tuple[str, ...] | None
    """Columns of files without a header, if there are such files."""
    integers: frozenset[str]
    """Columns of integers; all others hold numbers."""
    whole: frozenset[str]
    """Columns of integers that some programs write as ``1822.000000``."""
    checks: Callable[[Columns], Iterator[Check]]
    """What values may be."""
    table: Callable[[Columns], Tracks]
    """The rows as a table; columns that it does not know are left out."""


def beyond(columns: Columns, names: Sequence[str], limit: float) -> Iterator[Check]:
    """Find numbers beyond a limit on either side, NaN too."""
    for name in names:
        wrong = ~(np.abs(columns[name]) <= limit)
        yield name, wrong, f"a number in [-{limit:g}, {limit:g}]"


def stacked(columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Columns side by side, shape (N, len(names))."""
    first = columns[names[0]]
    table = np.empty((len(first), len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        table[:, i] = columns[name]
    return table
