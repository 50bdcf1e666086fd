"""Variables, paths, experiments and proxies as they are found on people's machines."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from nnt.cli import main
from nnt.errors import TrackingError
from nnt.tracking import MlflowTracker, Run, open_run
from nnt.tracking.store import connect_to_read, reason_of
from nnt.tracking.store_uri import (
    settle_mlflow,
    sqlite_path,
    sqlite_uri,
)

pytestmark = pytest.mark.usefixtures("workplace")

VARIABLES = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")


@pytest.fixture
def client(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def train(name: str = "base", tracker: MlflowTracker | None = None) -> Run:
    """Leave a run, as a training does."""
    tracker = tracker or MlflowTracker()
    tags = {"nnt.kind": "training"}
    run = tracker.start_run(name, description=name, tags=tags)
    run.log_text("epochs: 3\n", "config.yaml")
    run.finish("FINISHED")
    assert tracker.close() == 0
    return run


@pytest.mark.parametrize("value", ["", " ", "\n"])
@pytest.mark.parametrize(
    "name",
    [*VARIABLES, "MLFLOW_TRACKING_URI", "MLFLOW_HTTP_REQUEST_TIMEOUT",
     "MLFLOW_ENABLE_ASYNC_LOGGING"],
)  # fmt: skip
def test_a_variable_that_is_set_to_nothing_counts_as_not_set(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    run = train()
    assert client.get_run(run.run_id).info.status == "FINISHED"


def test_only_the_first_process_takes_the_run_that_all_inherit(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_run = client.create_run("0").info.run_id
    runs = []
    for name in ("first", "second", "third"):
        monkeypatch.setenv("MLFLOW_RUN_ID", given_run)
        runs.append(train(name))
    assert runs[0].run_id == given_run
    assert len({run.run_id for run in runs}) == 3
    assert client.get_run(given_run).info.run_name == "first"
    assert client.get_run(given_run).data.tags["mlflow.note.content"] == "first"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_that_has_ended_is_not_taken_over(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    ended = client.create_run("0", run_name="mine").info.run_id
    client.set_terminated(ended, status)
    monkeypatch.setenv("MLFLOW_RUN_ID", ended)
    assert train().run_id != ended
    assert client.get_run(ended).info.run_name == "mine"
    assert client.get_run(ended).info.status == status


def test_a_resumed_training_leaves_the_run_of_another_one_alone(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, mine = train("other"), train("mine")
    monkeypatch.setenv("MLFLOW_RUN_ID", other.run_id)
    tracker = MlflowTracker()
    tracker.resume_run(mine.run_id).finish("FINISHED")
    assert tracker.close() == 0
    found = client.get_run(other.run_id)
    assert found.info.run_name == "other"
    assert "nnt.resumes" not in found.data.tags


def test_async_logging_of_mlflow_does_not_hide_that_a_store_has_failed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    tracker = MlflowTracker()
    run = tracker.start_run("base", description="", tags={})
    run.log_params({"a": 1})
    run.log_params({"a": 2})  # refused: it cannot be changed
    assert tracker.close() == 1


def test_trainings_go_to_the_list_of_mlflow_run_or_to_one_called_nnt(
    client: MlflowClient,
) -> None:
    by_mlflow_run = client.create_run("0").info.experiment_id
    assert train().experiment_id == by_mlflow_run
    assert "nnt-trainings" in "".join(client.get_experiment("0").tags)
    client.rename_experiment("0", "thesis")
    run = train()
    assert run.experiment_id == by_mlflow_run
    assert open_run(run.run_id).name == "base"
    made = client.create_experiment("nnt", artifact_location="mlruns")
    assert train().experiment_id == made


def test_a_deleted_default_is_replaced_and_a_deleted_choice_is_explained(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.create_experiment("nnt", artifact_location="mlruns")
    client.delete_experiment(made)
    assert train().experiment_id == "0"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nnt")
    with pytest.raises(TrackingError, match=rf"restore .*--experiment-id {made}"):
        train()
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", made)
    with pytest.raises(TrackingError, match="deleted"):
        train()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"MLFLOW_EXPERIMENT_ID": "77"}, "no experiment '77'.*MLFLOW_EXPERIMENT_ID"),
        ({"MLFLOW_EXPERIMENT_ID": "0", "MLFLOW_EXPERIMENT_NAME": "other"}, "unset one"),
        ({"MLFLOW_RUN_ID": "f" * 32}, "MLFLOW_RUN_ID"),
    ],
)
def test_variables_that_fit_no_store_are_named(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    said: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TrackingError, match=said):
        train()


@pytest.mark.parametrize("name", ["a?b", "a%41b", "a b", "100% ä=&#"])
def test_any_name_of_a_directory_keeps_its_runs(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = tmp_path / "in" / name
    place.mkdir(parents=True)
    shutil.copy(empty_store, place)
    monkeypatch.chdir(place)
    run = train()
    assert open_run(run.run_id).read_text("config.yaml") == "epochs: 3\n"
    assert {p.name for p in place.iterdir()} == {
        "mlflow.db", "mlruns", ".nnt", ".nnt.lock",
    }  # fmt: skip
    assert [p.name for p in place.parent.iterdir()] == [name]
    monkeypatch.chdir(tmp_path)
    assert open_run(f"{place}#{run.run_id}").name == "base"


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3))
def test_the_address_of_any_file_leads_back_to_it(parts: list[str]) -> None:
    name = "/".join(part.replace("/", "_").replace("\0", "_") for part in parts)
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    path = Path("/data") / name
    assert sqlite_path(sqlite_uri(path)) == path


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "0" * 32],
        ["export", "0" * 32, "--to", "json", "-o", "out"],
        ["compare", "0" * 32, "1" * 32],
        ["register", "0" * 32, "x"],
        ["sync"],
        ["sync", "--list"],
        ["train", "base", "-p", "--resume", "0" * 32],
        ["sweep", "--resume", "0" * 32],
    ],
)
def test_commands_that_read_make_nothing(workplace: Path, command: list[str]) -> None:
    CliRunner().invoke(main, command)
    assert [p.name for p in workplace.iterdir() if p.name != "nnt-cache"] == []


def test_reading_needs_no_place_to_write(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train()
    (project / ".nnt.lock").unlink()
    before = sorted(project.rglob("*"))
    elsewhere = project / "elsewhere"
    elsewhere.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.chdir(elsewhere)
    assert open_run(f"{project}#{run.run_id}").name == "base"
    assert sorted(project.rglob("*")) == sorted([*before, elsewhere])


def test_a_database_of_something_else_is_refused_as_it_is(workplace: Path) -> None:
    with closing(sqlite3.connect("mlflow.db")) as other:
        other.execute("CREATE TABLE mine (x)")
    before = Path("mlflow.db").read_bytes()
    with pytest.raises(TrackingError, match="not a database of MLflow"):
        open_run("0" * 32)
    Path("text.db").write_text("no database at all" * 100)
    with pytest.raises(TrackingError, match="file is not a database"):
        open_run(f"text.db#{'0' * 32}")
    assert Path("mlflow.db").read_bytes() == before


@pytest.fixture
def moved(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Path]]:
    """A project that has been moved after a training; the run in it, and its place."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    shutil.copy(empty_store, before)
    monkeypatch.chdir(before)
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        place = f"{before}/mlruns/0"
        database.execute("UPDATE experiments SET artifact_location = ?", (place,))
    run = train()
    monkeypatch.chdir(tmp_path)
    before.rename(after)
    monkeypatch.chdir(after)
    yield run.run_id, before
    assert not before.exists()


