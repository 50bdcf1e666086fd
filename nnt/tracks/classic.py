"""Text of the classic chain: one row per track and expert, 37 to 47 columns.

37 columns without header; 42, 45 with header; and those that NNT writes itself,
which append ``NewZ`` and ``NewTheta``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nnt.detector import EXPERTS, N_INPUTS, N_TARGETS
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
from nnt.tracks.text import (
    Check,
    Columns,
    Layout,
    beyond,
    infinite,
    picked,
    stacked,
)
from nnt.types import F32

HEADLESS = (
    *(name for name in ID_COLUMNS if name != "nTracks"),
    *SIZE_COLUMNS,
    *INPUT_COLUMNS,
    *TARGET_COLUMNS,
)
"""The 37 columns of the generation that has no header."""
EXPERT_RANGE = f"an expert {EXPERTS[0]} .. {EXPERTS[-1]}"


def _checks(columns: Columns) -> Iterator[Check]:
    yield from beyond(columns, (*INPUT_COLUMNS, *TARGET_COLUMNS), 1)
    yield from infinite(columns, (*REFERENCE_COLUMNS, *EXTRA_FLOATS))
    yield "Expert", ~np.isin(columns["Expert"], EXPERTS), EXPERT_RANGE
    yield "iNodes", columns["iNodes"] != N_INPUTS, f"{N_INPUTS} inputs"
    yield "oNodes", columns["oNodes"] != N_TARGETS, f"{N_TARGETS} targets"


def _table(columns: Columns) -> Tracks:
    return Tracks(
        ids=make_ids(picked(columns, ID_COLUMNS), len(columns["Expert"])),
        inputs=stacked(columns, INPUT_COLUMNS),
        targets=stacked(columns, TARGET_COLUMNS),
        reference=_reference(columns),
        extras=picked(columns, (*EXTRA_FLOATS, *EXTRA_INTS)),
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
    required=lambda _: HEADLESS,
    headless=HEADLESS,
    integers=frozenset({*ID_COLUMNS, *SIZE_COLUMNS, *EXTRA_INTS}),
    whole=frozenset(EXTRA_INTS),
    checks=_checks,
    table=_table,
)
