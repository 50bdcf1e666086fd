"""What is logged is kept in order, together and whole, whatever its file meets."""

from __future__ import annotations

import logging
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnt.errors import TrackingError
from nnt.tracking import find_waiting, sync
from nnt.tracking.local_runs import lock_run
from nnt.tracking.outbox import Entry, Outbox

ABOUT = {"uri": "sqlite:///x", "run": "r"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "outbox.db"


def reopened(path: Path) -> list[Entry]:
    outbox = Outbox.reopen(path)
    found = outbox.waiting()
    outbox.abandon()
    return found


def numbers(path: Path) -> list[str]:
    return [entry.values["values"]["a"] for entry in reopened(path)]


@pytest.fixture
def left(path: Path) -> Path:
    """The file that a process leaves when it dies."""
    outbox = Outbox()
    outbox.keep_in(path, ABOUT)
    for number in range(4):
        outbox.add("r", "tags", values={"a": str(number)})
    outbox.abandon()
    return path


def test_points_are_written_together_and_come_back_as_they_were(path: Path) -> None:
    outbox = Outbox()
    outbox.keep_in(path, ABOUT)
    outbox.add("a", "metrics", metrics={"x": 1 / 3}, step=1, time_ms=1)
    outbox.add("b", "metrics", metrics={"x": float("nan")}, step=1, time_ms=2)
    assert len(reopened(path)) < 2
    outbox.add("a", "metrics", metrics={"x": float("inf")}, step=2, time_ms=3)
    outbox.add("a", "tags", values={"k": "v"})
    found = [repr(entry.values) for entry in reopened(path)]
    assert found == [repr(entry.values) for entry in outbox.waiting()]
    assert len(found) == 4
    outbox.abandon()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.text(max_size=3)),
        st.tuples(st.just("points"), st.floats()),
        st.tuples(st.just("settle"), st.integers(0, 5)),
        st.sampled_from([("write", ""), ("file", ""), ("reopen", "")]),
    ),
    max_size=30,
)


@given(STEPS)
def test_the_file_holds_what_waits_after_any_steps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "outbox.db"
    outbox, step = Outbox(), 0
    for name, value in steps:
        waiting = outbox.waiting()
        if name == "add":
            outbox.add("r", "tags", values={"a": value})
        elif name == "points":
            step += 1
            outbox.add("r", "metrics", metrics={"x": value}, step=step, time_ms=0)
        elif name == "settle":
            outbox.settle(waiting[value : value + 1])
        elif name == "write":
            outbox.write()
        elif name == "file" and outbox.path is None:
            outbox.keep_in(path, ABOUT)
        elif name == "reopen" and path.exists():
            outbox.write()
            outbox.abandon()
            outbox = Outbox.reopen(path)
    expected = [(e.number, repr(e.values)) for e in outbox.waiting()]
    if outbox.path is None:
        return
    outbox.close()
    assert path.exists() == bool(expected)
    if expected:
        assert [(e.number, repr(e.values)) for e in reopened(path)] == expected


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow, as on a disk without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("is_full_from_the_start", [False, True])
def test_a_full_disk_costs_nothing_once_it_has_room_again(
    path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    is_full_from_the_start: bool,
) -> None:
    monkeypatch.setattr(logging.getLogger("nnt"), "propagate", True)
    outbox = Outbox()
    if not is_full_from_the_start:
        outbox.keep_in(path, ABOUT)
        outbox.add("r", "tags", values={"a": "first"})
    with full_disk():
        if is_full_from_the_start:
            outbox.keep_in(path, ABOUT)
            outbox.add("r", "tags", values={"a": "first"})
        for number in range(3):
            outbox.add("r", "tags", values={"a": str(number)})
        if not is_full_from_the_start:
            assert numbers(path) == ["first"]
    outbox.add("r", "tags", values={"a": "last"})
    assert numbers(path) == ["first", "0", "1", "2", "last"]
    assert caplog.text.count("cannot be written") == 1
    outbox.abandon()


def test_who_looks_at_the_file_of_a_training_at_work_does_not_disturb_it(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox()
    outbox.keep_in(path, ABOUT)
    outbox.add("r", "tags", values={"a": "0"})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        outbox.add("r", "tags", values={"a": "1"})
        other.execute("ROLLBACK")
    outbox.add("r", "tags", values={"a": "2"})
    assert numbers(path) == ["0", "1", "2"]
    assert not caplog.text
    outbox.abandon()


@pytest.mark.parametrize(
    "damage",
    [
        "content = replace(content, '1', '7')",
        "content = '[]'",
        "content = NULL",
        "content = CAST(x'7bff' AS TEXT)",
        "content = x'00ff'",
        "kind = 'end'",
        "kind = NULL",
        "run = 'another'",
        "checksum = checksum + 1",
        "checksum = 'x'",
    ],
)
def test_a_damaged_entry_costs_only_itself(
    left: Path,
    damage: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("nnt"), "propagate", True)
    with closing(sqlite3.connect(left)) as database, database:
        # SQLite itself would refuse some of it.
        database.execute("CREATE TABLE loose AS SELECT * FROM entries")
        database.execute("DROP TABLE entries")
        database.execute("ALTER TABLE loose RENAME TO entries")
        database.execute(f"UPDATE entries SET {damage} WHERE number = 2")
    assert numbers(left) == ["0", "2", "3"]
    assert "1 damaged entries" in caplog.text


@pytest.mark.parametrize("content", [b"", b"\n", b"SQLite format 3\0", b"x" * 9000])
def test_what_is_not_an_outbox_is_an_error(left: Path, content: bytes) -> None:
    left.write_bytes(content)
    with pytest.raises(TrackingError, match=r"outbox\.db: expected an outbox"):
        find_waiting(left.parent)


@pytest.mark.parametrize("cut", [100, 4096, 8192, -1, -4000])
def test_what_a_file_has_lost_is_reported(
    left: Path,
    cut: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("nnt"), "propagate", True)
    left.write_bytes(left.read_bytes()[:cut])
    try:
        found = numbers(left)
    except TrackingError as err:
        found, said = [], str(err)
    else:
        said = caplog.text
    assert found == [n for n in ("0", "1", "2", "3") if n in found]
    assert len(found) < 4
    assert "outbox.db" in said


def test_the_outbox_of_a_training_at_work_is_left_to_it(left: Path) -> None:
    with (
        lock_run(left.parent, "r"),
        pytest.raises(TrackingError, match="still running"),
    ):
        sync(find_waiting(left.parent))
