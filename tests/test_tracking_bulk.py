"""Points written as rows: the same to every reader as by MLflow's own `log_batch`."""

from __future__ import annotations

import itertools
import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels.models import SqlMetric
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.exc import OperationalError

from nnt.tracking.bulk import BulkWriter
from nnt.tracking.journal import Points
from nnt.tracking.sender import Sender

KEYS = ("val/loss", "lr", "a.b-c")

pytestmark = pytest.mark.usefixtures("workplace")


@pytest.fixture
def client(workplace: Path, empty_store: Path) -> MlflowClient:
    shutil.copy(empty_store, workplace)
    return MlflowClient(tracking_uri=f"sqlite:///{workplace / 'mlflow.db'}")


@pytest.fixture
def run_id(client: MlflowClient) -> str:
    return new_run(client)


def new_run(client: MlflowClient, experiment: str = "0", start: int = 1) -> str:
    return str(client.create_run(experiment, start_time=start).info.run_id)


def stored(client: MlflowClient, run_id: str, key: str) -> list[tuple[str, ...]]:
    """Every point as the client gives it, as text: NaN is equal to itself there."""
    found = client.get_metric_history(run_id, key)
    return sorted((repr(p.step), repr(p.timestamp), repr(p.value)) for p in found)


def curve(n: int, key: str = "val/loss") -> list[Points]:
    return [(step, 1000 + step, {key: 1 / step}) for step in range(1, n + 1)]


def count(path: str = "mlflow.db", table: str = "metrics") -> int:
    with closing(sqlite3.connect(path)) as database:
        (n,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(n)


values = st.one_of(
    st.floats(width=64),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1.8e308]),
)
points = st.builds(
    lambda step, time_ms, key, value: (step, time_ms, {key: value}),
    st.integers(-1, 2) | st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2) | st.integers(0, 2**63 - 1),
    st.sampled_from(KEYS),
    values,
)
batches = st.lists(st.lists(points, min_size=1, max_size=8), min_size=1, max_size=3)


@dataclass
class Pair:
    """Two experiments of one store, each with as many runs."""

    client: MlflowClient
    experiments: tuple[str, str]
    numbers: Iterator[int]


@pytest.fixture(scope="module")
def pair(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    place = shutil.copy(empty_store, tmp_path_factory.mktemp("pair"))
    client = MlflowClient(tracking_uri=f"sqlite:///{place}")
    experiments = client.create_experiment("plain"), client.create_experiment("bulk")
    return Pair(client, experiments, itertools.count(1))


@settings(max_examples=40, deadline=None)
@given(
    runs=st.lists(batches, min_size=2, max_size=2),
    again=st.lists(st.integers(0, 2), max_size=2),
)
def test_every_reader_sees_what_log_batch_would_have_left(
    pair: Pair, runs: list[list[list[Points]]], again: list[int]
) -> None:
    client, start = pair.client, next(pair.numbers)
    sender = Sender(client, Path())
    made = [[new_run(client, e, start) for _ in runs] for e in pair.experiments]
    for plain, bulk, sent in zip(*made, runs, strict=True):
        # Batches come again, as after an answer that was lost.
        for batch in [*sent, *(sent[i % len(sent)] for i in again)]:
            entities = [
                Metric(key, value, time_ms, step)
                for step, time_ms, one in batch
                for key, value in one.items()
            ]
            client.log_batch(plain, entities)
            sender._send(bulk, batch)
        for key in KEYS:
            assert stored(client, plain, key) == stored(client, bulk, key)
        latest = [repr(client.get_run(r).data.metrics) for r in (plain, bulk)]
        assert latest[0] == latest[1]
    for key, way in itertools.product(KEYS, ("ASC", "DESC")):
        orders = []
        for experiment, ids in zip(pair.experiments, made, strict=True):
            found = client.search_runs(
                [experiment],
                f"attributes.start_time = {start}",
                order_by=[f"metrics.`{key}` {way}"],
            )
            figures = [repr(run.data.metrics.get(key)) for run in found]
            assert {run.info.run_id for run in found} == set(ids)
            orders.append(figures)
        assert orders[0] == orders[1]
    assert sender._bulk.is_open


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batch=st.lists(points, min_size=1, max_size=8, unique_by=repr))
def test_points_that_are_new_need_no_log_batch(
    pair: Pair, batch: list[Points], monkeypatch: pytest.MonkeyPatch
) -> None:
    new = {(k, s, t): (s, t, {k: v}) for s, t, one in batch for k, v in one.items()}
    run_id = new_run(pair.client)
    assert BulkWriter(pair.client).write(run_id, list(new.values()))


def test_a_batch_larger_than_a_statement(client: MlflowClient, run_id: str) -> None:
    names = [f"m/{number}" for number in range(1203)]
    batch: list[Points] = [(s, s, dict.fromkeys(names, s / 2)) for s in (3, 1, 2)]
    assert BulkWriter(client).write(run_id, batch)
    assert count() == 3 * 1203
    assert client.get_run(run_id).data.metrics == dict.fromkeys(names, 1.5)


