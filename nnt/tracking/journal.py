"""What runs have logged and no store has confirmed yet, in memory and on local disk."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, Any

from nnt.errors import TrackingError, shorten
from nnt.files import write_atomically

__all__ = ["Journal", "Points", "Record", "read_header"]

log = logging.getLogger(__name__)

FORMAT = 2
READABLE = (1, 2)
"""In the first format, metrics were one step each."""
JOURNAL = "journal.jsonl"
PROGRESS = "delivered.json"
WRITE_EVERY_S = 0.25
MAX_POINTS = 996
"""Points in one operation; a server refuses more than 1,000 in one call."""
MAX_BYTES = 2 << 30

Points = tuple[int, int, dict[str, float]]
"""Step, Unix time in ms, and the value of each curve there."""

FIELDS: dict[str, dict[str, type]] = {
    "create": {"name": str, "values": dict, "parent": str, "time_ms": int},
    "params": {"values": dict},
    "tags": {"values": dict},
    "metrics": {"points": list},
    "dataset": {
        "name": str, "digest": str, "source": str, "context": str, "n_rows": int,
    },
    "file": {"path": str, "folder": str},
    "folder": {"path": str, "folder": str},
    "end": {"status": str, "time_ms": int},
}  # fmt: skip
"""Kinds of operations, and what each must tell."""


@dataclass(slots=True, eq=False)
class Record:
    """One operation on a run, in the order in which it was logged."""

    run_id: str
    kind: str
    values: dict[str, Any]
    offset: int = 0
    """Place in the journal, bytes."""
    is_doubtful: bool = False
    """Whether the store may hold it, or a part of it, already."""
    n_points: int = 0
    """How many points of curves it holds."""

    def encode(self) -> bytes:
        """Write it as one line."""
        line = {"run": self.run_id, "kind": self.kind, **self.values}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


class Journal:
    """Append-only list of operations; survives the process once it has a place.

    A line is on the disk within a quarter of a second while operations come in, and
    at once for all but metrics. What comes in for a curve meanwhile is one operation,
    and costs who logs it no more than an append. Where the disk is full the journal
    goes on in memory, and is written as soon as there is room.
    """

    def __init__(self) -> None:
        self.place: Path | None = None
        self.is_ending = Event()
        """Set when the model has come: it is large, and little comes after it."""
        self._lock = threading.RLock()
        self._waiting: dict[Record, None] = {}
        self._growing: dict[str, Record] = {}
        """Metrics of each run that have no line yet."""
        self._unwritten = bytearray()
        self._file: IO[bytes] | None = None
        self._size = 0
        self._written = 0
        self._last_write_s = 0.0
        self._is_synced = True
        self._delivered_end = 0
        self._is_failing = False

    def keep_in(self, place: Path, header: dict[str, Any]) -> None:
        """Begin a file of what is logged from now on.

        Parameters
        ----------
        place : Path
            Directory of the journal, anew.
        header : dict
            What delivery needs to know: the store, the parent run.
        """
        with self._lock:
            self.place = place
            line = json.dumps({"format": FORMAT, **header}).encode() + b"\n"
            self._unwritten += line
            self._size = len(self._unwritten)
            self._growing.clear()
            for record in self._waiting:
                self._append_line(record, record.encode())
            self.write()

    def add(self, run_id: str, kind: str, **values: Any) -> None:
        """Append an operation; costs microseconds and never fails."""
        record = Record(run_id, kind, values)
        line = record.encode()
        with self._lock:
            self._give_lines()
            self._append_line(record, line)
            self._waiting[record] = None
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
            record = self._growing.get(run_id)
            if record is None or record.n_points + len(values) > MAX_POINTS:
                record = Record(run_id, "metrics", {"points": []})
                self._give_lines(run_id)
                self._growing[run_id] = record
                self._waiting[record] = None
            record.values["points"].append((step, time_ms, values))
            record.n_points += len(values)
            if time.monotonic() - self._last_write_s > WRITE_EVERY_S:
                self.write()

    def _give_lines(self, run_id: str | None = None) -> None:
        """Give metrics their lines, of one run or of all; they grow no more."""
        for own in list(self._growing) if run_id is None else [run_id]:
            record = self._growing.pop(own, None)
            if record is not None:
                self._append_line(record, record.encode())

    def _append_line(self, record: Record, line: bytes) -> None:
        record.offset = self._size
        if self.place is not None:
            self._size += len(line)
            self._unwritten += line

    def write(self) -> None:
        """Bring what has come in to the file."""
        with self._lock:
            self._give_lines()
            if self.place is None or not self._unwritten:
                return
            self._last_write_s = time.monotonic()
            try:
                self._append(self.place)
            except OSError as err:
                self._tell_failure(err)
            else:
                self._is_failing = False

    def _append(self, place: Path) -> None:
        if self._file is None:
            place.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            handle = os.open(place / JOURNAL, flags, 0o600)
            self._file = os.fdopen(handle, "wb", buffering=0)
        try:
            self._file.seek(self._written)
            view = memoryview(self._unwritten)
            done = 0
            while done < len(view):
                done += self._file.write(view[done:])
        except OSError:
            # Of a line that did not fit, nothing may stay.
            self._file.truncate(self._written)
            raise
        finally:
            view.release()
        self._written += done
        self._unwritten.clear()
        self._is_synced = False

    def _tell_failure(self, err: OSError) -> None:
        if not self._is_failing:
            log.warning(
                "tracking: %s cannot be written (%s); what is logged is kept in "
                "memory until it can",
                self.place,
                err.strerror or err,
            )
        self._is_failing = True

    def sync(self) -> None:
        """Bring the file to the disk, so that it outlives the machine."""
        self.write()
        if self._file is not None and not self._is_synced:
            self._is_synced = True
            try:
                os.fdatasync(self._file.fileno())
            except OSError as err:
                self._tell_failure(err)

    def waiting(self) -> list[Record]:
        """Operations that no store has confirmed, in order; none changes any more."""
        with self._lock:
            self._give_lines()
            return list(self._waiting)

    def settle(self, records: Iterable[Record]) -> None:
        """Take operations as delivered, or as refused for good."""
        with self._lock:
            for record in records:
                self._delivered_end = max(self._delivered_end, record.offset + 1)
                self._waiting.pop(record, None)

    def save_progress(self) -> None:
        """Note on the disk what has been delivered."""
        if self.place is None:
            return
        with self._lock:
            end = self._delivered_end
            open_offsets = [r.offset for r in self._waiting if 0 < r.offset < end]
        text = json.dumps({"end": end, "open": open_offsets})
        try:
            write_atomically(self.place / PROGRESS, text.encode())
        except OSError as err:
            self._tell_failure(err)

    def close(self) -> None:
        """Remove the file if all is delivered, else leave it whole."""
        with self._lock:
            self.sync()
            if self._waiting:
                self.save_progress()
            if self._file is not None:
                self._file.close()
                self._file = None
            if self.place is not None and not self._waiting:
                shutil.rmtree(self.place, ignore_errors=True)

    @classmethod
    def reopen(cls, place: Path) -> Journal:
        """Read the journal that another process has left.

        Raises
        ------
        TrackingError
            It is not a journal.
        """
        path = place / JOURNAL
        data = _read(path)
        read_header(place)
        end, open_offsets = _progress(place)
        journal = cls()
        journal.place = place
        offset, n_damaged = 0, 0
        for line in data.splitlines(keepends=True):
            start, offset = offset, offset + len(line)
            if start == 0 or (start < end and start not in open_offsets):
                continue
            if not line.endswith(b"\n"):
                break  # the process died while it wrote it
            record = _decode(line, start)
            if record is None:
                n_damaged += 1
            else:
                journal._waiting[record] = None
        if n_damaged:
            log.warning("tracking: %s holds %d lines that are not whole; they are left "
                        "out", path, n_damaged)  # fmt: skip
        journal._delivered_end = end
        return journal


def read_header(place: Path) -> dict[str, Any]:
    """Read for which store and run a journal is.

    Raises
    ------
    TrackingError
        It is not a journal.
    """
    path = place / JOURNAL
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(1 << 16))
    except (OSError, ValueError) as err:
        raise TrackingError(f"{path}: expected a journal of NNT, found {err}") from err
    if not isinstance(header, dict) or header.get("format") not in READABLE:
        raise TrackingError(
            f"{path}: expected a journal of format {FORMAT}, found {shorten(header)}; "
            "deliver it by the version of NNT that has written it"
        )
    if not all(isinstance(header.get(k), str) for k in ("uri", "run")):
        raise TrackingError(f"{path}: it names neither store nor run")
    return header


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise TrackingError(f"{path} is larger than {MAX_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as err:
        raise TrackingError(f"{path} cannot be read: {err}") from err


def _progress(place: Path) -> tuple[int, frozenset[int]]:
    """How far delivery has come; the beginning where that is not known."""
    try:
        told = json.loads((place / PROGRESS).read_bytes())
        return int(told["end"]), frozenset(map(int, told["open"]))
    except (OSError, ValueError, TypeError, KeyError):
        return 0, frozenset()


def _decode(line: bytes, offset: int) -> Record | None:
    try:
        values = json.loads(line)
        run_id, kind = values.pop("run"), values.pop("kind")
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    if not (isinstance(run_id, str) and isinstance(kind, str) and kind in FIELDS):
        return None
    if kind == "metrics" and "points" not in values:
        told = [values.get(name) for name in ("step", "time_ms", "values")]
        values = {"points": [told]}
    if not all(isinstance(values.get(k), t) for k, t in FIELDS[kind].items()):
        return None
    record = Record(run_id, kind, values, offset, is_doubtful=True)
    if kind == "metrics":
        points = [_points(one) for one in values["points"]]
        record.values = {"points": points}
        record.n_points = sum(len(point[2]) for point in points if point)
        return record if all(points) else None
    texts = values.get("values", {}).values()
    return record if all(isinstance(text, str) for text in texts) else None


def _points(told: Any) -> Points | None:
    try:
        step, time_ms, values = told
        is_whole = (type(step), type(time_ms)) == (int, int) and all(
            type(value) is float for value in values.values()
        )
    except (ValueError, TypeError, AttributeError):
        return None
    return (step, time_ms, values) if is_whole else None
