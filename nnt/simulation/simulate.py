"""Tables of simulated tracks, made in chunks and kept by their settings.

The reference columns of the classic chain are those of a stand-in for the network that
runs in the trigger. Nobody outside the collaboration has the weights of that network,
and the truth must not stand in for it. So each expert gets a network of the firmware's
size, whose first layer is drawn at random and whose second one is a least-squares fit
to simulated tracks of a random stream of its own. It knows no more of a track than the
27 inputs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from nnt.detector import CHAINS, CLASSIC, EXPERTS, N_HIDDEN, N_INPUTS, N_TARGETS
from nnt.errors import ConfigError, did_you_mean
from nnt.progress import Progress, silent
from nnt.simulation.parameters import Simulation
from nnt.simulation.rows import make_chunk, make_chunk_3d
from nnt.tracks import Tracks, cache, concatenate
from nnt.types import F32, F64, I64

MakeChunk = Callable[[Simulation, int, np.random.Generator], Tracks]

CACHED_FROM_TRACKS = 50_000
"""Smaller tables are made again faster than they are worth on a disk."""
STAND_IN_TRACKS = 60_000
STAND_IN_STREAM, TABLE_STREAM, HOUGH3D_STREAM = 0, 1, 2
"""Random streams that have nothing in common, whatever the seeds."""
RAW_PER_UNIT = 4096
"""The hardware's outputs are whole numbers of this part of the range."""
FIRST_LAYER_SEED = 81
RIDGE = 1e-4
"""Of the rows, on the diagonal: keeps the fit of few rows from wild weights."""
BLOCK = 96
"""Rows at a time: their hidden nodes stay in the processor's cache, and a product this
small is done at once, without the threads of the linear algebra library."""
DIGITS = 6
"""Of the fitted weights, so that another order of sums gives the same ones."""


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
        that runs in the trigger.

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


@dataclass(frozen=True, slots=True, eq=False)
class StandIn:
    """Five networks with a common first layer."""

    first: F32
    """Shape (28, 81): weights by input, and the bias last."""
    second: F64
    """Shape (5, 109, 2): weights by expert, of hidden nodes, inputs and bias."""

    def predict(self, inputs: F32, expert: I64) -> I64:
        """Outputs as the hardware's whole numbers, shape (N, 2)."""
        raw = np.zeros((len(inputs), N_TARGETS), dtype=np.int64)
        for number in EXPERTS:
            mine = np.flatnonzero(expert == number)
            second = self.second[number].astype(np.float32)
            for start in range(0, len(mine), BLOCK):
                rows = mine[start : start + BLOCK]
                output = _features(inputs[rows], self.first) @ second
                output *= RAW_PER_UNIT
                np.clip(output, -RAW_PER_UNIT, RAW_PER_UNIT - 1, out=output)
                raw[rows] = np.rint(output)
        return raw


def fit_stand_in(inputs: F32, targets: F32, expert: I64) -> StandIn:
    """Fit the second layer of each expert; one without rows answers 0."""
    rng = np.random.default_rng(FIRST_LAYER_SEED)
    first = rng.standard_normal((N_INPUTS + 1, N_HIDDEN), dtype=np.float32)
    second = np.zeros((len(EXPERTS), N_HIDDEN + N_INPUTS + 1, N_TARGETS))
    for number in EXPERTS:
        rows = expert == number
        features = _features(inputs[rows], first).astype(np.float64)
        square = features.T @ features + RIDGE * len(features) * np.eye(second.shape[1])
        if rows.any():
            fitted = np.linalg.solve(square, features.T @ targets[rows])
            second[number] = np.round(fitted, DIGITS)
    return StandIn(first=first, second=second)


def _features(inputs: F32, first: F32) -> F32:
    """Hidden nodes, the inputs themselves, and 1: shape (N, 109)."""
    features = np.ones((len(inputs), N_HIDDEN + N_INPUTS + 1), dtype=np.float32)
    features[:, N_HIDDEN:-1] = inputs
    nodes = features[:, N_HIDDEN:] @ first
    features[:, :N_HIDDEN] = nodes / (1 + np.abs(nodes))
    return features
