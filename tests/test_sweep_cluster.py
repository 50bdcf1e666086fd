"""A sweep through a real Dask scheduler, with workers as processes of this machine."""

from __future__ import annotations

import gc
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest
from dask_jobqueue.local import LocalCluster
from some_processes import start, wait_for_checkpoint
from some_trainings import TINY

import nnt
from nnt.errors import TrainingError
from nnt.sweep import sweep
from nnt.sweep.cluster import what_is_missing
from nnt.tracking import open_run, runs_directory

PAGE = Path(__file__).parent.parent / "docs" / "cluster.md"
CONFIG = nnt.load_config("baseline_v2", TINY)
SPACE = {"learning_rate": {"choice": [0.01, 0.02]}}


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    with start("-m", "dask", *words, output=subprocess.DEVNULL) as running:
        try:
            yield running
        finally:
            running.terminate()


def worker(address: str) -> Any:
    return process("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")


@pytest.fixture
def scheduler(free_port: int) -> Iterator[str]:
    words = ["--host", "127.0.0.1", "--port", str(free_port), "--no-dashboard"]
    with process("scheduler", *words, "--no-show"):
        yield f"tcp://127.0.0.1:{free_port}"


def wait_for_workers(address: str, n: int) -> None:
    client: Any = distributed.Client
    with client(address, timeout=60, set_as_default=False) as asking:
        asking.wait_for_workers(n, timeout=60)


def kill_once_it_trains(project: Path, worker: subprocess.Popen[str]) -> None:
    def act() -> None:
        wait_for_checkpoint(worker, project)
        worker.send_signal(signal.SIGKILL)

    threading.Thread(target=act, daemon=True).start()


def test_a_trial_goes_on_elsewhere_when_its_worker_is_killed(
    project: Path, scheduler: str
) -> None:
    config = nnt.load_config(CONFIG, {"epochs": 400, "batch_size": 16})
    elsewhere = nnt.load_config(CONFIG, {"data": {"files": ["/nowhere/tracks.gz"]}})
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(scheduler)) for _ in range(2)]
        wait_for_workers(scheduler, 2)
        with pytest.raises(TrainingError, match="cannot see /nowhere"):
            sweep(elsewhere, SPACE, 2, sampler="grid", scheduler=scheduler)
        assert not runs_directory(project).exists()
        kill_once_it_trains(project, workers[0])
        result = sweep(config, SPACE, 2, sampler="grid", scheduler=scheduler)
    assert workers[0].returncode == -signal.SIGKILL
    assert [trial.state for trial in result.trials] == ["complete"] * 2
    run = open_run(result.run_id)
    trainings = run.children()
    # Each went on in its own run: shared directories keep checkpoints.
    assert {t.tags["nnt.trial"] for t in trainings} == {"0", "1"}
    assert len(trainings) == 2
    for stored in [run, *trainings, *(c for t in trainings for c in t.children())]:
        assert stored.status == "FINISHED"
    best = open_run(result.trials[result.best[0]].run_id)
    assert best.artifacts("plots")


# The local queue of dask-jobqueue leaves the pipes of its jobs open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_sweep_through_a_job_queue(project: Path) -> None:
    options = {"dashboard_address": ":0", "host": "127.0.0.1"}
    # The queue takes any error that a worker prints for its end, such as one of
    # clearing up after others in a directory that is shared with them.
    with LocalCluster(
        cores=1, memory="2GB", processes=1, scheduler_options=options,
        local_directory=str(project / "worker"),
    ) as cluster:  # fmt: skip
        cluster.scale(jobs=1)
        address = cluster.scheduler_address
        wait_for_workers(address, 1)
        result = sweep(CONFIG, SPACE, 1, sampler="grid", scheduler=address)
    assert [trial.state for trial in result.trials] == ["complete"]
    del cluster
    gc.collect()


BLOCKS = {
    re.findall(r"# (\w+)", block)[0]: block
    for block in re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE.read_text("utf-8"))
    if "Cluster(" in block
}


@pytest.mark.parametrize(
    ("system", "lines"),
    [
        ("HTCondor", ["RequestCpus", '+JobFlavour = "workday"', "Queue"]),
        ("Slurm", ["#SBATCH -p batch", "#SBATCH -A belle2", "#SBATCH --mem=3G"]),
        ("LSF", ["#BSUB -q l", "#BSUB -W 12:00", "#BSUB -M 3000000"]),
    ],
)
def test_submission_scripts_of_the_page_start_workers(
    system: str, lines: list[str], workplace: Path
) -> None:
    names: dict[str, Any] = {}
    # The usual port of the dashboard may be taken on this machine.
    options = {
        f"jobqueue.{system.lower()}.scheduler-options": {"dashboard_address": ":0"}
    }
    with dask.config.set(options):
        exec(BLOCKS[system], names)  # the page's own examples
    with names["cluster"] as cluster:
        script = cluster.job_script()
        worker = (
            "/shared/nnt/bin/python -m distributed.cli.dask_worker "
            f"{cluster.scheduler_address} "
        )
    for part in [*lines, worker, "--nthreads 1", "cd /shared/sweeps"]:
        assert part in script
    assert script.index("export MLFLOW_TRACKING_URI") < script.index(worker)


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"version": "0.0.1"}, "the sweep has 0.0.1"),
        ({"files": {"gone.gz": 3}}, "cannot see"),
        ({"files": {"short.gz": 3}}, "has 2 bytes, that of the sweep 3"),
        ({"uri": "sqlite:////nowhere/mlflow.db"}, "no tracking store at /nowhere"),
        ({}, ""),
    ],
)
def test_what_a_worker_lacks_is_named(
    project: Path, needs: dict[str, Any], words: str
) -> None:
    (project / "short.gz").write_bytes(b"12")
    whole = {
        "version": nnt.__version__, "files": {"short.gz": 2}, "directory": str(project),
        "uri": f"sqlite:///{project / 'mlflow.db'}",
    }  # fmt: skip
    found = what_is_missing(whole | needs)
    assert words in found
    assert bool(words) == bool(found)
