"""A run is found by each form of its name, and read within bounds."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_tracking import start

from nnt.errors import TrackingError
from nnt.tracking import MlflowTracker, open_run
from nnt.tracking.store_uri import split_store, sqlite_path

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "0" * 5,
        "0" * 33,
        "0" * 16 + "\n" + "0" * 15,
        "A" * 32,
        "runs:/" + "0" * 32 + "/../../etc/passwd",
        "runs:/" + "0" * 32 + "?x=1",
        "models:/",
        "models:/a@b/c",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://127.0.0.1/" + "0" * 32,
        "http://127.0.0.1:1/#/experiments/1/models/" + "0" * 32,
        "x" * 1_000_000,
    ],
)
def test_what_is_not_a_run_is_refused_before_any_store_is_asked(
    workplace: Path, text: str
) -> None:
    with pytest.raises(TrackingError, match="expected an ID") as told:
        open_run(text)
    assert len(str(told.value)) < 300
    assert not (workplace / "mlflow.db").exists()


@pytest.mark.parametrize("form", ["{}", "runs:/{}", "runs:/{}/weights.json"])
def test_a_run_is_found_by_each_form(tracker: MlflowTracker, form: str) -> None:
    run = start(tracker)
    assert open_run(form.format(run.run_id)).run_id == run.run_id


def test_a_run_of_another_store_is_found_by_each_form(
    workplace: Path,
    empty_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = tmp_path_factory.mktemp("project")
    store = shutil.copy(empty_store, project)
    tracker = MlflowTracker(f"sqlite:///{store}")
    run = start(tracker)
    run.log_text("here", "weights.json")
    run.finish("FINISHED")
    assert tracker.close() == 0
    page = f"/experiments/1/runs/{run.run_id}/artifacts?x=1"
    for text in (
        f"{project}#{run.run_id}",
        f"{store}#runs:/{run.run_id}/weights.json",
        f"sqlite:///{store}#{run.run_id}",
        f"sqlite:///{store}#{page}",
    ):
        found = open_run(text)
        assert (found.run_id, found.uri) == (run.run_id, f"sqlite:///{store}")
        assert found.read_text(found.path or "weights.json") == "here"
    monkeypatch.chdir(project.parent)
    assert open_run(f"{project.name}#{run.run_id}").run_id == run.run_id
    with pytest.raises(TrackingError, match="STORE#RUN"):
        open_run(run.run_id)


@pytest.mark.parametrize(
    "store", ["", "absent.db", "sqlite:///absent.db", "~nobody-at-all/x", "x" * 10**6]
)
def test_a_store_that_is_not_there_is_refused_and_never_made(
    workplace: Path, store: str
) -> None:
    with pytest.raises(TrackingError, match="is not a tracking store") as told:
        open_run(f"{store}#{'0' * 32}")
    assert len(str(told.value)) < 300
    assert not list(workplace.glob("*.db"))


def test_a_registered_model_leads_to_its_run(tracker: MlflowTracker) -> None:
    run = start(tracker)
    client = tracker._client
    client.create_registered_model("nnt-test")
    source = f"runs:/{run.run_id}/model"
    made = client.create_model_version("nnt-test", source, run.run_id)
    client.set_registered_model_alias("nnt-test", "champion", made.version)
    assert open_run("models:/nnt-test@champion").run_id == run.run_id
    assert open_run("models:/nnt-test").run_id == run.run_id


def test_an_unknown_run_names_the_store_and_what_to_do() -> None:
    with pytest.raises(TrackingError, match=r"mlflow\.db.*MLFLOW_TRACKING_URI"):
        open_run("0" * 32)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b"])
def test_no_artifact_is_read_from_outside_the_run(
    tracker: MlflowTracker, path: str
) -> None:
    found = open_run(start(tracker).run_id)
    with pytest.raises(TrackingError, match="points outside the run"):
        found.read_text(path)


def test_a_missing_artifact_is_named(tracker: MlflowTracker) -> None:
    found = open_run(start(tracker).run_id)
    with pytest.raises(TrackingError, match=r"holds no artifact weights\.json"):
        found.read_text("weights.json")


def test_a_run_is_found_by_the_beginning_of_its_id(tracker: MlflowTracker) -> None:
    run, other = start(tracker), start(tracker)
    n = next(n for n in range(6, 33) if run.run_id[:n] != other.run_id[:n])
    for text in (run.run_id[:n], f"runs:/{run.run_id[:n]}/config.yaml"):
        assert open_run(text).run_id == run.run_id
    with pytest.raises(TrackingError, match=r"no run .* begins with"):
        open_run("f" * 10 if run.run_id[0] != "f" != other.run_id[0] else "e" * 10)


def test_a_beginning_of_several_ids_is_refused_with_all_of_them(
    tracker: MlflowTracker,
) -> None:
    ids = ["abcdef" + digit * 26 for digit in "01"]
    for new in ids:
        old = tracker._client.create_run("0").info.run_id
        with closing(sqlite3.connect("mlflow.db")) as database, database:
            for table in ("runs", "tags"):
                database.execute(
                    f"UPDATE {table} SET run_uuid = ? WHERE run_uuid = ?",
                    (new, old),
                )
    with pytest.raises(TrackingError, match="several runs") as told:
        open_run("abcdef")
    assert all(run_id in str(told.value) for run_id in ids)
    assert open_run("abcdef0").run_id == ids[0]


def test_a_directory_with_a_number_sign_can_hold_a_store(
    project: Path, tmp_path: Path
) -> None:
    place = tmp_path / "run #1"
    place.mkdir()
    shutil.copy("mlflow.db", place)
    store, run = split_store(f"{place}#runs:/{'0' * 32}")
    assert run == f"runs:/{'0' * 32}"
    assert sqlite_path(store or "") == place / "mlflow.db"
