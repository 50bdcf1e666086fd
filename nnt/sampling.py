"""Which rows an epoch trains on, and in which order."""

from __future__ import annotations

import logging
import zlib

import numpy as np

from nnt.errors import DataError
from nnt.types import F64, I64, FloatArray

log = logging.getLogger(__name__)


def generator(seed: int, expert: int, purpose: str) -> np.random.Generator:
    """Make the generator of one expert (-1 .. 4) for one purpose, of a training's seed.

    Each purpose, such as ``"batches"``, has a stream of its own.
    """
    key = (expert + 1, zlib.crc32(purpose.encode()))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


class EpochSampler:
    """Every row once, shuffled."""

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows

    def epoch(self, rng: np.random.Generator) -> I64:
        """Shuffle all rows."""
        return rng.permutation(self._n_rows)


SMALLEST_SHARE = 2.0**-53
"""Of a bucket; a random number does not tell less."""


class BucketSampler:
    """As many rows as there are: first a bucket of z, then a row of it.

    Parameters
    ----------
    z_scaled : float array, shape (N,)
        Of the rows.
    probabilities : float64 array, shape (K,)
        Of each bucket: the buckets are equal parts of [-1, 1].
    whose : str, optional
        Names the rows in messages, such as ``"expert 2"``.

    Raises
    ------
    DataError
        No bucket with a probability holds a row.
    """

    def __init__(
        self, z_scaled: FloatArray, probabilities: F64, whose: str = ""
    ) -> None:
        place = f"{whose}: dist" if whose else "dist"
        n_buckets = len(probabilities)
        bucket = np.floor((z_scaled.astype(np.float64) + 1) / 2 * n_buckets)
        bucket = np.clip(bucket, 0, n_buckets - 1).astype(np.int64)
        count = np.bincount(bucket, minlength=n_buckets)
        empty = (count == 0) & (probabilities > 0)
        if empty.any():
            words = "%s: %d of %d buckets hold no row; their share goes to the others"
            log.warning(words, place, empty.sum(), n_buckets)
        shared = np.where(count > 0, probabilities, 0.0)
        if shared.sum() == 0:
            raise DataError(
                f"{place}: no row lies where the distribution has any probability; "
                "widen it, or use fewer buckets"
            )
        used = shared > SMALLEST_SHARE * shared.sum()
        order = np.argsort(bucket, kind="stable")
        self._rows = order[used[bucket[order]]]
        self._n_drawn = len(bucket)
        self._split, self._base, self._slope = _alias_table(shared[used], count[used])

    def epoch(self, rng: np.random.Generator) -> I64:
        """Draw buckets by their probability, and rows within, all at once.

        Notes
        -----
        The alias method (Walker, ACM TOMS 3, 253 (1977)): as many equal cells as
        buckets, each with the share of one bucket up to `_split` and that of another
        one beyond. One random number tells the cell, the side, and by the rest of its
        53 bits the row.
        """
        place = rng.random(self._n_drawn)
        place *= len(self._split)
        cell = place.astype(np.int64)
        place -= cell
        side = 2 * cell
        side += place >= self._split[cell]
        place *= self._slope[side]
        place += self._base[side]
        # What lies at a border may be rounded beyond it, also the last one.
        inside = np.clip(place.astype(np.int64), 0, len(self._rows) - 1)
        rows: I64 = self._rows[inside]
        return rows


Sampler = EpochSampler | BucketSampler
"""Gives the rows of an epoch, as many as the data set has."""


def _alias_table(share: F64, count: I64) -> tuple[F64, F64, F64]:
    """Cells of equal probability, and rows as straight lines in them.

    Of K buckets are given the probability, up to a factor, and the rows, at least one.

    Returns
    -------
    split : float64 array, shape (K,)
        Where in [0, 1] the second bucket of each cell begins.
    base, slope : float64 array, shape (2 K,)
        Row, as a line over the cell, of its first and second bucket in turn.
    """
    n_cells = len(share)
    left = share * (n_cells / share.sum())
    split, other = np.ones(n_cells), np.arange(n_cells)
    poor = [k for k in range(n_cells) if left[k] < 1]
    rich = [k for k in range(n_cells) if left[k] >= 1]
    while poor and rich:
        filled, giver = poor.pop(), rich[-1]
        split[filled], other[filled] = left[filled], giver
        left[giver] -= 1 - left[filled]
        if left[giver] < 1:
            poor.append(rich.pop())
    start = np.cumsum(count) - count
    slope, base = np.empty(2 * n_cells), np.empty(2 * n_cells)
    slope[0::2], base[0::2] = count / split, start
    # A cell with one bucket has nothing beyond its end.
    slope[1::2] = count[other] / np.where(split < 1, 1 - split, 1.0)
    base[1::2] = start[other] - split * slope[1::2]
    return split, base, slope
