"""What runs have logged and no store has confirmed yet, in memory and on local disk."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from nnt.errors import TrackingError

__all__ = ["MAX_POINTS", "Entry", "Outbox", "Points", "read_about"]

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.25
MAX_POINTS = 996
"""Points in one entry; a server refuses more than 1,000 in one call."""
MAX_BYTES = 2 << 30
TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, run TEXT NOT NULL, kind TEXT NOT NULL,
    content TEXT NOT NULL
);
"""

Points = tuple[int, int, dict[str, float]]
"""Step, Unix time in ms, and the value of each curve there."""

FIELDS: dict[str, dict[str, type]] = {
    "create": {"name": str, "values": dict, "parent": str, "time_ms": int},
    "params": {"values": dict},
    "tags": {"values": dict},
    "metrics": {"points": list},
    "dataset": {
        "name": str,
        "digest": str,
        "source": str,
        "context": str,
        "n_rows": int,
    },
    "file": {"path": str, "folder": str},
    "folder": {"path": str, "folder": str},
    "model": {"values": dict},
    "model_metrics": {
        "metrics": dict,
        "step": int,
        "time_ms": int,
        "name": str,
        "digest": str,
    },
    "end": {"status": str, "time_ms": int},
}
"""Kinds of entries, and what each must hold."""


@dataclass(slots=True, eq=False)
class Entry:
    """One operation on a run."""

    run_id: str
    kind: str
    values: dict[str, Any]
    number: int = 0
    """Place in the order in which entries were logged."""
    is_doubtful: bool = False
    """Whether the store may hold it, or a part of it, already."""
    n_points: int = 0
    """How many points of curves it holds."""


class Outbox:
    """Entries in the order in which they were logged.

    Once it has a file, it survives the process: a SQLite database beside the files of
    the run. An entry is written within a quarter of a second while others come in, and
    at once unless it is of metrics. What comes in for the curves of a run meanwhile is
    one entry, and costs who logs it no more than an append. Where the disk is full,
    entries stay in memory, and are written as soon as there is room.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.is_ending = Event()
        """Set when the model has come: it is large, and little comes after it."""
        self._lock = threading.RLock()
        self._waiting: dict[int, Entry] = {}
        self._growing: dict[str, Entry] = {}
        """Metrics of each run that have not been written yet."""
        self._unwritten: dict[int, Entry] = {}
        self._settled: set[int] = set()
        """Entries that the file still holds, although they have been delivered."""
        self._next = 1
        self._about: dict[str, str] = {}
        self._database: sqlite3.Connection | None = None
        self._last_write_s = 0.0
        self._is_synced = True
        self._is_failing = False

    def keep_in(self, path: Path, about: Mapping[str, str]) -> None:
        """Keep all entries in a file from now on.

        Parameters
        ----------
        path : Path
            Of the file, anew.
        about : mapping
            What delivery needs to know: the store, the parent run.
        """
        with self._lock:
            self.path = path
            self._about = dict(about)
            self._unwritten = dict(self._waiting)
            self.write()

    def add(self, run_id: str, kind: str, **values: Any) -> None:
        """Append an entry; never fails."""
        with self._lock:
            self._growing.clear()
            self._append(Entry(run_id, kind, values))
            self.write()
        if kind == "folder":
            self.is_ending.set()

    def add_points(
        self, run_id: str, values: dict[str, float], step: int, time_ms: int
    ) -> None:
        """Append points of several curves; costs a microsecond and never fails.

        Parameters
        ----------
        run_id : str
            Of the run.
        values : dict
            The value of each curve; not to be changed any more.
        step : int
            Of all of them.
        time_ms : int
            Of all of them, Unix time.
        """
        with self._lock:
            entry = self._growing.get(run_id)
            if entry is None or entry.n_points + len(values) > MAX_POINTS:
                entry = Entry(run_id, "metrics", {"points": []})
                self._growing[run_id] = entry
                self._append(entry)
            entry.values["points"].append((step, time_ms, values))
            entry.n_points += len(values)
            if time.monotonic() - self._last_write_s > WRITE_EVERY_S:
                self.write()

    def _append(self, entry: Entry) -> None:
        entry.number = self._next
        self._next += 1
        self._waiting[entry.number] = entry
        if self.path is not None:
            self._unwritten[entry.number] = entry

    def write(self) -> None:
        """Bring what has changed to the file."""
        with self._lock:
            # What is written grows no more.
            self._growing.clear()
            if self.path is None or not (self._unwritten or self._settled):
                return
            self._last_write_s = time.monotonic()
            try:
                self._commit(self.path)
            except (sqlite3.Error, OSError) as err:
                self._report(err)
            else:
                self._is_failing = False

    def _commit(self, path: Path) -> None:
        database = self._database or self._open(path)
        with database:
            database.executemany(
                "DELETE FROM entries WHERE number = ?", [(n,) for n in self._settled]
            )
            database.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?)",
                [
                    (e.number, e.run_id, e.kind, _encode(e.values))
                    for e in self._unwritten.values()
                ],
            )
        self._settled.clear()
        self._unwritten.clear()
        self._is_synced = False

    def _open(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = _connect(path)
        try:
            database.executescript(TABLES)
            with database:
                database.executemany(
                    "INSERT OR REPLACE INTO about VALUES (?, ?)", self._about.items()
                )
        except sqlite3.Error:
            database.close()
            raise
        self._database = database
        return database

    def _report(self, err: Exception) -> None:
        if "locked" in str(err):
            return  # somebody looks at it; it is written the next time
        if not self._is_failing:
            log.warning(
                "tracking: %s cannot be written (%s); what is logged is kept in "
                "memory until it can",
                self.path,
                err,
            )
        self._is_failing = True

    def sync(self) -> None:
        """Bring the file to the disk, so that it outlives the machine."""
        self.write()
        if self._is_synced or self.path is None:
            return
        self._is_synced = True
        with suppress(OSError):
            handle = os.open(self.path, os.O_RDONLY)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)

    def waiting(self) -> list[Entry]:
        """Entries that no store has confirmed, in order; none grows any more."""
        with self._lock:
            self._growing.clear()
            return list(self._waiting.values())

    def settle(self, entries: Iterable[Entry]) -> None:
        """Take entries as delivered, or as refused for good."""
        with self._lock:
            for entry in entries:
                if self._waiting.pop(entry.number, None) is None:
                    continue
                if self._unwritten.pop(entry.number, None) is None:
                    self._settled.add(entry.number)

    def close(self) -> None:
        """Remove the file if all is delivered, else leave it whole."""
        with self._lock:
            self.sync()
            if self._database is not None:
                self._database.close()
                self._database = None
            if self.path is not None and not self._waiting:
                for name in (self.path.name, f"{self.path.name}-journal"):
                    self.path.with_name(name).unlink(missing_ok=True)

    def abandon(self) -> None:
        """Leave the file as it is."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None
            self.path = None

    @classmethod
    def reopen(cls, path: Path) -> Outbox:
        """Open what another process has left.

        Raises
        ------
        TrackingError
            It is not an outbox, or it is damaged.
        """
        outbox = cls()
        outbox._about = read_about(path)
        outbox.path = path
        n_damaged = 0
        try:
            outbox._database = _connect(path)
            for row in outbox._database.execute(
                "SELECT number, run, kind, content FROM entries ORDER BY number"
            ):
                entry = _decode(*row)
                outbox._next = int(row[0]) + 1
                if entry is None:
                    n_damaged += 1
                    outbox._settled.add(int(row[0]))
                else:
                    outbox._waiting[entry.number] = entry
        except (sqlite3.Error, ValueError, OverflowError) as err:
            raise _not_one(path, err) from err
        if n_damaged:
            log.warning(
                "tracking: %s holds %d damaged entries; they are left out",
                path,
                n_damaged,
            )
        return outbox


