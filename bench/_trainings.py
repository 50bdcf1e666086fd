"""Small production trainings in processes of their own, and what they leave behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mlflow import MlflowClient

import nnt
from nnt.tracking import StoredRun, open_run

__all__ = ["SAMPLE", "Server", "Training", "differences", "everything", "small"]

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "belle2_exp20_sample.gz"
SPLIT = "[0.6, 0.2, 0.2]"
WAIT_S = 300.0


def small(data: Path | None) -> list[str]:
    """Options of a training of seconds: all experts, with an end, but no plots."""
    rows = f"files: [{data}]" if data else "simulate: {tracks: 3000, seed: 1}"
    overrides = (
        f"data={{{rows}, split: {SPLIT}}}", "epochs=60", "plot_every=0",
        "early_stopping_patience=null", "batch_size=64", "engine=torch",
    )  # fmt: skip
    return [word for pair in overrides for word in ("-m", pair)]


@dataclass
class Training:
    """``nnt train`` in a directory; its log goes to a file there."""

    home: Path
    options: list[str]
    uri: str | None = None
    """Tracking store; None for the default one."""
    logs: Path | None = None
    """Where its log goes; None for its directory."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    log: Path = field(init=False)
    starts: int = field(default=0, init=False)

    def start(self, resume: str | None = None) -> None:
        """Start it, in a run that is there or a new one."""
        self.starts += 1
        self.log = (self.logs or self.home) / f"log-{self.starts}.txt"
        command = [sys.executable, "-m", "nnt", "train", "baseline_v2", "-p"]
        command += [*self.options, *(["--resume", resume] if resume else [])]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command, cwd=self.home, env=environment(self.uri), stdout=out,
                stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def wait(self, seconds: float = WAIT_S) -> int | None:
        """Exit status; None if it has not ended in time."""
        assert self.process is not None
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def kill(self) -> bool:
        """End it without warning; whether it was still there."""
        assert self.process is not None
        lives = self.process.poll() is None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return lives

    def sync(self) -> None:
        """Deliver what waits on the disk, as the end of the training has told."""
        if not any(self.home.glob(".nnt/runs/*/outbox.db")):
            return
        command = [sys.executable, "-m", "nnt", "sync"]
        subprocess.run(
            command, cwd=self.home, env=environment(self.uri), check=False,
            capture_output=True,
        )  # fmt: skip

    def told(self) -> str:
        """The end of what it has said."""
        return self.log.read_text(errors="replace")[-2000:]

    def run_id(self) -> str | None:
        """Run of the training, as its last start has told it."""
        for line in self.log.read_text(errors="replace").splitlines():
            word, _, rest = line.partition(" ")
            if word == "run" and len(rest) > 32:
                return rest[:32]
        return None


def environment(uri: str | None) -> dict[str, str]:
    """Variables of a training: those of the benchmark, but for MLflow's own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    paths = [str(Path(nnt.__file__).parents[1]), kept.get("PYTHONPATH", "")]
    kept["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return kept | ({"MLFLOW_TRACKING_URI": uri} if uri else {})


def everything(run_id: str, uri: str) -> dict[str, Any]:
    """All of a training that must not depend on interruptions."""
    client = MlflowClient(uri)
    run = open_run(run_id, uri)
    found: dict[str, Any] = {"weights.json": run.read_text("weights.json")}
    for one in (run, *run.children()):
        found[f"{one.name}: status"] = (one.status, one.tags.get("nnt.outcome"))
        found[f"{one.name}: parameters"] = dict(one.params)
        found[f"{one.name}: artifacts"] = _artifacts(one)
        for name in one.metrics:
            points = client.get_metric_history(one.run_id, name)
            found[f"{one.name}: {name}"] = [(p.step, p.value) for p in points]
        if one is not run:
            found[f"{one.name}: metrics.csv"] = one.read_text("metrics.csv")
    return found


def _artifacts(run: StoredRun) -> list[str]:
    # MLflow has no name for the folder of all.
    listed = run._client.list_artifacts(run.run_id)
    files = [str(item.path) for item in listed if not item.is_dir]
    folders = [str(item.path) for item in listed if item.is_dir]
    return sorted([*files, *(p for folder in folders for p in run.artifacts(folder))])


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Names of what two trainings do not have in common."""
    names = sorted(first.keys() | second.keys())
    return [name for name in names if first.get(name) != second.get(name)]


class Server:
    """A real ``mlflow server`` on a port of its own, which can go and come back."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{self.home / 'server.db'}",
            "--artifacts-destination", str(self.home / "kept"),
        ]  # fmt: skip
        settings = environment(None) | {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self._log = (self.home / "server.log").open("ab")
        self._process = subprocess.Popen(
            command, env=settings, stdout=self._log, stderr=self._log,
            start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health"):
                return
            time.sleep(0.3)
        raise RuntimeError(f"mlflow server did not start; see {self.home}/server.log")

    def stop(self) -> None:
        """End it at once, with all its workers."""
        if self._process is None or self._log is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
