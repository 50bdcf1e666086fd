"""Checkpoints: all that a fit needs to continue as if it was never interrupted."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nnt.engine.records import Arrays, Epoch
from nnt.errors import TrainingError, shorten
from nnt.files import previous_of, write_atomically
from nnt.networks import State

log = logging.getLogger(__name__)

FORMAT = 3
MIN_INTERVAL_S = 1.0
REST_FACTOR = 200
"""Time between checkpoints, in units of what the last one took."""
MAX_BYTES = 1 << 30
MAX_COUNT = 1 << 62


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """The state of a fit between two batches."""

    values: Mapping[str, Any]
    """Counters, random streams and the like, as JSON values."""
    backend: Arrays
    """Weights and optimiser, as `Backend.state` gives them."""
    best: State
    """The weights with the lowest validation loss so far."""
    epochs: Sequence[Epoch]
    """Every epoch so far, without its outputs."""


def whole_number(values: Mapping[str, Any], name: str) -> int:
    """Give a counter of a checkpoint; raise ValueError where it is none."""
    value = values[name]
    if type(value) is not int or not 0 <= value < MAX_COUNT:
        raise ValueError(f"{name}: expected a count, found {shorten(value)}")
    return value


def real_number(values: Mapping[str, Any], name: str) -> float:
    """Give a number of a checkpoint; raise ValueError where it is none."""
    value = values[name]
    if type(value) not in (int, float) or math.isnan(value):
        raise ValueError(f"{name}: expected a number, found {shorten(value)}")
    return float(value)


@contextmanager
def only_of_this_fit() -> Iterator[None]:
    """Report values that no fit has written, whatever they lead to."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as err:
        raise TrainingError(
            f"the checkpoint was not written by this version of NNT ({err!r}); delete "
            "it to train this expert from the start"
        ) from err


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write one file, whole or not at all; keep the one before it.

    Raises
    ------
    OSError
        The disk is full or not writable.
    """
    epochs = checkpoint.epochs
    names = list(epochs[0].metrics) if epochs else []
    rows = [[epoch.metrics[name] for name in names] for epoch in epochs]
    arrays = {
        "rows": np.array(rows, np.float64).reshape(len(epochs), len(names)),
        "times_ms": np.array([epoch.time_ms for epoch in epochs], np.int64),
        **{f"backend.{name}": value for name, value in checkpoint.backend.items()},
        **{f"best.{name}": value for name, value in checkpoint.best.items()},
    }
    # The file sorts its arrays; weights.json has them in the order of the network.
    content = {"names": names, "values": checkpoint.values}
    text = json.dumps({"format": FORMAT, "arrays": list(arrays), **content})
    metadata = {"nnt": text, "sha256": _digest(text, arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(arrays, metadata), keep_previous=True)


def checkpoint_exists(path: Path) -> bool:
    """Whether a place holds a checkpoint, whole or not."""
    return path.is_file() or previous_of(path).is_file()


def read_checkpoint(path: Path) -> Checkpoint | None:
    """Read the newest whole checkpoint of a place; None where there is none.

    Raises
    ------
    TrainingError
        There are files, and none of them is whole.
    """
    problems = []
    for place in (path, previous_of(path)):
        if not place.is_file():
            continue
        try:
            checkpoint = _read(place)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as err:
            problems.append(f"{place}: expected a complete checkpoint, found {err}")
            continue
        for problem in problems:
            log.warning("%s; continuing from the previous one", problem)
        return checkpoint
    if not problems:
        return None
    found = "; ".join(problems)
    raise TrainingError(f"{found}; delete it to train this expert from the start")


def _read(path: Path) -> Checkpoint:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    with safe_open(path, "np") as file:
        metadata = file.metadata() or {}
        arrays = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    text = metadata["nnt"]
    if metadata["sha256"] != _digest(text, arrays):
        raise ValueError("a checksum that does not match its content")
    content = json.loads(text)
    if content["format"] != FORMAT:
        raise ValueError("the format of another version of NNT")
    arrays = {name: arrays[name] for name in content["arrays"]}
    return Checkpoint(
        values=content["values"],
        backend=_part("backend.", arrays),
        best=_part("best.", arrays),
        epochs=_epochs(content["names"], arrays["rows"], arrays["times_ms"]),
    )


def _epochs(
    names: list[str], rows: npt.NDArray[Any], times_ms: npt.NDArray[Any]
) -> list[Epoch]:
    if rows.shape != (*times_ms.shape, len(names)) or times_ms.ndim != 1:
        raise ValueError(f"rows of shape {rows.shape} for {len(names)} metrics")
    if rows.dtype.str != "<f8" or times_ms.dtype.str != "<i8":
        raise ValueError(f"rows and times of {rows.dtype} and {times_ms.dtype}")
    done = zip(rows.tolist(), times_ms.tolist(), strict=True)
    return [
        Epoch(number=n, metrics=dict(zip(names, row, strict=True)), time_ms=time_ms)
        for n, (row, time_ms) in enumerate(done, 1)
    ]


def _part(prefix: str, arrays: Arrays) -> Arrays:
    named = {k: v for k, v in arrays.items() if k.startswith(prefix)}
    return {k.removeprefix(prefix): v for k, v in named.items()}


def _digest(text: str, arrays: Arrays) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        value = arrays[name]
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


class Keeper:
    """Writes the checkpoints of one fit, seldom enough to cost nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = time.monotonic() + MIN_INTERVAL_S

    def is_due(self) -> bool:
        """Whether the next checkpoint would take less than 1 % of the time."""
        return time.monotonic() >= self._next

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; a disk that is full does not end the training."""
        begin = time.monotonic()
        try:
            write_checkpoint(self.path, checkpoint)
        except OSError as err:
            log.warning("%s: no checkpoint could be written: %s", self.path, err)
        end = time.monotonic()
        self._next = end + max(MIN_INTERVAL_S, REST_FACTOR * (end - begin))
