"""What the tests share: tables of tracks, and a cache of their own."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings
from some_trainings import SMALL

from nnt.detector import EXPERT_MISSING_SUPERLAYER, superlayer_inputs
from nnt.tracks import Tracks, make_ids, write_tracks

if TYPE_CHECKING:
    from nnt.tracking import MlflowTracker
    from nnt.training import TrainingResult

# The first example of a test may wait for loops to be compiled.
settings.register_profile("nnt", deadline=None)
settings.load_profile("nnt")

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "belle2_exp20_sample.gz"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNT_CACHE_DIR", str(tmp_path / "nnt-cache"))


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Commands send the log of NNT to their own stderr: undo it for the next test."""
    log = logging.getLogger("nnt")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = before


@pytest.fixture(autouse=True, scope="session")
def _signals_as_at_a_terminal() -> Iterator[None]:
    """Processes inherit what a shell's `&` or `nohup` ignores."""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory, with no MLflow setting of the caller."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def short_pauses(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the sender try again at once, and the log come through."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("nnt.tracking.delivery.FLUSH_EVERY_S", 0.05)
    monkeypatch.setattr("nnt.tracking.delivery.FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("nnt.tracking.delivery.LAST_PAUSE_S", 0.2)
    monkeypatch.setattr("nnt.tracking.delivery.CLOSING_PAUSE_S", 0.05)
    monkeypatch.setattr("nnt.tracking.delivery.SYNC_PAUSE_S", 0.01)
    # A command sends the log to its own stderr, for good.
    monkeypatch.setattr(logging.getLogger("nnt"), "propagate", True)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread, as a training does."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the tables once; it takes seconds."""
    from nnt.tracking import MlflowTracker

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowTracker(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as database, database:
        # Each test copies it: artifacts shall lie where the copy is used.
        database.execute("UPDATE experiments SET artifact_location = 'mlruns/0'")
    return path


@pytest.fixture
def project(workplace: Path, empty_store: Path) -> Path:
    """Work in a directory that holds an empty store."""
    shutil.copy(empty_store, workplace)
    return workplace


@pytest.fixture
def tracker(project: Path) -> Iterator[MlflowTracker]:
    """A tracker on such a store."""
    from nnt.tracking import MlflowTracker

    made = MlflowTracker()
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_project(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Iterator[Path]:
    """Work in a directory with a store that all tests of a module share."""
    place = tmp_path_factory.mktemp("project")
    shutil.copy(empty_store, place)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.chdir(place)
        yield place


@pytest.fixture
def free_port() -> int:
    """Find a port of this machine that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def sample_file() -> Path:
    """Real rows of experiment 20, where they are at hand."""
    if not SAMPLE.is_file():
        pytest.skip("the sample of real tracks is not here")
    return SAMPLE


@pytest.fixture(scope="session")
def make_tracks() -> Callable[..., Tracks]:
    """Return a maker of valid tables, about two rows to an event."""
    return synthetic_tracks


def synthetic_tracks(
    n: int = 300, seed: int = 0, experts: Sequence[int] = (0, 1, 2, 3, 4)
) -> Tracks:
    rng = np.random.default_rng(seed)
    event = np.sort(rng.integers(0, max(n // 2, 1), n))
    first = np.searchsorted(event, event)
    columns = {
        "Experiment": np.full(n, 20),
        "Run": event // 100,
        "Event": event + 2**33,
        "Track": np.arange(n) - first,
        "nTracks": np.searchsorted(event, event, side="right") - first,
        "Expert": np.asarray(experts)[rng.integers(0, len(experts), n)],
    }
    targets = rng.uniform(-1, 1, (n, 2)).astype(np.float32)
    # Inputs know the targets, so that a network can learn something.
    mix = rng.normal(size=(2, 27))
    inputs = np.tanh(targets @ mix + 0.1 * rng.normal(size=(n, 27)))
    for expert, superlayer in enumerate(EXPERT_MISSING_SUPERLAYER):
        if superlayer is not None:
            rows = columns["Expert"] == expert
            inputs[rows, superlayer_inputs(superlayer)] = 0
    noise = rng.normal(scale=0.1, size=(n, 2))
    reference = np.clip(targets + noise, -1, 1).astype(np.float32)
    return Tracks(
        ids=make_ids(columns, n),
        inputs=inputs.astype(np.float32),
        targets=targets,
        reference=reference,
        extras={
            "RawZ": np.round(reference[:, 0] * 4096).astype(np.int64),
            "RawTheta": np.round(reference[:, 1] * 4096).astype(np.int64),
        },
    )


@pytest.fixture(scope="session")
def _place_of_trained(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Path:
    place = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_store, place)
    return place


@pytest.fixture
def trained_project(_place_of_trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work where `trained` was trained."""
    monkeypatch.chdir(_place_of_trained)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return _place_of_trained


@pytest.fixture(scope="session")
def train_small(_place_of_trained: Path) -> Callable[..., TrainingResult]:
    """Train a configuration with few rows and epochs, where `trained` was trained."""
    import nnt

    def train(name: str, **overrides: object) -> TrainingResult:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(_place_of_trained)
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            patch.setenv("NNT_CACHE_DIR", str(_place_of_trained / "cache"))
            return nnt.train(nnt.load_config(name, overrides={**SMALL, **overrides}))

    return train


@pytest.fixture(scope="session")
def trained(train_small: Callable[..., TrainingResult]) -> TrainingResult:
    """A small training, which all tests of evaluations share."""
    return train_small("baseline_v2")


@pytest.fixture(scope="session")
def only_z(train_small: Callable[..., TrainingResult]) -> TrainingResult:
    """A small training of a network of z only."""
    return train_small("baseline_v1_only_z", experts=[3], epochs=1)


@pytest.fixture
def files(tmp_path: Path, make_tracks: Callable[..., Tracks]) -> list[Path]:
    paths = [tmp_path / "period1.gz", tmp_path / "period2.gz"]
    for seed, path in enumerate(paths):
        write_tracks(make_tracks(200, seed=seed, experts=(0, 3)), path)
    return paths


@pytest.fixture
def few_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnt.plots import registry

    names = ("z_residual", "z_resolution_against_pt")
    few = {name: registry._PLOTS[name] for name in names}
    monkeypatch.setattr(registry, "_PLOTS", few)
