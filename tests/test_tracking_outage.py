"""The tracking store goes away or never was: nothing is lost, nothing doubled."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from some_runs import assert_whole, images, log_some, outboxes, points, start

from bench._frame import Server
from nnt.cli import main
from nnt.errors import TrackingError
from nnt.tracking import MlflowTracker, find_waiting, open_run, sync
from nnt.tracking.sender import Sender
from nnt.training.resume import warn_of_interrupted

IMAGE = np.zeros((8, 8, 3), dtype=np.uint8)


pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture(params=["database", "files"])
def tracker(
    request: pytest.FixtureRequest,
    workplace: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> MlflowTracker:
    """A tracker on each kind of local store; that of files keeps what comes twice."""
    if request.param == "database":
        shutil.copy(empty_store, workplace)
        return MlflowTracker()
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{workplace / 'store'}")
    return MlflowTracker()


@pytest.fixture
def database(project: Path) -> MlflowTracker:
    return MlflowTracker()


def wait_until(condition: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[Server]:
    place = tmp_path / "server"
    place.mkdir()
    shutil.copy(empty_store, place)
    with Server(place, "mlflow.db") as made:
        yield made


def test_a_server_that_goes_away_and_comes_back(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "nnt")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    patient, hasty = MlflowTracker(), MlflowTracker()
    runs = [run for tracker in (patient, hasty) for run in start(tracker)]
    for run in runs:
        log_some(run)
    wait_until(lambda: not patient._outbox.waiting() and not hasty._outbox.waiting())

    server.stop()
    begin = time.monotonic()
    for run in runs:
        log_some(run, 21, 40)
        run.finish("FINISHED")
    assert time.monotonic() - begin < 1
    monkeypatch.setattr("nnt.tracking.delivery.PATIENCE_S", 0.2)
    n_left = hasty.close()
    assert n_left > 0
    (place,) = (p for p in outboxes() if p.parent.name == runs[2].run_id)
    assert f"nnt sync {place.resolve().parent}" in caplog.text
    with pytest.raises(TrackingError, match="does not answer"):
        sync(find_waiting(place.parent))

    monkeypatch.setattr("nnt.tracking.delivery.PATIENCE_S", 30)
    server.start()
    assert patient.close() == 0
    assert "takes metrics, parameters and tags again" in caplog.text
    listed = CliRunner().invoke(main, ["sync", "--list", "--json"])
    (waiting,) = json.loads(listed.stdout)["waiting"]
    assert (waiting["run_id"], waiting["n_operations"]) == (runs[2].run_id, n_left)
    done = CliRunner().invoke(main, ["sync", "--json"])
    assert done.exit_code == 0, done.output
    (delivered,) = json.loads(done.stdout)["delivered"]
    assert (delivered["n_delivered"], delivered["n_left"]) == (n_left, 0)
    assert not outboxes()
    for run in runs:
        assert_whole(run.run_id, 40)
        assert len(images(run.run_id)) == 4
    assert open_run(runs[1].run_id).tags["mlflow.parentRunId"] == runs[0].run_id
    warnings = [r for r in caplog.records if "does not take" in r.getMessage()]
    assert len(warnings) == 2  # one for each tracker, however often it has failed


@pytest.mark.parametrize("is_noted", [False, True])
def test_what_was_delivered_before_a_kill_is_not_doubled(
    tracker: MlflowTracker, tmp_path: Path, is_noted: bool
) -> None:
    parent, child = start(tracker)
    for run in (parent, child):
        log_some(run)
        run.finish("FINISHED")
    path, kept = tracker._outbox.path, tmp_path / "kept"
    assert path is not None
    if not is_noted:
        shutil.copy(path, kept)  # as a process that is killed now would leave it
    wait_until(lambda: not tracker._outbox.waiting())
    if is_noted:
        tracker._outbox.write()
        shutil.copy(path, kept)
    assert tracker.close() == 0
    assert not path.exists()
    shutil.move(kept, path)
    done = sync(find_waiting(path.parent))
    assert (done.n_refused, done.n_left) == (0, 0)
    assert not path.exists()
    for run in (parent, child):
        assert_whole(run.run_id)
        assert len(images(run.run_id)) == 2


def test_a_batch_whose_answer_was_lost_is_not_doubled(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Sender._log
    lost: list[object] = []

    def lose_answer(sender: Sender, run_id: str, items: list[Any]) -> None:
        send(sender, run_id, items)
        if not lost:
            lost.append(run_id)
            raise ConnectionError("connection reset by peer")

    monkeypatch.setattr(Sender, "_log", lose_answer)
    _, child = start(tracker)
    log_some(child)
    child.finish("FINISHED")
    assert tracker.close() == 0
    assert lost == [child.run_id]
    assert_whole(child.run_id)


def test_what_a_killed_process_has_logged_is_delivered(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = (
        "import os, signal, nnt.tracking.delivery as d\n"
        "d.FLUSH_EVERY_S = 3600\n"
        "from nnt.tracking import MlflowTracker\n"
        "t = MlflowTracker()\n"
        "kind = {'nnt.kind': 'training'}\n"
        "run = t.start_run('r', description='', tags=kind)\n"
        "for step in range(1, 21):\n"
        "    run.log_metrics({'val/loss': 1 / step, 'lr': 1e-3}, step)\n"
        "run.log_params({'cfg.lr': 0.001})\n"
        "run.log_text('until 20\\n', 'config.yaml')\n"
        "run.finish('FINISHED')\n"
        "print(run.run_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    run_id = done.stdout.strip()
    assert open_run(run_id).status == "RUNNING"
    with closing(MlflowTracker()) as tracker:
        warn_of_interrupted(tracker)
    assert f"nnt sync {Path.cwd() / '.nnt' / 'runs' / run_id}" in caplog.text
    assert "--resume" not in caplog.text
    listed = CliRunner().invoke(main, ["list"])
    assert "upload pending" in " ".join(listed.stdout.split())
    assert "interrupted" not in listed.stdout
    told = CliRunner().invoke(main, ["sync", run_id])
    assert told.exit_code == 0, told.output
    assert_whole(run_id)
    again = CliRunner().invoke(main, ["sync", run_id])
    assert again.exit_code == 0
    assert "nothing to upload" in again.stdout


def test_a_store_of_artifacts_that_cannot_be_written_keeps_nothing_else_waiting(
    database: MlflowTracker, caplog: pytest.LogCaptureFixture
) -> None:
    _, child = start(database)
    blocked = Path("mlruns")
    assert not blocked.exists()
    blocked.touch()  # a file where the directory should be: nobody can write there
    log_some(child)
    wait_until(lambda: points(child.run_id, "val/loss"))
    wait_until(lambda: "artifacts" in caplog.text)
    blocked.unlink()
    child.finish("FINISHED")
    assert database.close() == 0
    assert_whole(child.run_id)
    told = [r for r in caplog.records if "does not take artifacts" in r.getMessage()]
    assert len(told) == 1


def test_a_database_that_is_locked_holds_up_no_training(
    database: MlflowTracker,
) -> None:
    _, child = start(database)
    with closing(sqlite3.connect("mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begin = time.monotonic()
        log_some(child)
        child.finish("FINISHED")
        assert time.monotonic() - begin < 0.5
        time.sleep(0.3)
        other.execute("ROLLBACK")
    assert database.close() == 0
    assert_whole(child.run_id)


def test_a_stop_does_not_wait_for_a_store_that_hangs(
    database: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnt.tracking.delivery.HURRY_S", 0.3)
    _, child = start(database)
    hanging = Event()
    monkeypatch.setattr(
        database._client, "log_batch", lambda *_, **__: hanging.wait(30)
    )
    log_some(child)
    stop = Event()
    stop.set()
    begin = time.monotonic()
    assert database.close(stop) > 0
    hanging.set()
    assert time.monotonic() - begin < 2
    assert len(outboxes()) == 1


def test_the_model_lets_deliver_what_is_there_while_figures_are_computed(
    database: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnt.tracking.delivery.FLUSH_EVERY_S", 3600)
    _, child = start(database)
    time.sleep(0.2)  # a pause of the old length may have begun
    log_some(child)
    assert not points(child.run_id, "lr")
    (child.directory / "model").mkdir()
    model = f"{child.run_id}/model"
    database._outbox.add(child.run_id, "folder", path=model, folder="model")
    wait_until(lambda: not database._outbox.waiting())
    child.finish("FINISHED")
    assert database.close() == 0
    assert_whole(child.run_id)


def test_a_stop_tells_the_end_before_it_sends_files(
    database: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnt.tracking.delivery.FLUSH_EVERY_S", 3600)
    _, child = start(database)
    calls: list[str] = []
    for name in ("_log", "_file", "_end"):
        real = getattr(Sender, name)

        def noted(*args: Any, _name: str = name, _real: Any = real, **more: Any) -> Any:
            calls.append(_name)
            return _real(*args, **more)

        monkeypatch.setattr(Sender, name, noted)
    log_some(child)
    child.finish("KILLED", resumable=True)
    stop = Event()
    stop.set()
    assert database.close(stop) == 0
    assert calls.index("_end") < calls.index("_file")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
def test_no_file_is_sent_from_outside_the_runs(
    database: MlflowTracker, path: str
) -> None:
    parent, _ = start(database)
    database._outbox.add(parent.run_id, "file", path=path, folder="")
    assert database.close() == 1


def test_a_server_that_never_answers_is_told_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nnt.tracking.store.CONNECT_S", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        begin = time.monotonic()
        with pytest.raises(TrackingError, match="does not answer: no answer within"):
            MlflowTracker(f"http://127.0.0.1:{port}")
    assert time.monotonic() - begin < 5
