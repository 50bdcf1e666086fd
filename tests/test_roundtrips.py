"""What NNT writes it reads back: tables, configurations, filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nnt import filters
from nnt.config import load_config
from nnt.tracks import ID_COLUMNS, Tracks, make_ids, read_tracks, write_tracks

UNIT = st.floats(-1, 1, width=32)
EXPERT = st.integers(0, 4)
ANY_ID = st.integers(0, 2**53)


def floats(n_rows: int, n_columns: int) -> st.SearchStrategy[npt.NDArray[Any]]:
    return arrays(np.float32, (n_rows, n_columns), elements=UNIT)


@st.composite
def tables(draw: st.DrawFn) -> Tracks:
    n_rows = draw(st.integers(1, 8))
    ids = {
        name: draw(st.lists(ANY_ID, min_size=n_rows, max_size=n_rows))
        for name in ID_COLUMNS
    }
    ids["Expert"] = draw(st.lists(EXPERT, min_size=n_rows, max_size=n_rows))
    reference = draw(floats(n_rows, 2))
    # Rows of zeros are those that the reference network has not seen.
    reference[~reference.any(axis=1)] = np.nan
    return Tracks(
        ids=make_ids(ids, n_rows),
        inputs=draw(floats(n_rows, 27)),
        targets=draw(floats(n_rows, 2)),
        reference=None if np.isnan(reference).all() else reference,
    )


@pytest.mark.parametrize("suffix", ["txt", "gz"])
@settings(max_examples=25)
@given(table=tables())
def test_tables(
    table: Tracks, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path: Path = tmp_path_factory.mktemp("tables") / f"table.{suffix}"
    write_tracks(table, path)
    again = read_tracks(path, use_cache=False)
    # The digest covers ids, inputs, targets and reference, bit for bit; the text
    # form knows no negative zero apart from zero, so both are made equal first.
    assert positive_zeros(again).digest == positive_zeros(table).digest


def positive_zeros(table: Tracks) -> Tracks:
    reference = None if table.reference is None else table.reference + 0
    return Tracks(
        ids=table.ids,
        inputs=table.inputs + 0,
        targets=table.targets + 0,
        reference=reference,
    )


LEAVES = st.one_of(
    st.just(filters.IdentityFilter()),
    st.just(filters.Max2EventsFilter()),
    st.just(filters.DuplicateEventsFilter()),
    st.builds(filters.ExpertFilter, EXPERT),
    st.builds(filters.RangeFilter, st.just("RecoZ"), st.floats(-1, 0), st.floats(0, 1)),
)
ANY_FILTER = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        filters.ConCatFilter, st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


@given(chosen=ANY_FILTER)
def test_filters_as_text(chosen: filters.Filter) -> None:
    assert filters.parse(str(chosen)) == chosen


def as_yaml(part: filters.Filter) -> dict[str, Any]:
    """What a person writes for a filter in a list."""
    if isinstance(part, filters.ConCatFilter):
        return {"ConCatFilter": {"filters": [as_yaml(p) for p in part.filters]}}
    return {type(part).__name__: vars(part)}


@given(chosen=ANY_FILTER)
def test_filters_as_yaml(chosen: filters.Filter) -> None:
    assert filters.from_config([as_yaml(chosen)]) == chosen


KEYS = st.fixed_dictionaries(
    {"data": st.just({"files": ["a.gz"], "split": [0.5, 0.25, 0.25]})},
    optional={
        "learning_rate": st.floats(1e-8, 1.0),
        "batch_size": st.integers(1, 10**6),
        "epochs": st.integers(0, 10**5),
        "act": st.sampled_from(["tanh", "tanh/2", "relu", "selu"]),
        "out_size": st.sampled_from([1, 2]),
        "gradient_clip": st.none() | st.floats(1e-3, 1e3),
        "description": st.text(st.characters(codec="utf-8", categories=["L", "N"])),
        "filter": ANY_FILTER.map(str),
        "expert_2": st.fixed_dictionaries({"epochs": st.integers(0, 9)}),
    },
)


@given(keys=KEYS)
def test_configurations(
    keys: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = load_config(keys)
    path = tmp_path_factory.mktemp("configs") / "again.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    again = load_config(path)
    assert again == config
    assert again.for_expert(2) == config.for_expert(2)
