"""The metrics of every epoch of a fit, kept once for all who read them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import overload

import numpy as np

from nnt.engine.records import Epoch
from nnt.types import F64, I64

__all__ = ["History"]


class History(Sequence[Mapping[str, float]]):
    """Epochs in order, 64 bytes or so each; others may read while one thread adds.

    As a sequence, number 0 holds the metrics of epoch 1.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self._values = array("d")
        self._times_ms = array("q")
        self._lock = Lock()

    def add(self, epoch: Epoch) -> None:
        """Append the next epoch; the first one sets the names."""
        with self._lock:
            self.names = self.names or tuple(epoch.metrics)
            self._values.extend(epoch.metrics[name] for name in self.names)
            self._times_ms.append(epoch.time_ms)

    def __len__(self) -> int:
        return len(self._times_ms)

    @overload
    def __getitem__(self, index: int) -> dict[str, float]: ...

    @overload
    def __getitem__(self, index: slice) -> list[Mapping[str, float]]: ...

    def __getitem__(
        self, index: int | slice
    ) -> dict[str, float] | list[Mapping[str, float]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index] * len(self.names)
        row = self._values[place : place + len(self.names)]
        return dict(zip(self.names, row, strict=True))

    def __iter__(self) -> Iterator[dict[str, float]]:
        return (self[i] for i in range(len(self)))

    def arrays(self) -> tuple[F64, I64]:
        """Copy everything: values, shape (epochs, names), and times in Unix ms."""
        with self._lock:
            values = np.array(self._values, np.float64)
            times_ms = np.array(self._times_ms, np.int64)
        return values.reshape(len(times_ms), len(self.names)), times_ms
