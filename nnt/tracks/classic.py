"""Text of the classic chain: one row per track and expert, 37 to 47 columns.

37 columns without header; 42, 45 with header; and those that NNT writes itself,
which append ``NewZ`` and ``NewTheta``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nnt.detector import EXPERTS, N_INPUTS, N_TARGETS
from nnt.tracks import text
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
from nnt.types import F32

HEADLESS = (
    *(name for name in ID_COLUMNS if name != "nTracks"),
    *SIZE_COLUMNS,
    *INPUT_COLUMNS,
    *TARGET_COLUMNS,
)
"""The 37 columns of the generation that has no header."""
EXPERT_RANGE = f"an expert {EXPERTS[0]} .. {EXPERTS[-1]}"


def _checks(columns: text.Columns) -> Iterator[text.Check]:
    yield from text.beyond(columns, (*INPUT_COLUMNS, *TARGET_COLUMNS), 1)
    yield from text.infinite(columns, (*REFERENCE_COLUMNS, *EXTRA_FLOATS))
    yield "Expert", ~np.isin(columns["Expert"], EXPERTS), EXPERT_RANGE
    yield "iNodes", columns["iNodes"] != N_INPUTS, f"{N_INPUTS} inputs"
    yield "oNodes", columns["oNodes"] != N_TARGETS, f"{N_TARGETS} targets"


def _table(columns: text.Columns) -> Tracks:
    return Tracks(
        ids=make_ids(text.picked(columns, ID_COLUMNS), len(columns["Expert"])),
        inputs=text.stacked(columns, INPUT_COLUMNS),
        targets=text.stacked(columns, TARGET_COLUMNS),
        reference=_reference(columns),
        extras=text.picked(columns, (*EXTRA_FLOATS, *EXTRA_INTS)),
    )


def _reference(columns: text.Columns) -> F32 | None:
    """Outputs of the network that ran; NaN where a row has none.

    Outputs lie in [-1, 1]; programs mark rows without one by a number beyond, such
    as -999.
    """
    if not set(REFERENCE_COLUMNS) <= set(columns):
        return None
    reference = text.stacked(columns, REFERENCE_COLUMNS)
    reference[(np.abs(reference) > 1).any(axis=1)] = np.nan
    return reference


CLASSIC_LAYOUT = text.Layout(
    required=lambda _: HEADLESS,
    headless=HEADLESS,
    integers=frozenset({*ID_COLUMNS, *SIZE_COLUMNS, *EXTRA_INTS}),
    whole=frozenset(EXTRA_INTS),
    checks=_checks,
    table=_table,
)
