"""Tables of simulated tracks, made in chunks and kept by their settings."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from nnt.errors import ConfigError
from nnt.progress import Progress, silent
from nnt.simulation.parameters import Simulation
from nnt.simulation.reference import RAW_PER_UNIT, StandIn, fit_stand_in
from nnt.simulation.rows import make_chunk
from nnt.tracks import Tracks, cache, concatenate

__all__ = ["simulate", "simulate_with"]

CACHED_FROM_TRACKS = 50_000
"""Smaller tables are made again faster than they are worth on a disk."""
STAND_IN_TRACKS = 60_000
STAND_IN_STREAM, TABLE_STREAM = 0, 1
"""Random streams that have nothing in common, whatever the seeds."""


def simulate(
    tracks: int, seed: int = 1, progress: Progress = silent, *, use_cache: bool = True
) -> Tracks:
    """Make a table of tracks from the detector's geometry alone.

    Parameters
    ----------
    tracks : int
        Rows to make.
    seed : int
        Same seed and version, same rows.
    progress : Progress
        Called with rows done and rows in all.
    use_cache : bool
        Keep a table of 50,000 rows or more in `nnt.tracks.cache_dir`, and use it the
        next time.

    Returns
    -------
    Tracks
        With the reference columns of a stand-in for the network that runs in the
        trigger (`nnt.simulation.reference`).

    Examples
    --------
    >>> len(simulate(1000, seed=7))
    1000
    """
    settings = Simulation(tracks=tracks, seed=seed)
    return simulate_with(settings, progress, use_cache=use_cache)


def simulate_with(
    settings: Simulation, progress: Progress = silent, *, use_cache: bool = True
) -> Tracks:
    """Make a table of tracks with settings of one's own.

    Raises
    ------
    ConfigError
        The settings let no track pass.
    """
    if not use_cache or settings.tracks < CACHED_FROM_TRACKS:
        return _collect(settings, progress)
    key = table_key(settings)
    tracks = cache.load(key)
    if tracks is None and cache.store_parts(lambda: key, _parts(settings, progress)):
        tracks = cache.load(key)
    # Without a cache that takes it, the table lives in memory.
    return _collect(settings, progress) if tracks is None else tracks


def table_key(settings: Simulation) -> str:
    """Hash of the settings and of every line that makes rows of them."""
    here = Path(__file__).parent
    sha = hashlib.sha256(f"{np.__version__} {settings!r}".encode())
    for source in (*sorted(here.glob("*.py")), here.parent / "detector.py"):
        sha.update(source.read_bytes())
    return sha.hexdigest()


def _collect(settings: Simulation, progress: Progress) -> Tracks:
    return concatenate(list(_parts(settings, progress)))


def _parts(settings: Simulation, progress: Progress) -> Iterator[Tracks]:
    """Give the table in chunks, reference columns included."""
    shape = dataclasses.replace(settings, tracks=STAND_IN_TRACKS, seed=0)
    stand_in = _stand_in(shape)
    done = 0
    for part in _chunks(settings, TABLE_STREAM):
        raw = stand_in.predict(part.inputs, part.expert)
        yield dataclasses.replace(
            part,
            reference=(raw / RAW_PER_UNIT).astype(np.float32),
            extras={"RawZ": raw[:, 0], "RawTheta": raw[:, 1]},
        )
        done += len(part)
        progress(done, settings.tracks)


@lru_cache(maxsize=4)
def _stand_in(settings: Simulation) -> StandIn:
    sample = concatenate(list(_chunks(settings, STAND_IN_STREAM)))
    return fit_stand_in(sample.inputs, sample.targets, sample.expert)


def _chunks(settings: Simulation, stream: int) -> Iterator[Tracks]:
    """Give as many rows as the settings ask for, in chunks."""
    root = np.random.SeedSequence(settings.seed, spawn_key=(stream,))
    left = settings.tracks
    number = 0
    while left > 0:
        part = make_chunk(settings, number, np.random.default_rng(root.spawn(1)[0]))
        if not len(part):
            raise ConfigError("data.simulate: no track passes with these settings")
        yield part[:left]
        left -= len(part)
        number += 1
