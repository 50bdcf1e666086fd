"""The filters: each gives a mask of the rows of a track table.

A filter is a frozen dataclass; called with a table it gives a mask of its rows.
To add one, write the dataclass and list it in `FILTERS`. Configurations name
filters as text (``dataset_filters.ExpertFilter(1)``) or as a YAML list; see
`nnt.filters.reading`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import EXPERTS
from nnt.errors import ConfigError, DataError, NNTError, did_you_mean, shorten
from nnt.tracks import Tracks
from nnt.tracks.table import (
    CLASS_COLUMNS,
    ID_COLUMNS,
    REFERENCE_COLUMNS,
    TARGET_COLUMNS,
    TYPE_COLUMN,
    grouped,
)
from nnt.types import I64, BoolArray

WHICH_EXPERTS = (-1, *EXPERTS)
MODULE = "dataset_filters"


@dataclass(frozen=True)
class Filter:
    """Base of the filters; its fields are what is written of it as text."""

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        raise NotImplementedError

    def mask(self, tracks: Tracks) -> BoolArray:
        """Call the filter, and check what it gives.

        Raises
        ------
        ConfigError
            It fails, or what it gives is no mask of the rows.
        """
        try:
            found: object = self(tracks)
        except NNTError:
            raise
        except Exception as err:
            raise ConfigError(
                f"{type(self).__name__}: the filter fails with {type(err).__name__}: "
                f"{err}; nnt --debug-traceback shows where"
            ) from err
        kind = type(found).__name__
        if isinstance(found, np.ndarray):
            if found.dtype == np.bool_ and found.shape == (len(tracks),):
                return found
            kind = f"an array of {found.dtype} with shape {found.shape}"
        raise ConfigError(
            f"{type(self).__name__}: expected an array of bool with shape "
            f"({len(tracks)},), one value per row, got {kind}"
        )

    def __str__(self) -> str:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return f"{MODULE}.{type(self).__name__}({', '.join(map(repr, values))})"


@dataclass(frozen=True)
class IdentityFilter(Filter):
    """Keep every row."""

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        return np.ones(len(tracks), dtype=np.bool_)


@dataclass(frozen=True)
class ExpertFilter(Filter):
    """Keep the rows of one expert, -1 for all of them."""

    expert: int

    def __post_init__(self) -> None:
        if type(self.expert) is not int or self.expert not in WHICH_EXPERTS:
            raise ConfigError(
                f"ExpertFilter: expected an expert of {WHICH_EXPERTS}, "
                f"got {shorten(self.expert)}"
            )

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        if self.expert == -1:
            return np.ones(len(tracks), dtype=np.bool_)
        mask: BoolArray = tracks.expert == self.expert
        return mask


@dataclass(frozen=True)
class Max2EventsFilter(Filter):
    """Keep the events that hold at most two distinct reconstructed tracks."""

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        events = tracks.event_index
        first = _first_of_each_track(tracks, events)
        mask: BoolArray = np.bincount(events[first])[events] <= 2
        return mask


@dataclass(frozen=True)
class DuplicateEventsFilter(Filter):
    """Keep the first row of each reconstructed track of an event."""

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        return _first_of_each_track(tracks, tracks.event_index)


@dataclass(frozen=True)
class RangeFilter(Filter):
    """Keep the rows whose column lies in [lower, upper]; None leaves a side open.

    Columns: the identifiers (`Event`, `Run`, ...), `RecoZ`, `RecoTheta`,
    `ScaleZ`, `ScaleTheta` (scaled to [-1, 1]) and the extra columns of the file
    such as `2DinvPt`. A ``range`` in place of the column keeps the rows with these
    numbers in the table, from 0.
    """

    column: str | range
    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        column: object = self.column
        words = ""
        bounds = [side for side in (self.lower, self.upper) if side is not None]
        wrong = [side for side in bounds if not is_bound(side)]
        if isinstance(column, range):
            if bounds:
                words = "a range of row numbers alone, or a column with its bounds, "
                words += f"got {column} and bounds"
        elif not isinstance(column, str):
            words = f"the name of a column, got {shorten(column)}"
        elif wrong:
            words = f"a finite number as bound, or none, got {shorten(wrong[0])}"
        elif bounds != sorted(bounds):
            words = f"lower <= upper, got {self.lower} and {self.upper}"
        if words:
            raise ConfigError(f"RangeFilter: expected {words}")

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        mask = np.ones(len(tracks), dtype=np.bool_)
        lower, upper = self.lower, self.upper
        if isinstance(self.column, range):
            forward = self.column if self.column.step > 0 else self.column[::-1]
            values = np.arange(len(tracks))
            lower, upper = forward.start, forward.stop - 1
            mask &= (values - forward.start) % forward.step == 0
        else:
            values = _column(tracks, self.column)
        if lower is not None:
            mask &= values >= lower
        if upper is not None:
            mask &= values <= upper
        return mask

    def __str__(self) -> str:
        if isinstance(self.column, range):
            return f"{MODULE}.RangeFilter({self.column!r})"
        return super().__str__()


@dataclass(frozen=True)
class ConCatFilter(Filter):
    """Keep the rows that every filter keeps, each seeing the whole table."""

    filters: tuple[Filter, ...]

    def __post_init__(self) -> None:
        parts = self.filters
        listed = isinstance(parts, list | tuple)
        if not listed or not all(isinstance(part, Filter) for part in parts):
            raise ConfigError(
                f"ConCatFilter: expected a list of filters, got {shorten(parts)}"
            )
        object.__setattr__(self, "filters", tuple(parts))

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        mask = np.ones(len(tracks), dtype=np.bool_)
        for part in self.filters:
            mask &= part.mask(tracks)
        return mask

    def __str__(self) -> str:
        return f"{MODULE}.ConCatFilter([{', '.join(map(str, self.filters))}])"


FILTERS: dict[str, type[Filter]] = {
    kind.__name__: kind
    for kind in (
        IdentityFilter,
        ExpertFilter,
        Max2EventsFilter,
        DuplicateEventsFilter,
        RangeFilter,
        ConCatFilter,
    )
}
"""Name -> filter that configurations may use."""


def is_bound(value: object) -> bool:
    """Whether a value is a number that text and 64 bits can hold."""
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and abs(value) < 2**63


def _first_of_each_track(tracks: Tracks, event: I64) -> BoolArray:
    """Mark the first row of each (event, RecoZ, RecoTheta), shape (N,)."""
    mask = np.zeros(len(tracks), dtype=np.bool_)
    # Equal numbers have equal bits, once -0 is 0; one key sorts faster than two.
    target = (tracks.targets + np.float32(0)).view(np.uint64)[:, 0]
    order, starts = grouped((target, event))
    mask[order[starts]] = True
    return mask


def _column(tracks: Tracks, name: str) -> npt.NDArray[Any]:
    columns: dict[str, npt.NDArray[Any]] = {n: tracks.ids[n] for n in ID_COLUMNS}
    for names, values in (
        (TARGET_COLUMNS, tracks.targets),
        (REFERENCE_COLUMNS, tracks.reference),
        (CLASS_COLUMNS, tracks.classes),
    ):
        if values is not None:
            columns |= dict(zip(names, values.T, strict=True))
    if tracks.track_type is not None:
        columns[TYPE_COLUMN] = tracks.track_type
    columns |= tracks.extras
    if name not in columns:
        raise DataError(
            f"RangeFilter: the table has no column {shorten(name)}; "
            + did_you_mean(name, columns)
        )
    return columns[name]
