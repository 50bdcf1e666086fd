"""Events drawn anew for a whole table at once: sums and counts of every replica.

The bootstrap in the form for large tables: each event gets a number of copies from
the Poisson distribution of mean 1, independently of the others, so that rows are
visited once, in any order (N. Chamandy et al., "Estimating Uncertainty for Massive
Data Streams", 2012). All tracks of an event share its copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, factorial

import numpy as np
import numpy.typing as npt

from nnt.compiled import njit
from nnt.types import F64, I32, I64, U8, FloatArray

__all__ = ["EventDraws"]


N_REPLICAS = 100
"""An error from 100 replicas is itself known to 7 %."""
SEED = 20
BLOCK = 4096
"""Events whose copies are drawn at a time."""

_SHARE = np.cumsum([exp(-1) / factorial(k) for k in range(10)])
_COPIES = np.searchsorted(_SHARE, (np.arange(2**16) + 0.5) / 2**16).astype(np.uint8)
"""Number of copies of an event, by 16 random bits."""


class EventDraws:
    """Copies of events, always the same for the same events.

    Parameters
    ----------
    event : int64 array, shape (N,)
        Dense number of the event of each row, from 0. Two networks on the same rows
        are compared with the same draws.
    n_replicas : int
        R, number of tables to draw.
    """

    def __init__(self, event: I64, n_replicas: int = N_REPLICAS) -> None:
        self.n_replicas = n_replicas
        in_order = bool(np.all(event[1:] >= event[:-1]))
        self.order = None if in_order else np.argsort(event, kind="stable")
        self.event = event if self.order is None else event[self.order]

    def counts(self, keys: Sequence[tuple[I32, int]]) -> list[F64]:
        """Count the rows of each bin in every replica.

        Parameters
        ----------
        keys : sequence of (int32 array of shape (N,), int)
            Bin of each row, and the number B of bins; rows with a negative bin are
            left out. All are counted with the same draws.

        Returns
        -------
        list of float64 arrays, shape (B, R)
        """
        ordered = [k if self.order is None else k[self.order] for k, _ in keys]
        totals = [np.zeros((n, self.n_replicas), dtype=np.uint32) for _, n in keys]
        for rows, event, copies in self._blocks():
            for bins, total in zip(ordered, totals, strict=True):
                _add_counts(bins[rows], event, copies, total)
        return [total.astype(np.float64) for total in totals]

    def sums(
        self, columns: Sequence[FloatArray], group: I32, n_groups: int
    ) -> list[F64]:
        """Add the values of each group up in every replica.

        Parameters
        ----------
        columns : sequence of float arrays, shape (N,)
            What is added up.
        group : int32 array, shape (N,)
            Group of each row, from 0.
        n_groups : int
            G.

        Returns
        -------
        list of float64 arrays, shape (G, R)
        """
        if self.order is not None:
            columns, group = [c[self.order] for c in columns], group[self.order]
        totals = [np.zeros((n_groups, self.n_replicas)) for _ in columns]
        for rows, event, copies in self._blocks():
            for values, total in zip(columns, totals, strict=True):
                part = values[rows].astype(np.float64)
                _add_values(part, group[rows], event, copies, total)
        return totals

    def _blocks(self) -> Iterator[tuple[slice, I64, U8]]:
        """Rows, their events from the first of the block, and copies (E, R)."""
        if not len(self.event):
            return
        n_events = int(self.event[-1]) + 1
        starts = np.arange(0, n_events + BLOCK, BLOCK)
        ends = np.searchsorted(self.event, starts)
        for i, first in enumerate(starts[:-1]):
            rows = slice(int(ends[i]), int(ends[i + 1]))
            if rows.stop > rows.start:
                n_here = min(BLOCK, n_events - int(first))
                rng = np.random.Generator(np.random.SFC64([SEED, i]))
                bits = rng.integers(
                    0, 2**16, (n_here, self.n_replicas), dtype=np.uint16
                )
                yield rows, self.event[rows] - first, _COPIES[bits]


@njit()
def _add_counts(
    bins: I32, event: I64, copies: U8, total: npt.NDArray[np.uint32]
) -> None:
    for i in range(len(bins)):
        number = bins[i]
        if number >= 0:
            here = copies[event[i]]
            into = total[number]
            for r in range(len(here)):
                into[r] += np.uint32(here[r])


@njit()
def _add_values(values: F64, group: I32, event: I64, copies: U8, total: F64) -> None:
    for i in range(len(values)):
        here = copies[event[i]]
        into = total[group[i]]
        value = values[i]
        for r in range(len(here)):
            into[r] += here[r] * value
