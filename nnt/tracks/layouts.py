"""The text formats: which columns they have, and what these may hold.

Classic chain: one row per track and expert, 37 columns without header; 42, 45 with
header; and those that NNT writes itself, which append ``NewZ`` and ``NewTheta``.

3D Hough chain: one row per track, 32 or 131 columns; 27 inputs, or 126 with eleven bits
of the hit pattern of each segment; then the targets, two classes and the type of the
track. No column names events, so that each row is an event of its own, unless a file
has the columns of the classic chain for them. Written by
``CDCTrigger3DHNeuroDataModule`` of basf2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.detector import EXPERTS, HOUGH3D, N_INPUTS, N_TARGETS
from nnt.tracks.splitting import numbers_of_rows
from nnt.tracks.table import (
    CLASS_COLUMNS,
    EVENT_COLUMNS,
    EXTRA_FLOATS,
    EXTRA_INTS,
    ID_COLUMNS,
    INPUT_COLUMNS,
    REFERENCE_COLUMNS,
    SIZE_COLUMNS,
    TARGET_COLUMNS,
    TYPE_COLUMN,
    UNNAMED_EVENTS,
    Tracks,
    input_columns,
    make_ids,
)
from nnt.types import F32, BoolArray

Columns = Mapping[str, npt.NDArray[Any]]
Rule = tuple[Callable[[npt.NDArray[Any]], BoolArray], str]
"""Which values a column may hold, and how these are called."""

HEADLESS = (
    *(name for name in ID_COLUMNS if name != "nTracks"),
    *SIZE_COLUMNS,
    *INPUT_COLUMNS,
    *TARGET_COLUMNS,
)
"""The 37 columns of the generation that has no header."""
MAX_ALPHA_RAD = math.pi / 2 + 1e-5
"""The crossing angle itself is the input, with six digits."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """The text format of one chain: its columns, and what they may hold."""

    required: Callable[[Sequence[str]], Sequence[str]]
    """Columns that a header of these names must have."""
    headless: tuple[str, ...] = ()
    """Columns of files without a header, if there are such files."""
    integers: frozenset[str]
    """Columns of integers; all others hold numbers."""
    whole: frozenset[str] = frozenset()
    """Columns of integers that some programs write as ``1822.000000``."""
    rules: Mapping[str, Rule]
    """By columns, of which a file need not have all."""
    table: Callable[[Columns], Tracks]
    """The rows as a table; columns that it does not know are left out."""


def picked(columns: Columns, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Those of the named columns that a file has."""
    return {name: columns[name] for name in names if name in columns}


def stacked(columns: Columns, names: Sequence[str]) -> F32:
    """Columns side by side, shape (N, len(names))."""
    table = np.empty((len(columns[names[0]]), len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        table[:, i] = columns[name]
    return table


def within(limit: float, expected: str = "") -> Rule:
    """Allow numbers up to a limit on either side."""
    expected = expected or f"a number in [-{limit:g}, {limit:g}]"
    return lambda values: np.abs(values) <= limit, expected


def one_of(choices: Sequence[int], expected: str) -> Rule:
    """Allow these numbers alone."""
    return lambda values: np.any([values == c for c in choices], axis=0), expected


FINITE: Rule = np.isfinite, "a finite number"


def _classic_table(columns: Columns) -> Tracks:
    reference = None
    if set(REFERENCE_COLUMNS) <= set(columns):
        reference = stacked(columns, REFERENCE_COLUMNS)
        # Programs mark rows without outputs by a number beyond, such as -999.
        reference[(np.abs(reference) > 1).any(axis=1)] = np.nan
    return Tracks(
        ids=make_ids(picked(columns, ID_COLUMNS), len(columns["Expert"])),
        inputs=stacked(columns, INPUT_COLUMNS),
        targets=stacked(columns, TARGET_COLUMNS),
        reference=reference,
        extras=picked(columns, (*EXTRA_FLOATS, *EXTRA_INTS)),
    )


CLASSIC_LAYOUT = Layout(
    required=lambda _: HEADLESS,
    headless=HEADLESS,
    integers=frozenset({*ID_COLUMNS, *SIZE_COLUMNS, *EXTRA_INTS}),
    whole=frozenset(EXTRA_INTS),
    rules={
        **dict.fromkeys((*INPUT_COLUMNS, *TARGET_COLUMNS), within(1)),
        **dict.fromkeys((*REFERENCE_COLUMNS, *EXTRA_FLOATS), FINITE),
        "Expert": one_of(EXPERTS, f"an expert {EXPERTS[0]} .. {EXPERTS[-1]}"),
        "iNodes": one_of([N_INPUTS], f"{N_INPUTS} inputs"),
        "oNodes": one_of([N_TARGETS], f"{N_TARGETS} targets"),
    },
    table=_classic_table,
)


def _hough_inputs(names: Columns | Sequence[str]) -> tuple[str, ...]:
    """Inputs of a file with these columns: with the hit patterns if it has any."""
    fewest, most = HOUGH3D.input_sizes
    patterns = any("-extra_input" in name for name in names)
    return input_columns(most if patterns else fewest)


def _hough_rule(name: str) -> Rule:
    """Rule for an input; those of the hit patterns are bits."""
    by_kind = {
        "relID": FINITE,
        "driftT": within(1),
        "alpha": within(MAX_ALPHA_RAD, "an angle in rad"),
    }
    return by_kind.get(name.partition("-")[2], one_of([0, 1], "0 or 1"))


def _hough_table(columns: Columns) -> Tracks:
    inputs = stacked(columns, _hough_inputs(columns))
    targets = stacked(columns, TARGET_COLUMNS)
    ids = picked(columns, EVENT_COLUMNS)
    if len(ids) < len(EVENT_COLUMNS):
        unnamed = np.full(len(inputs), UNNAMED_EVENTS)
        ids = {"Experiment": unnamed, "Event": numbers_of_rows(inputs, targets)}
    return Tracks(
        ids=make_ids(ids, len(inputs)),
        inputs=inputs,
        targets=targets,
        extras=picked(columns, EXTRA_FLOATS),
        classes=stacked(columns, CLASS_COLUMNS),
        track_type=columns[TYPE_COLUMN].astype(np.int64),
    )


HOUGH3D_LAYOUT = Layout(
    required=lambda names: (
        *_hough_inputs(names),
        *TARGET_COLUMNS,
        *CLASS_COLUMNS,
        TYPE_COLUMN,
    ),
    integers=frozenset({*EVENT_COLUMNS, TYPE_COLUMN}),
    rules={
        **{name: _hough_rule(name) for name in input_columns(max(HOUGH3D.input_sizes))},
        **dict.fromkeys(TARGET_COLUMNS, within(1)),
        **dict.fromkeys(CLASS_COLUMNS, one_of([-1, 1], "a class -1 or 1")),
        **dict.fromkeys(EXTRA_FLOATS, FINITE),
        TYPE_COLUMN: one_of(range(5), "a track type 0 .. 4"),
    },
    table=_hough_table,
)
LAYOUTS = (CLASSIC_LAYOUT, HOUGH3D_LAYOUT)
"""All formats of text; a file is of the one whose columns it has."""
