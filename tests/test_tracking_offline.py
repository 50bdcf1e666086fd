"""Trainings without a store: their runs are made there later, once and whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from some_runs import assert_whole, log_some, outboxes, start

from nnt.cli import main
from nnt.errors import TrackingError
from nnt.tracking import MlflowTracker, find_waiting, open_run, sync

pytestmark = pytest.mark.usefixtures("short_pauses")


def test_offline_runs_are_made_in_the_store_later(
    project: Path,
) -> None:
    tracker = MlflowTracker("http://127.0.0.1:1", offline=True)
    parent, child = start(tracker)
    for run in (parent, child):
        log_some(run)
        run.finish("FINISHED")
    assert tracker.close() > 0
    with pytest.raises(TrackingError, match=f"nnt sync {parent.run_id}"):
        open_run(parent.run_id)
    uri = f"sqlite:///{project / 'mlflow.db'}"
    done = CliRunner().invoke(main, ["sync", "--to", uri])
    assert done.exit_code == 0, done.output
    found = open_run(parent.run_id)
    assert f"run {parent.run_id} is {found.run_id}" in done.stdout
    assert found.name == "baseline_v2"
    (stored,) = found.children()
    assert open_run(child.run_id).run_id == stored.run_id
    for run_id in (found.run_id, stored.run_id):
        assert_whole(run_id)
    assert not outboxes()


def test_offline_runs_are_made_once_however_often_delivery_is_cut_off(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = MlflowTracker(offline=True)
    parent, child = start(tracker)
    log_some(child)
    child.finish("FINISHED")
    tracker.close()
    waiting = find_waiting(parent.directory)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    for place in ("keep_ids", "Sender._log"):
        with monkeypatch.context() as patch:
            patch.setattr(f"nnt.tracking.sender.{place}", die)
            with pytest.raises(KeyboardInterrupt):
                sync(waiting)
    assert sync(waiting).n_left == 0
    assert_whole(open_run(child.run_id).run_id)
    assert len(MlflowTracker()._client.search_runs(["0"])) == 2


def test_a_run_that_was_synced_can_be_resumed(project: Path) -> None:
    tracker = MlflowTracker(offline=True)
    parent, _ = start(tracker)
    parent.log_text("epochs: 3\n", "config.yaml")
    parent.finish("KILLED", resumable=True)
    tracker.close()
    sync(find_waiting(parent.directory))
    again = MlflowTracker()
    run = again.resume_run(open_run(parent.run_id).run_id)
    assert run.directory.resolve() == parent.directory.resolve()
    run.finish("FINISHED")
    assert again.close() == 0
    assert open_run(parent.run_id).status == "FINISHED"


def test_a_run_directory_that_was_copied_is_delivered(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tracker = MlflowTracker(offline=True)
    run, _ = start(tracker)
    log_some(run)
    run.finish("FINISHED")
    tracker.close()
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(run.directory, copy)
    done = CliRunner().invoke(main, ["sync", str(copy)])
    assert done.exit_code == 0, done.output
    tags = "tags.`nnt.offline_id` = '" + run.run_id + "'"
    (made,) = MlflowTracker()._client.search_runs(["0"], tags)
    assert made.info.status == "FINISHED"


@pytest.mark.parametrize(
    "options", [["--offline"], ["-p", "--offline", "--resume", "x"]]
)
def test_offline_is_for_new_production_trainings(options: list[str]) -> None:
    done = CliRunner().invoke(main, ["train", "baseline_v2", *options])
    assert done.exit_code == 2
    assert "--offline" in done.stderr
