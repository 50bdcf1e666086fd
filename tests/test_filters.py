"""Filters: each against a plain reference, and what the parser refuses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nnt import filters
from nnt.errors import ConfigError
from nnt.tracks import ID_COLUMNS, Tracks


@pytest.fixture
def tracks() -> Tracks:
    rng = np.random.default_rng(3)
    n = 400
    ids = np.zeros(n, dtype=[(name, np.int64) for name in ID_COLUMNS])
    ids["Event"] = rng.integers(0, 120, n) + 2**40
    ids["Run"] = rng.integers(0, 2, n)
    ids["Expert"] = rng.integers(0, 5, n)
    targets = rng.choice(np.array([-0.5, 0.0, 0.5], np.float32), (n, 2))
    inputs = np.zeros((n, 27), dtype=np.float32)
    return Tracks(ids=ids, inputs=inputs, targets=targets, reference=None, extras={})


Row = tuple[tuple[int, int], tuple[float, float], int]
"""Run and event, z and theta, expert."""

PLAIN: dict[str, Callable[[list[Row]], list[bool]]] = {
    "DuplicateEventsFilter()": lambda rows: [
        row[:2] not in [other[:2] for other in rows[:i]] for i, row in enumerate(rows)
    ],
    "Max2EventsFilter()": lambda rows: [
        len({track for other, track, _ in rows if other == event}) <= 2
        for event, *_ in rows
    ],
    "ExpertFilter(2)": lambda rows: [row[2] == 2 for row in rows],
    "ExpertFilter(-1)": lambda rows: [True for _ in rows],
    "RangeFilter('RecoZ', -0.1, 0.5)": lambda rows: [
        -0.1 <= z <= 0.5 for _, (z, _), _ in rows
    ],
    "ConCatFilter([ExpertFilter(2), RangeFilter('RecoZ', -0.1)])": lambda rows: [
        expert == 2 and z >= -0.1 for _, (z, _), expert in rows
    ],
}
"""Filters, and what they keep of rows."""


@pytest.mark.parametrize("text", PLAIN)
def test_a_filter_keeps_what_loops_keep(tracks: Tracks, text: str) -> None:
    events = zip(tracks.ids["Run"].tolist(), tracks.ids["Event"].tolist(), strict=True)
    targets = map(tuple, tracks.targets.tolist())
    rows = list(zip(events, targets, tracks.ids["Expert"].tolist(), strict=True))
    mask = filters.parse(text)(tracks)
    assert mask.any()
    assert mask.tolist() == PLAIN[text](rows)


@pytest.mark.parametrize(
    "numbers",
    [
        range(10), range(5, 300), range(0, 400, 7), range(390, 999), range(9, 3),
        range(-5, 5), range(300, -1, -9), range(0, -400, -1), range(399, 400),
        range(10**18, 10**18 + 5),
    ],
    ids=str,
)  # fmt: skip
def test_a_range_keeps_the_rows_with_these_numbers(
    tracks: Tracks, numbers: range
) -> None:
    mask = filters.parse(f"dataset_filters.RangeFilter({numbers})")(tracks)
    assert mask.tolist() == [number in numbers for number in range(len(tracks))]


@pytest.mark.parametrize("name", ["DuplicateEventsFilter", "Max2EventsFilter"])
def test_empty_table(tracks: Tracks, name: str) -> None:
    assert filters.parse(f"{name}()")(tracks[:0]).shape == (0,)


@pytest.mark.parametrize(
    "text",
    [
        "dataset_filters.IdentityFilter()",
        "dataset_filters.ExpertFilter(-1)",
        "dataset_filters.RangeFilter('RecoZ', -0.5, None)",
        "dataset_filters.ConCatFilter([dataset_filters.Max2EventsFilter(), "
        "dataset_filters.DuplicateEventsFilter()])",
        "dataset_filters.ConCatFilter([])",
        "dataset_filters.RangeFilter(range(0, 100))",
        "dataset_filters.RangeFilter(range(100, -1, -3))",
        "dataset_filters.ConCatFilter([dataset_filters.RangeFilter(range(3, 9)), "
        "dataset_filters.ExpertFilter(1)])",
    ],
)
def test_forms_come_back(text: str) -> None:
    assert str(filters.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "dataset_filters.__class__()",
        "dataset_filters.IdentityFilter().__call__()",
        "[IdentityFilter() for _ in 'ab']",
        "IdentityFilter",
        "IdentityFilter()()",
        "ConCatFilter(*[1])",
        "ExpertFilter(**{'expert': 1})",
        "ExpertFilter(7)",
        "ExpertFilter(True)",
        "ExpertFilter(1, expert=1)",
        "ExpertFilter(1, 2)",
        "ConCatFilter([1])",
        "RangeFilter('RecoZ', 1, -1)",
        "RangeFilter(range(0, 9), 1, 2)",
        "RangeFilter(range(0, 9), upper=2)",
        "RangeFilter(range())",
        "RangeFilter(range(0, 9, 0))",
        "RangeFilter(range(0, 9, 1, 1))",
        "RangeFilter(range(0, 9.5))",
        "RangeFilter(range(0, True))",
        "RangeFilter(range(0, '9'))",
        "RangeFilter(range(stop=9))",
        "RangeFilter(range(9**99))",
        "RangeFilter(range(0, 1" + "0" * 60 + "))",
        "range(9)",
        "ExpertFilter(range(3))",
        "lambda: 0",
        "'\\d'",
        "1()",
        "",
        "\0",
        "(" * 1000,
        "ConCatFilter([" * 150 + "])" * 150,
        "-" * 3000 + "1",
        "a" * 1_000_000,
    ],
    ids=lambda text: text[:30],
)
def test_refused(text: str) -> None:
    with pytest.raises(ConfigError) as err:
        filters.parse(text)
    assert len(str(err.value)) < 400


def test_nearest_name_is_told() -> None:
    with pytest.raises(ConfigError, match="did you mean 'ExpertFilter'"):
        filters.parse("dataset_filters.ExprtFilter(1)")