def test_artifacts_of_a_moved_project_are_found_and_added_to(
    moved: tuple[str, Path],
) -> None:
    run_id, _ = moved
    found = open_run(run_id)
    assert found.read_text("config.yaml") == "epochs: 3\n"
    assert found.holds("config.yaml")
    tracker = MlflowTracker()
    tracker.reopen(run_id, "0").log_text("more", "more.txt")
    assert tracker.close() == 0
    assert found.read_text("more.txt") == "more"


def test_what_a_moved_project_cannot_do_names_its_old_place(
    moved: tuple[str, Path],
) -> None:
    run_id, before = moved
    with pytest.raises(TrackingError, match=f"{before}.*MLFLOW_EXPERIMENT_NAME"):
        train()
    shutil.rmtree("mlruns")
    with pytest.raises(TrackingError, match=str(before)):
        open_run(run_id).read_text("config.yaml")


def test_a_place_where_no_database_can_be_made_is_named_at_once(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # whoever runs the tests
    with pytest.raises(TrackingError, match=f"can be made in {workplace}"):
        MlflowTracker()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "(raised as a result of Query-invoked autoflush; consider using a "
            "session.no_autoflush block if this flush is occurring prematurely)\n"
            "(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT ...]",
            "database or disk is full; make room",
        ),
        ("(sqlite3.OperationalError) it is locked\n[SQL: x]", "it is locked"),
        ("(psycopg2.OperationalError) connection refused", "connection refused"),
        ("request to http://me:pw@h/api failed", "request to http://***@h/api failed"),
        (
            "API request to http://h:1/api failed with exception HTTPConnectionPool("
            "host='h', port=1): Max retries exceeded with url: /api (Caused by "
            "NewConnectionError(\"HTTPConnection(host='h', port=1): Failed to "
            "establish a new connection: [Errno 111] Connection refused\"))",
            "[Errno 111] Connection refused",
        ),
        (
            "failed with exception Pool: Max retries (Caused by ConnectTimeoutError("
            "<HTTPConnection(host='h') at 0x7f>, 'Connection to h timed out.'))",
            "Connection to h timed out.",
        ),
        ("x (Caused by SSLError(SSLError(1, '[SSL: NO] none')))", "[SSL: NO] none"),
        ("bad header value: 'Bearer abc\\n1'", "bad header value: 'Bearer ***'"),
        ("", "OSError"),
        ("one\ntwo", "one"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failure_is_what_the_store_said(said: str, reason: str) -> None:
    assert reason_of(OSError(said)) == reason


@pytest.mark.parametrize(
    "given_hosts",
    [{}, {"no_proxy": "desy.de"}, {"NO_PROXY": "a, b"}, {"no_proxy": "*"}],
)
def test_loopback_never_goes_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, given_hosts: dict[str, str]
) -> None:
    from requests.utils import get_environ_proxies, should_bypass_proxies

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, given_hosts.get(name, ""))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    settle_mlflow()
    for host in ("127.0.0.1", "localhost"):
        url = f"http://{host}:5000/"
        assert not get_environ_proxies(url) or should_bypass_proxies(url, None)
    uses_proxy = "http_proxy" in os.environ
    assert uses_proxy == ("*" not in given_hosts.values())
    for hosts in given_hosts.values():
        assert hosts.split(", ")[0] in os.environ["NO_PROXY"] or not uses_proxy


