"""``nnt ui``: a real server on a real store."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from nnt.cli import main
from nnt.tracking import MlflowTracker

START_S = 120


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_it_shows_the_runs_of_the_project_until_ctrl_c(workplace: Path) -> None:
    tracker = MlflowTracker()
    run = tracker.start_run("baseline_v2", description="", tags={})
    run.finish("FINISHED")
    tracker.close()
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "nnt", "ui", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        page = server.stdout.readline().strip()
        assert page == f"http://127.0.0.1:{port}/#/experiments/{run.experiment_id}"
        address = f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get?run_id={run.run_id}"
        with urllib.request.urlopen(address, timeout=START_S) as answer:
            found = json.load(answer)["run"]["info"]
        assert found["run_name"] == "baseline_v2"
    finally:
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=START_S)
    assert server.returncode == 0, said
    assert said.splitlines()[-1] == "stopped"
    with contextlib.closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_is_told_before_anything_is_made(workplace: Path) -> None:
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["ui", "--port", port])
    assert done.exit_code == 1
    assert f"127.0.0.1:{port} cannot be listened on" in done.output
    assert "--port" in done.output
    assert not (workplace / "mlflow.db").exists()


def test_a_server_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@tracking.example")
    done = CliRunner().invoke(main, ["ui"])
    assert done.exit_code == 0
    assert "https://me@tracking.example" in done.output
    assert "secret" not in done.output
