"""Text of the classic chain: one row per track and expert, 37 to 47 columns.

37 columns without header; 42, 45 with header; and those that NNT writes itself,
which append ``NewZ`` and ``NewTheta``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from nnt.detector import CLASSIC, EXPERTS, N_INPUTS, N_TARGETS
from nnt.tracks.table import (
    EXTRA_FLOATS,
    EXTRA_INTS,
    ID_COLUMNS,
    INPUT_COLUMNS,
    REFERENCE_COLUMNS,
    SIZE_COLUMNS,
    TARGET_COLUMNS,
    Tracks,
    make_ids,
)
from nnt.tracks.text import Check, Columns, Layout, beyond, stacked
from nnt.types import F32

__all__ = ["CLASSIC_LAYOUT"]

HEADLESS = (
    *(name for name in ID_COLUMNS if name != "nTracks"),
    *SIZE_COLUMNS,
    *INPUT_COLUMNS,
    *TARGET_COLUMNS,
)
"""The 37 columns of the generation that has no header."""
EXPERT_RANGE = f"an expert {EXPERTS[0]} .. {EXPERTS[-1]}"


def _required(_: Sequence[str]) -> Sequence[str]:
    return HEADLESS


def _checks(columns: Columns) -> Iterator[Check]:
    yield from beyond(columns, (*INPUT_COLUMNS, *TARGET_COLUMNS), 1)
    for name in sorted(set(columns) & {*REFERENCE_COLUMNS, *EXTRA_FLOATS}):
        yield name, ~np.isfinite(columns[name]), "a finite number"
    yield "Expert", ~np.isin(columns["Expert"], EXPERTS), EXPERT_RANGE
    yield "iNodes", columns["iNodes"] != N_INPUTS, f"{N_INPUTS} inputs"
    yield "oNodes", columns["oNodes"] != N_TARGETS, f"{N_TARGETS} targets"


def _table(columns: Columns) -> Tracks:
    ids = {name: columns[name] for name in ID_COLUMNS if name in columns}
    extras = (name for name in (*EXTRA_FLOATS, *EXTRA_INTS) if name in columns)
    return Tracks(
        ids=make_ids(ids, len(columns["Expert"])),
        inputs=stacked(columns, INPUT_COLUMNS),
        targets=stacked(columns, TARGET_COLUMNS),
        reference=_reference(columns),
        extras={name: columns[name] for name in extras},
    )


def _reference(columns: Columns) -> F32 | None:
    """Outputs of the network that ran; NaN where a row has none.

    Outputs lie in [-1, 1]; programs mark rows without one by a number beyond, such
    as -999.
    """
    if not set(REFERENCE_COLUMNS) <= set(columns):
        return None
    reference = stacked(columns, REFERENCE_COLUMNS)
    reference[(np.abs(reference) > 1).any(axis=1)] = np.nan
    return reference


CLASSIC_LAYOUT = Layout(
    chain=CLASSIC,
    required=_required,
    headless=HEADLESS,
    integers=frozenset({*ID_COLUMNS, *SIZE_COLUMNS, *EXTRA_INTS}),
    whole=frozenset(EXTRA_INTS),
    checks=_checks,
    table=_table,
)