def test_a_database_of_another_mlflow_is_named_with_the_remedy(project: Path) -> None:
    with closing(sqlite3.connect(project / "mlflow.db")) as base:
        base.execute("update alembic_version set version_num = '4465047574b1'")
        base.commit()
    with pytest.raises(TrackingError) as error:
        connect_to_read(f"sqlite:///{project}/mlflow.db")
    assert "another version of MLflow made it" in str(error.value)
    assert f"mlflow db upgrade 'sqlite:///{project}/mlflow.db'" in str(error.value)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mlruns", "MLFLOW_TRACKING_URI=sqlite:///{}/mlruns/mlflow.db, or set MLFLOW_"),
        ("localhost:5000", "expected an address such as http://HOST:5000 or sqlite:"),
        ("htp://localhost", "expected an address such as http://HOST:5000 or sqlite:"),
        ("sqlite:////proc/none/m.db", "/proc/none"),
        ("sqlite://", "expected a file, such as sqlite:////PATH/mlflow.db"),
        ("sqlite:///:memory:", "expected a file, such as sqlite:////PATH/mlflow.db"),
        ("sqlite:///{}", "it is a directory; name a file in it"),
        ("sqlite:///~/runs/mlflow.db", "~ is not expanded in an address"),
        ("oracle://me:pw@host/x", "oracle://***@host/x cannot be used"),
    ],
)
def test_an_address_that_is_none_makes_nothing_and_names_one_that_is(
    workplace: Path, uri: str, said: str
) -> None:
    with pytest.raises(TrackingError, match="cannot be used") as error:
        MlflowTracker(uri.format(workplace))
    assert said.format(workplace) in str(error.value)
    assert not list(workplace.iterdir())
