"""No file, message or run shows the password of a store."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from nnt.cli import main
from nnt.errors import TrackingError
from nnt.tracking import MlflowTracker, hide_passwords, open_run
from nnt.tracking.store_uri import split_store

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:5000/x", "http://***@host:5000/x"),
        ("postgresql://me:se@cret@host/runs", "postgresql://***@host/runs"),
        ("none from https://secret@host: 401", "none from https://***@host: 401"),
        ("mysql://h/db?user=me&password=secret&x", "mysql://h/db?user=me&password=***&x"),
        ("http://host/a@b", "http://host/a@b"),
        ("sqlite:////data/me@home/mlflow.db", "sqlite:////data/me@home/mlflow.db"),
        ("mail me@host", "mail me@host"),
    ],
)  # fmt: skip
def test_no_address_shows_its_password(text: str, shown: str) -> None:
    assert hide_passwords(text) == shown


def test_errors_and_files_of_a_training_hold_no_password(
    workplace: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = f"http://me:secret@127.0.0.1:{free_port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError) as told:
        MlflowTracker()
    assert "secret" not in str(told.value)
    tracker = MlflowTracker(offline=True)
    run = tracker.start_run("base", description="", tags={})
    run.finish("FINISHED")
    tracker.close()
    listed = CliRunner().invoke(main, ["sync", "--list"])
    assert run.run_id in listed.output.replace("\n", "")
    delivered = CliRunner().invoke(main, ["sync"])
    assert "does not answer" in delivered.output  # it has found the whole address
    kept = [path.read_bytes() for path in workplace.rglob("*") if path.is_file()]
    assert not any(b"secret" in data for data in kept)
    assert "secret" not in listed.output + delivered.output
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    without = CliRunner().invoke(main, ["sync"])
    assert "without its password" in without.output


def test_what_a_run_keeps_holds_no_password_and_its_address_works_again(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = "http://me:secret@127.0.0.1:5000"
    tracker = MlflowTracker()
    command = f"nnt train base -m compare_to={uri}#{'0' * 32}"
    run = tracker.start_run("base", description=command, tags={"nnt.command": command})
    run.log_params({"cfg.compare_to": f"{uri}#{'0' * 32}"})
    run.set_tags({"mlflow.note.content": command})
    run.finish("FAILED", f"no answer from {uri}")
    assert tracker.close() == 0
    found = open_run(run.run_id)
    kept = f"http://***@127.0.0.1:5000#{'0' * 32}"
    assert found.params["cfg.compare_to"] == kept
    assert "secret" not in f"{found.tags} {found.params}"
    assert split_store(kept) == ("http://127.0.0.1:5000", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert split_store(kept) == (uri, "0" * 32)
