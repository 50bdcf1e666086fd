"""Text of the 3D Hough chain: one row per track, 32 or 131 columns.

27 inputs, or 126 with eleven bits of the hit pattern of each segment; then the targets,
two classes and the type of the track. No column names events, so that each row is an
event of its own, unless a file has the columns of the classic chain for them. Written
by ``CDCTrigger3DHNeuroDataModule`` of basf2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from nnt.detector import HOUGH3D, N_SUPERLAYERS
from nnt.tracks import text
from nnt.tracks.splitting import MIX
from nnt.tracks.table import (
    CLASS_COLUMNS,
    EVENT_COLUMNS,
    EXTRA_FLOATS,
    TARGET_COLUMNS,
    TYPE_COLUMN,
    UNNAMED_EVENTS,
    Tracks,
    input_columns,
    make_ids,
)
from nnt.types import F32, I64, U64

MAX_ALPHA_RAD = math.pi / 2 + 1e-5
"""The crossing angle itself is the input, with six digits."""
TRACK_TYPES = range(5)


def _inputs(names: Sequence[str]) -> tuple[str, ...]:
    """Inputs of a file with these columns: with the hit patterns if it has any."""
    fewest, most = HOUGH3D.input_sizes
    patterns = any("-extra_input" in name for name in names)
    return input_columns(most if patterns else fewest)


def _required(names: Sequence[str]) -> Sequence[str]:
    return (*_inputs(names), *TARGET_COLUMNS, *CLASS_COLUMNS, TYPE_COLUMN)


def _checks(columns: text.Columns) -> Iterator[text.Check]:
    inputs = _inputs([*columns])
    n_kinds = len(inputs) // N_SUPERLAYERS
    rel_ids, drifts, alphas, *bits = (inputs[i::n_kinds] for i in range(n_kinds))
    yield from text.infinite(columns, (*rel_ids, *EXTRA_FLOATS))
    yield from text.beyond(columns, (*drifts, *TARGET_COLUMNS), 1)
    yield from text.beyond(columns, alphas, MAX_ALPHA_RAD, "an angle in rad")
    for name in itertools.chain(*bits):
        yield name, ~np.isin(columns[name], (0, 1)), "0 or 1"
    for name in CLASS_COLUMNS:
        yield name, ~np.isin(columns[name], (-1, 1)), "a class -1 or 1"
    types = f"a track type {TRACK_TYPES[0]} .. {TRACK_TYPES[-1]}"
    yield TYPE_COLUMN, ~np.isin(columns[TYPE_COLUMN], TRACK_TYPES), types


def _table(columns: text.Columns) -> Tracks:
    inputs = text.stacked(columns, _inputs([*columns]))
    targets = text.stacked(columns, TARGET_COLUMNS)
    track_type = columns[TYPE_COLUMN].astype(np.int64)
    ids = text.picked(columns, EVENT_COLUMNS)
    if len(ids) < len(EVENT_COLUMNS):
        unnamed = np.full(len(inputs), UNNAMED_EVENTS)
        ids = {"Experiment": unnamed, "Event": numbers_of_rows(inputs, targets)}
    return Tracks(
        ids=make_ids(ids, len(inputs)),
        inputs=inputs,
        targets=targets,
        extras=text.picked(columns, EXTRA_FLOATS),
        classes=text.stacked(columns, CLASS_COLUMNS),
        track_type=track_type,
    )


def numbers_of_rows(inputs: F32, targets: F32) -> I64:
    """Number rows by their content: the same in every file, and for no other row."""
    words = np.concatenate([inputs, targets], axis=1) + np.float32(0)  # -0 is 0
    rng = np.random.default_rng(0)
    drawn = rng.integers(1, 2**63, (words.shape[1],), dtype=np.uint64)
    number: U64 = np.zeros(len(words), dtype=np.uint64)
    for i, factor in enumerate(drawn):
        number += words[:, i].view(np.uint32) * (2 * factor + 1)
    number ^= number >> np.uint64(32)
    number *= MIX
    return (number >> np.uint64(1)).astype(np.int64)


HOUGH3D_LAYOUT = text.Layout(
    required=_required,
    integers=frozenset({*EVENT_COLUMNS, TYPE_COLUMN}),
    checks=_checks,
    table=_table,
)