def test_databases_with_drivers_of_another_kind_get_the_same(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_run(client)
    batches = [curve(30), [(31, 2000, {"val/loss": float("nan"), "lr": 0.5})]]
    for run, drivers in ((run_id, ("sqlite",)), (other, ())):
        monkeypatch.setattr("nnt.tracking.bulk.MANY_ROWS", drivers)
        assert all(BulkWriter(client).write(run, batch) for batch in batches)
    for key in ("val/loss", "lr"):
        assert stored(client, run_id, key) == stored(client, other, key)
    found = [repr(client.get_run(run).data.metrics) for run in (run_id, other)]
    assert found[0] == found[1]


@pytest.mark.parametrize("table", ["metrics", "latest_metrics"])
def test_tables_of_another_form_are_left_to_log_batch(
    client: MlflowClient, run_id: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect("mlflow.db")) as database:
        database.execute(f"ALTER TABLE {table} ADD COLUMN unit VARCHAR(10)")
    with caplog.at_level(logging.DEBUG, "nnt"):
        sender = Sender(client, Path())
        for batch in (curve(5), curve(9)[5:]):
            sender._send(run_id, batch)
    assert not sender._bulk.is_open
    assert len(stored(client, run_id, "val/loss")) == 9
    assert caplog.text.count("points go through log_batch") == 1


def test_classes_of_another_form_are_left_to_log_batch(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "mlflow.store.tracking.dbmodels.models"
    monkeypatch.setattr(f"{module}.SqlLatestMetric", SqlMetric)
    writer = BulkWriter(client)
    assert not writer.is_open
    assert not writer.write(run_id, curve(3))
    assert count() == 0


def test_a_store_with_duties_of_its_own_is_left_to_log_batch(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(SqlAlchemyStore):
        pass

    monkeypatch.setattr(client._tracking_client.store, "__class__", Own)
    assert not BulkWriter(client).is_open


def test_an_active_model_gets_its_points_from_log_batch(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.get_active_model_id", lambda: "m-0")
    writer = BulkWriter(client)
    assert not writer.write(run_id, curve(3))
    assert count() == 0
    monkeypatch.undo()
    assert writer.write(run_id, curve(3))


@pytest.mark.parametrize("name", ["../x", "a//b", "/a", "a;b", "x" * 251, "", "."])
def test_names_that_mlflow_refuses_are_refused(
    client: MlflowClient, run_id: str, name: str
) -> None:
    sender = Sender(client, Path())
    with pytest.raises(MlflowException):
        sender._send(run_id, [*curve(3), (1, 1, {name: 0.5})])
    assert count() == 0


@pytest.mark.parametrize("name", ["a b", "größe", "a:b"])
def test_names_that_only_mlflow_knows_to_be_good_arrive(
    client: MlflowClient, run_id: str, name: str
) -> None:
    Sender(client, Path())._send(run_id, [(1, 1, {name: 0.5})])
    assert client.get_run(run_id).data.metrics == {name: 0.5}


@pytest.mark.parametrize("point", [(1, -1, {"a": 0.5}), (1, 2**63, {"a": 0.5})])
def test_times_that_no_store_takes_are_refused(
    client: MlflowClient, run_id: str, point: Points
) -> None:
    sender = Sender(client, Path())
    with pytest.raises(Exception, match=r"imestamp|too large"):
        sender._send(run_id, [point])
    assert sender._bulk.is_open


def test_a_deleted_run_is_refused(client: MlflowClient, run_id: str) -> None:
    client.delete_run(run_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        Sender(client, Path())._send(run_id, curve(3))
    assert count() == 0


def test_a_run_that_is_not_there_is_an_error(client: MlflowClient) -> None:
    with pytest.raises(MlflowException, match="not found"):
        Sender(client, Path())._send("0" * 32, curve(3))


def test_a_locked_database_is_told_after_one_wait(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nnt.tracking.bulk.BUSY_MS", 50)
    sender = Sender(client, Path())
    assert sender._bulk.is_open
    with closing(sqlite3.connect("mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="database is locked"):
            sender._send(run_id, curve(3))
        other.execute("ROLLBACK")
    sender._send(run_id, curve(3))
    assert len(stored(client, run_id, "val/loss")) == 3


def test_a_process_that_dies_in_a_batch_leaves_nothing_of_it(
    client: MlflowClient, run_id: str
) -> None:
    code = (
        "import os, signal, sys\n"
        "from mlflow import MlflowClient\n"
        "from nnt.tracking import bulk\n"
        "die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "bulk._known = die\n"
        "points = [(s, s, {'val/loss': 0.5}) for s in range(50_000)]\n"
        "client = MlflowClient(tracking_uri='sqlite:///mlflow.db')\n"
        "bulk.BulkWriter(client).write(sys.argv[1], points)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, run_id], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (count(), count(table="latest_metrics")) == (0, 0)
    assert BulkWriter(client).write(run_id, curve(3))


def test_an_error_in_a_batch_leaves_nothing_of_it(
    client: MlflowClient, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a driver of tomorrow")

    writer = BulkWriter(client)
    monkeypatch.setattr("nnt.tracking.bulk._known", fail)
    assert not writer.write(run_id, curve(3))
    assert count() == 0
    monkeypatch.undo()
    assert not writer.is_open  # what fails once for no known reason is not tried again


def test_writers_side_by_side_lose_nothing(client: MlflowClient, run_id: str) -> None:
    code = (
        "import sys\n"
        "from mlflow import MlflowClient\n"
        "from nnt.tracking.bulk import BulkWriter\n"
        "writer = BulkWriter(MlflowClient(tracking_uri='sqlite:///mlflow.db'))\n"
        "run_id, number = sys.argv[1], int(sys.argv[2])\n"
        "for start in range(0, 1000, 50):\n"
        "    steps = range(start, start + 50)\n"
        "    points = [(3 * s + number, s, {'a': s / 7, 'b': s / 9}) for s in steps]\n"
        "    assert writer.write(run_id, points)\n"
    )
    command = [sys.executable, "-c", code, run_id]
    started = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [process.wait(120) for process in started] == [0, 0, 0]
    for key, part in (("a", 7), ("b", 9)):
        found = client.get_metric_history(run_id, key)
        steps = sorted(point.step for point in found)
        assert steps == list(range(3000))
        assert client.get_run(run_id).data.metrics[key] == 999 / part