def read_about(path: Path) -> dict[str, str]:
    """Read for which store and run an outbox is.

    Raises
    ------
    TrackingError
        It is not an outbox, or it is damaged.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TrackingError(f"{path} is larger than {MAX_BYTES:,} bytes")
        database = _connect(path)
        try:
            found = dict(database.execute("SELECT name, value FROM about").fetchall())
        finally:
            database.close()
    except (sqlite3.Error, OSError, ValueError) as err:
        raise _not_one(path, err) from err
    if not all(isinstance(found.get(name), str) for name in ("uri", "run")):
        raise TrackingError(f"{path}: it names neither store nor run")
    return {str(name): str(value) for name, value in found.items()}


def _not_one(path: Path, err: Exception) -> TrackingError:
    return TrackingError(
        f"{path}: expected an outbox of NNT, found {err}; metrics.csv of each expert "
        "holds every epoch, and a training that is resumed logs what is missing"
    )


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=0.1, check_same_thread=False)
    # No second file that other computers would have to share, as WAL needs.
    database.execute("PRAGMA journal_mode = TRUNCATE")
    # A commit must not wait for the disk while a training does; `sync` does.
    database.execute("PRAGMA synchronous = OFF")
    return database


def _encode(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _decode(number: Any, run_id: Any, kind: Any, content: Any) -> Entry | None:
    """Check an entry that comes from the disk; None if it is none."""
    try:
        values = json.loads(content)
    except (ValueError, TypeError, RecursionError):
        return None
    if not (isinstance(run_id, str) and kind in FIELDS and isinstance(values, dict)):
        return None
    if not all(isinstance(values.get(k), t) for k, t in FIELDS[kind].items()):
        return None
    entry = Entry(run_id, kind, values, int(number), is_doubtful=True)
    if kind == "metrics":
        points = [_points(one) for one in values["points"]]
        entry.values = {"points": points}
        entry.n_points = sum(len(point[2]) for point in points if point)
        return entry if all(points) else None
    texts = values.get("values", {}).values()
    numbers = values.get("metrics", {}).values()
    is_whole = all(isinstance(text, str) for text in texts)
    return entry if is_whole and all(type(v) is float for v in numbers) else None


def _points(found: Any) -> Points | None:
    try:
        step, time_ms, values = found
        is_whole = (type(step), type(time_ms)) == (int, int) and all(
            type(value) is float for value in values.values()
        )
    except (ValueError, TypeError, AttributeError):
        return None
    return (step, time_ms, values) if is_whole else None
