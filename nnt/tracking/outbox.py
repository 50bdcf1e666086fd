"""What runs have logged and no store has confirmed yet, in memory and on local disk."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from nnt.errors import TrackingError

log = logging.getLogger(__name__)

WRITE_EVERY_S = 0.25
MAX_BYTES = 2 << 30
TABLES = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, run TEXT NOT NULL, kind TEXT NOT NULL,
    content TEXT NOT NULL, checksum INTEGER NOT NULL
);
"""
KINDS = (
    "create", "params", "tags", "metrics", "dataset", "file", "folder", "model",
    "model_metrics", "end",
)  # fmt: skip
"""Of entries; `Sender` has a method for each."""

Points = tuple[int, int, dict[str, float]]
"""Step, Unix time in ms, and the value of each curve there."""


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


class Outbox:
    """Entries in the order in which they were logged.

    Once it has a file, it survives the process: a SQLite database beside the files of
    the run. An entry is written at once, unless it is of metrics: these are written
    together with what comes in within a quarter of a second, so that one costs who logs
    it no more than an append. Where the disk is full, entries stay in memory, and are
    written as soon as there is room.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.about: dict[str, str] = {}
        """What delivery needs to know: the store, the parent run."""
        self.is_ending = Event()
        """Set when the model has come: it is large, and little comes after it."""
        self._lock = threading.RLock()
        self._waiting: dict[int, Entry] = {}
        self._unwritten: dict[int, Entry] = {}
        self._settled: set[int] = set()
        """Entries that the file still holds, although they have been delivered."""
        self._next = 1
        self._database: sqlite3.Connection | None = None
        self._last_write_s = 0.0
        self._is_synced = True
        self._is_failing = False

    def keep_in(self, path: Path, about: Mapping[str, str]) -> None:
        """Keep all entries in a file from now on."""
        with self._lock:
            self.path = path
            self.about = dict(about)
            self.write()

    def add(
        self, run_id: str, kind: str, *, is_doubtful: bool = False, **values: Any
    ) -> None:
        """Append an entry, whose values are not to be changed any more; never fails."""
        with self._lock:
            entry = Entry(run_id, kind, values, self._next, is_doubtful)
            self._next += 1
            self._waiting[entry.number] = self._unwritten[entry.number] = entry
            is_due = time.monotonic() - self._last_write_s > WRITE_EVERY_S
            if kind != "metrics" or is_due:
                self.write()
        if kind == "folder":
            self.is_ending.set()

    def write(self) -> None:
        """Bring what has changed to the file."""
        with self._lock:
            if self.path is None or not (self._unwritten or self._settled):
                return
            self._last_write_s = time.monotonic()
            try:
                self._commit(self._database or self._open(self.path))
            except (sqlite3.Error, OSError) as err:
                self._report(err)
            else:
                self._is_failing = False

    def _commit(self, database: sqlite3.Connection) -> None:
        with database:
            database.executemany(
                "DELETE FROM entries WHERE number = ?", [(n,) for n in self._settled]
            )
            database.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?)",
                map(_encode, self._unwritten.values()),
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
                    "INSERT OR REPLACE INTO about VALUES (?, ?)", self.about.items()
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
        with suppress(OSError), self.path.open("rb") as file:
            os.fdatasync(file.fileno())

    def waiting(self) -> list[Entry]:
        """Entries that no store has confirmed, in order."""
        with self._lock:
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
            self._shut()
            if self.path is not None and not self._waiting:
                for name in (self.path.name, f"{self.path.name}-journal"):
                    self.path.with_name(name).unlink(missing_ok=True)

    def abandon(self) -> None:
        """Leave the file as it is."""
        with self._lock:
            self._shut()
            self.path = None

    def _shut(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @classmethod
    def reopen(cls, path: Path) -> Outbox:
        """Open what another process has left; raise if it is no outbox."""
        outbox = cls()
        outbox.path, outbox.about = path, read_about(path)
        outbox._database = _connect(path)
        try:
            rows = outbox._database.execute("SELECT * FROM entries ORDER BY number")
            for row in rows:
                outbox._next = int(row[0]) + 1
                entry = _decode(*row)
                if entry is None:
                    outbox._settled.add(int(row[0]))
                else:
                    outbox._waiting[entry.number] = entry
        except (sqlite3.Error, ValueError, TypeError) as err:
            outbox.abandon()
            raise _not_one(path, err) from err
        if n_damaged := len(outbox._settled):
            log.warning(
                "tracking: %s holds %d damaged entries; they are left out",
                path,
                n_damaged,
            )
        return outbox


def read_about(path: Path) -> dict[str, str]:
    """Read for which store and run an outbox is; raise if it is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TrackingError(f"{path} is larger than {MAX_BYTES:,} bytes")
        with closing(_connect(path)) as database:
            found = dict(database.execute("SELECT name, value FROM about").fetchall())
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
    # Damaged text costs its entry, not the file.
    database.text_factory = lambda data: data.decode(errors="replace")
    # No second file that other computers would have to share, as WAL needs.
    database.execute("PRAGMA journal_mode = TRUNCATE")
    # A commit must not wait for the disk while a training does; `sync` does.
    database.execute("PRAGMA synchronous = OFF")
    return database


def _checksum(*values: object) -> int:
    return zlib.crc32(repr(values).encode(errors="replace"))


def _encode(entry: Entry) -> tuple[int | str, ...]:
    content = json.dumps(entry.values, separators=(",", ":"))
    row = entry.number, entry.run_id, entry.kind, content
    return *row, _checksum(*row)


def _decode(
    number: int, run_id: str, kind: str, content: str, checksum: int
) -> Entry | None:
    """Read an entry that comes from the disk; None if it is damaged."""
    is_whole = checksum == _checksum(number, run_id, kind, content)
    if not is_whole or kind not in KINDS:
        return None
    return Entry(run_id, kind, json.loads(content), number, is_doubtful=True)
