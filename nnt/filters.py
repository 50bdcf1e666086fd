"""Which rows of a track table are used: named selections, and their safe reading.

A filter is a frozen dataclass; called with a table it gives a mask of its rows.
To add one, write the dataclass and list it in `FILTERS`. Configurations name
filters as text (``dataset_filters.ExpertFilter(1)``) or as a YAML list; both are
read by a whitelist, nothing is ever evaluated.
"""

from __future__ import annotations

import ast
import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnt.errors import ConfigError, DataError, did_you_mean, shorten
from nnt.types import BoolArray

if TYPE_CHECKING:
    from nnt.tracks import Tracks

__all__ = [
    "FILTERS",
    "ConCatFilter",
    "DuplicateEventsFilter",
    "ExpertFilter",
    "Filter",
    "IdentityFilter",
    "Max2EventsFilter",
    "RangeFilter",
    "from_config",
    "parse",
]


MAX_LENGTH = 4000
MAX_DEPTH = 20
EXPERTS = (-1, 0, 1, 2, 3, 4)
MODULE = "dataset_filters"


@dataclass(frozen=True)
class Filter:
    """Base of the filters: told as text and as YAML by its fields."""

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        raise NotImplementedError

    def __str__(self) -> str:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return f"{MODULE}.{type(self).__name__}({', '.join(map(repr, values))})"

    def to_config(self) -> list[Any]:
        """Give the YAML form: a list of names or ``{name: parameters}``."""
        return [_entry(self)]


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
        if type(self.expert) is not int or self.expert not in EXPERTS:
            raise ConfigError(
                f"ExpertFilter: expected an expert of {EXPERTS}, "
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

    LIMIT: ClassVar[int] = 2

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        events = tracks.event_index
        if len(events) == 0:
            return np.ones(0, dtype=np.bool_)
        first = _first_of_each_track(tracks, events)
        tracks_of_event = np.bincount(events[first], minlength=int(events.max()) + 1)
        mask: BoolArray = tracks_of_event[events] <= self.LIMIT
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
        if isinstance(self.column, range):
            if (self.lower, self.upper) != (None, None):
                raise ConfigError(
                    "RangeFilter: expected a range of row numbers alone, or a column "
                    f"with its bounds, got {self.column} and bounds"
                )
            return
        if not isinstance(self.column, str):
            raise ConfigError(
                "RangeFilter: expected the name of a column, got "
                + shorten(self.column)
            )
        for side in (self.lower, self.upper):
            if side is not None and not _is_bound(side):
                raise ConfigError(
                    "RangeFilter: expected a finite number as bound, or none, got "
                    + shorten(side)
                )
        lower = -np.inf if self.lower is None else self.lower
        upper = np.inf if self.upper is None else self.upper
        if not lower <= upper:
            raise ConfigError(
                f"RangeFilter: expected lower <= upper, got {lower} and {upper}"
            )

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        if isinstance(self.column, range):
            return _rows_with_numbers(self.column, len(tracks))
        values = _column(tracks, self.column)
        mask = np.ones(len(tracks), dtype=np.bool_)
        if self.lower is not None:
            mask &= values >= self.lower
        if self.upper is not None:
            mask &= values <= self.upper
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
        if not isinstance(parts, list | tuple) or not all(
            isinstance(part, Filter) for part in parts
        ):
            raise ConfigError(
                f"ConCatFilter: expected a list of filters, got {shorten(parts)}"
            )
        object.__setattr__(self, "filters", tuple(parts))

    def __call__(self, tracks: Tracks) -> BoolArray:
        """Mask of the rows to keep, shape (N,)."""
        mask = np.ones(len(tracks), dtype=np.bool_)
        for part in self.filters:
            mask &= part(tracks)
        return mask

    def __str__(self) -> str:
        return f"{MODULE}.ConCatFilter([{', '.join(map(str, self.filters))}])"

    def to_config(self) -> list[Any]:
        """Give the YAML form: a list of names or ``{name: parameters}``."""
        if len(self.filters) < 2:
            return [_entry(self)]
        return [_entry(part) for part in self.filters]


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


def _is_bound(value: object) -> bool:
    """Whether a value is a number that text and 64 bits can hold."""
    return (type(value) is float and math.isfinite(value)) or (
        type(value) is int and abs(value) < 2**63
    )


def _rows_with_numbers(numbers: range, n_rows: int) -> BoolArray:
    forward = numbers if numbers.step > 0 else numbers[::-1]
    row = np.arange(n_rows)
    mask: BoolArray = (row >= forward.start) & (row < forward.stop)
    mask &= (row - forward.start) % forward.step == 0
    return mask


def _first_of_each_track(tracks: Tracks, event: npt.NDArray[np.int64]) -> BoolArray:
    """Mark the first row of each (event, RecoZ, RecoTheta), shape (N,)."""
    mask = np.zeros(len(tracks), dtype=np.bool_)
    if len(tracks) == 0:
        return mask
    # Equal numbers have equal bits, once -0 is 0; one key sorts faster than two.
    target = (tracks.targets + np.float32(0)).view(np.uint64)[:, 0]
    # lexsort is stable: within equal keys the rows stay in the order of the file.
    order = np.lexsort((target, event))
    starts = np.ones(len(order), dtype=np.bool_)
    starts[1:] = False
    for key in (event, target):
        along = key[order]
        starts[1:] |= along[1:] != along[:-1]
    mask[order[starts]] = True
    return mask


def _column(tracks: Tracks, name: str) -> npt.NDArray[Any]:
    columns: dict[str, npt.NDArray[Any]] = {
        field: tracks.ids[field] for field in tracks.ids.dtype.names or ()
    }
    columns |= {"RecoZ": tracks.targets[:, 0], "RecoTheta": tracks.targets[:, 1]}
    if tracks.reference is not None:
        columns["ScaleZ"] = tracks.reference[:, 0]
        columns["ScaleTheta"] = tracks.reference[:, 1]
    columns |= tracks.extras
    if name not in columns:
        raise DataError(
            f"RangeFilter: the table has no column {shorten(name)}; "
            + did_you_mean(name, columns)
        )
    return columns[name]


def _entry(part: Filter) -> Any:
    name = type(part).__name__
    if isinstance(part, RangeFilter) and isinstance(part.column, range):
        return str(part)
    if isinstance(part, ConCatFilter):
        return {name: {"filters": [_entry(inner) for inner in part.filters]}}
    parameters = {
        field.name: getattr(part, field.name)
        for field in dataclasses.fields(part)
        if getattr(part, field.name) is not None
    }
    return {name: parameters} if parameters else name


def parse(text: str) -> Filter:
    """Read a filter expression by a whitelist; nothing is evaluated.

    Parameters
    ----------
    text : str
        Calls of known filters with constants and lists, such as
        ``dataset_filters.ConCatFilter([dataset_filters.Max2EventsFilter()])``.
        The prefix ``dataset_filters.`` may be left out.

    Returns
    -------
    Filter

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
    whole = all(type(value) is int and _is_bound(value) for value in values)
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
    if name not in FILTERS:
        raise ConfigError(
            f"filter: no filter {shorten(name)}; {did_you_mean(name, FILTERS)} "
            "(one of your own is known where NNT_PLUGINS names its module)"
        )
    kind = FILTERS[name]
    known = [field.name for field in dataclasses.fields(kind)]
    given = dict(zip(known, values, strict=False)) | dict(named)
    unknown = [key for key in named if key not in known]
    required = {
        field.name
        for field in dataclasses.fields(kind)
        if field.default is dataclasses.MISSING
    }
    twice = len(given) < len(values) + len(named)
    if unknown or twice or required - set(given):
        raise ConfigError(
            f"filter: expected {name}({', '.join(known)}), got "
            f"{shorten([*values, *(f'{key}=' for key in named)])}"
        )
    return kind(**given)


def from_config(value: object) -> Filter:
    """Read a filter from the value of a configuration.

    Parameters
    ----------
    value : str, list or None
        The text form, a list of ``Name`` or ``{Name: {parameter: value}}``
        (all must keep a row), or None for every row.

    Returns
    -------
    Filter

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
