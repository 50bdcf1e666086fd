"""Tables of simulated tracks, made in chunks and kept by their settings."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from nnt.detector import CHAINS, CLASSIC, N_INPUTS
from nnt.errors import ConfigError, did_you_mean
from nnt.progress import Progress, silent
from nnt.simulation.hough3d import make_chunk_3d
from nnt.simulation.parameters import Simulation
from nnt.simulation.reference import RAW_PER_UNIT, StandIn, fit_stand_in
from nnt.simulation.rows import make_chunk
from nnt.tracks import Tracks, cache, concatenate

MakeChunk = Callable[[Simulation, int, np.random.Generator], Tracks]

CACHED_FROM_TRACKS = 50_000
"""Smaller tables are made again faster than they are worth on a disk."""
STAND_IN_TRACKS = 60_000
STAND_IN_STREAM, TABLE_STREAM, HOUGH3D_STREAM = 0, 1, 2
"""Random streams that have nothing in common, whatever the seeds."""


def simulate(
    tracks: int,
    seed: int = 1,
    progress: Progress = silent,
    *,
    use_cache: bool = True,
    chain: str = CLASSIC.name,
    inputs: int = N_INPUTS,
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
    chain : str
        ``"classic"`` or ``"3dh"``.
    inputs : int
        27; in the 3D Hough chain, 126 as well: the same rows with hit patterns.

    Returns
    -------
    Tracks
        In the classic chain with the reference columns of a stand-in for the network
        that runs in the trigger (`nnt.simulation.reference`).

    Raises
    ------
    ConfigError
        There is no such chain, or it has no such number of inputs.

    Examples
    --------
    >>> len(simulate(1000, seed=7))
    1000
    """
    settings = Simulation(tracks=tracks, seed=seed)
    return simulate_with(
        settings, progress, use_cache=use_cache, chain=chain, inputs=inputs
    )


def simulate_with(
    settings: Simulation,
    progress: Progress = silent,
    *,
    use_cache: bool = True,
    chain: str = CLASSIC.name,
    inputs: int = N_INPUTS,
) -> Tracks:
    """Make a table of tracks with settings of one's own; else as `simulate`.

    Raises
    ------
    ConfigError
        The settings let no track pass.
    """
    check_choice(chain, inputs)
    parts = partial(_parts, settings, progress)
    if chain != CLASSIC.name:
        make = partial(make_chunk_3d, n_inputs=inputs)
        parts = partial(_chunks, settings, HOUGH3D_STREAM, make, progress)
    if not use_cache or settings.tracks < CACHED_FROM_TRACKS:
        return concatenate(list(parts()))
    return cache.kept(partial(table_key, settings, chain, inputs), parts)


def check_choice(chain: str, inputs: int) -> None:
    """Refuse a chain that does not exist, or has not this number of inputs."""
    if chain not in CHAINS:
        raise ConfigError(
            f"chain: unknown chain {chain!r}; {did_you_mean(chain, CHAINS)}"
        )
    sizes = CHAINS[chain].input_sizes
    if inputs not in sizes:
        raise ConfigError(
            f"inputs: expected {' or '.join(map(str, sizes))} in the {chain} chain, "
            f"found {inputs}"
        )


def table_key(
    settings: Simulation, chain: str = CLASSIC.name, inputs: int = N_INPUTS
) -> str:
    """Hash of what is asked for and of every line that makes rows of it."""
    here = Path(__file__).parent
    sha = hashlib.sha256(f"{np.__version__} {settings!r} {chain} {inputs}".encode())
    for source in (*sorted(here.glob("*.py")), here.parent / "detector.py"):
        sha.update(source.read_bytes())
    return sha.hexdigest()


def _parts(settings: Simulation, progress: Progress) -> Iterator[Tracks]:
    """Give the table of the classic chain in chunks, reference columns included."""
    stand_in = _stand_in(dataclasses.replace(settings, tracks=STAND_IN_TRACKS, seed=0))
    for part in _chunks(settings, TABLE_STREAM, make_chunk, progress):
        raw = stand_in.predict(part.inputs, part.expert)
        yield dataclasses.replace(
            part,
            reference=(raw / RAW_PER_UNIT).astype(np.float32),
            extras={"RawZ": raw[:, 0], "RawTheta": raw[:, 1]},
        )


@lru_cache(maxsize=4)
def _stand_in(settings: Simulation) -> StandIn:
    sample = concatenate(list(_chunks(settings, STAND_IN_STREAM, make_chunk)))
    return fit_stand_in(sample.inputs, sample.targets, sample.expert)


def _chunks(
    settings: Simulation, stream: int, make: MakeChunk, progress: Progress = silent
) -> Iterator[Tracks]:
    """Give as many rows as the settings ask for, in chunks."""
    root = np.random.SeedSequence(settings.seed, spawn_key=(stream,))
    done = 0
    for number in itertools.count():
        part = make(settings, number, np.random.default_rng(root.spawn(1)[0]))
        if not len(part):
            raise ConfigError("data.simulate: no track passes with these settings")
        part = part[: settings.tracks - done]
        yield part
        done += len(part)
        progress(done, settings.tracks)
        if done == settings.tracks:
            return
