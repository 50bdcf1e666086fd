"""Points of curves, written as rows into the database of a local store.

`log_batch` of MLflow makes two objects of each point, validates it twice and leaves it
to an object-relational layer to find out what is to be inserted: 60 to 100 us of CPU a
point, which was nearly all that tracking cost. Here the points of a run go to the same
two tables by a few statements in one transaction: 4 to 5 us, half of it SQLite's own.

This holds as long as the tables mean what they mean today. So it is done only where

- the store is MLflow's `SqlAlchemyStore` itself; a subclass has further duties, that of
  workspaces for one, and so have stores behind a server;
- its mapped classes, and the tables in the database, have exactly the columns and
  primary keys that are listed here;
- no model is active, to which MLflow would add the points, too;
- the run is active, and names and numbers are plain.

It was compared with `log_batch` on SQLite, by the tests, and on PostgreSQL. In every
other case, for points that the store has already and after any error, nothing
has been written and `log_batch` has the say, and the message.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from nnt.tracking.journal import Points

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Connection, Engine, Table

__all__ = ["BulkWriter"]

log = logging.getLogger(__name__)

COLUMNS = ("key", "value", "timestamp", "step", "is_nan", "run_uuid")
KEY_OF_POINT = set(COLUMNS)
KEY_OF_LATEST = {"key", "run_uuid"}
BUSY_MS = 20_000
"""How long MLflow, too, waits for a database that another process has locked."""
PLAIN_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*", re.ASCII)
MAX_NAME = 250
LARGEST = 1 << 63
MOST = sys.float_info.max
KEYS_AT_ONCE = 500
"""Databases bound the parameters of a statement."""
MANY_ROWS = ("sqlite",)
"""Databases whose driver does not itself put many rows into one statement."""
ROWS_AT_ONCE = 1000

Row = tuple[str, float, int, int, bool, str]
"""A point, in the order of `COLUMNS`."""
Rank = tuple[int, int, float]
"""What tells the latest point: step, time, value."""


class UnfitError(Exception):
    """Points, or a store, for which `log_batch` is needed."""


@dataclass(frozen=True, slots=True)
class _Tables:
    engine: Engine
    runs: Table
    metrics: Table
    latest: Table


class BulkWriter:
    """Writes points by `log_batch`'s rules, where it knows the tables.

    Parameters
    ----------
    client : MlflowClient
        Of any store; the store is looked at when first asked for.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._tables: _Tables | None = None
        self._is_looked_at = False
        self._names: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether the store is one whose tables are known."""
        if not self._is_looked_at:
            self._is_looked_at = True
            try:
                self._tables = _tables(self._client)
            except Exception as err:  # noqa: BLE001 (whatever MLflow has become)
                self._close(err)
        return self._tables is not None

    def _close(self, why: Exception) -> None:
        self._tables = None
        log.debug("tracking: points go through log_batch: %r", why)

    def write(self, run_id: str, points: Sequence[Points]) -> bool:
        """Write points of one run, all of them or none.

        Parameters
        ----------
        run_id : str
            Of the run.
        points : sequence of Points
            What `log_batch` would get.

        Returns
        -------
        bool
            Whether they are in the store; if not, it is for `log_batch` to say why.

        Raises
        ------
        sqlalchemy.exc.OperationalError
            Another process keeps the database locked; no need to wait for it twice.
        """
        if not self.is_open or self._tables is None:
            return False
        from sqlalchemy.exc import IntegrityError, OperationalError

        try:
            rows = self._rows(run_id, points)
            with self._tables.engine.begin() as connection:
                _write(connection, self._tables, run_id, rows)
        except (UnfitError, IntegrityError) as err:
            log.debug("tracking: points of run %s: %s", run_id, err)
        except OperationalError as err:
            if "is locked" in str(err.orig):
                raise
            log.debug("tracking: points of run %s: %s", run_id, err)
        except Exception as err:  # noqa: BLE001 (whatever a driver may raise)
            self._close(err)
        else:
            return True
        return False

    def _rows(self, run_id: str, points: Iterable[Points]) -> list[Row]:
        import mlflow

        if mlflow.get_active_model_id() is not None:
            raise UnfitError("a model is active")
        rows: list[Row] = []
        for step, time_ms, values in points:
            if not (0 <= time_ms < LARGEST and -LARGEST <= step < LARGEST):
                raise UnfitError(f"step {step}, time {time_ms}")
            if not values.keys() <= self._names:
                self._check_names(values)
            for name, value in values.items():
                is_nan = value != value  # NaN alone is not itself
                # As MLflow stores what a database cannot hold.
                stored = 0.0 if is_nan else min(max(value, -MOST), MOST)
                rows.append((name, stored, time_ms, step, is_nan, run_id))
        return rows

    def _check_names(self, names: Iterable[str]) -> None:
        for name in names:
            if len(name) > MAX_NAME or not PLAIN_NAME.fullmatch(name):
                raise UnfitError(f"the name {name[:MAX_NAME]!r}")
            self._names.add(name)


def _tables(client: MlflowClient) -> _Tables:
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlRun
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import inspect

    store = client._tracking_client.store
    if type(store) is not SqlAlchemyStore:
        raise UnfitError(f"the store is a {type(store).__name__}")
    found = _Tables(
        store.engine, SqlRun.__table__, SqlMetric.__table__, SqlLatestMetric.__table__
    )
    if not {"run_uuid", "lifecycle_stage"} <= set(found.runs.columns.keys()):
        raise UnfitError("the table of runs")
    database = inspect(found.engine)
    for table, key in ((found.metrics, KEY_OF_POINT), (found.latest, KEY_OF_LATEST)):
        mapped = set(table.columns.keys()), set(table.primary_key.columns.keys())
        there = (
            {column["name"] for column in database.get_columns(table.name)},
            set(database.get_pk_constraint(table.name)["constrained_columns"]),
        )
        if not mapped == there == (set(COLUMNS), key):
            raise UnfitError(f"the table {table.name}: {mapped}, {there}")
    return found


def _write(
    connection: Connection, tables: _Tables, run_id: str, rows: list[Row]
) -> None:
    from sqlalchemy import select

    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    runs = tables.runs.columns
    stage = select(runs.lifecycle_stage).where(runs.run_uuid == run_id)
    if connection.execute(stage).scalar_one_or_none() != "active":
        raise UnfitError("the run is not there, or deleted")
    # First: from here on, SQLite lets nobody else write until the end.
    _insert(connection, tables.metrics, rows)
    newest = _newest(rows)
    known = _known(connection, tables.latest, run_id, sorted(newest))
    new = [row for name, row in newest.items() if name not in known]
    _insert(connection, tables.latest, new)
    later = [newest[k] for k, rank in known.items() if _rank(newest[k]) > rank]
    _update(connection, tables.latest, later)


def _insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    from sqlalchemy import insert

    if not rows:
        return
    if connection.dialect.name not in MANY_ROWS:
        told = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        connection.execute(insert(table), told)
        return
    # Many rows in a statement: a third of the time of a statement for each, and SQLite
    # gives the interpreter back to the training once, and not for each.
    one = f"({', '.join('?' * len(COLUMNS))})"
    n_at_once = _rows_at_once(connection)
    for start in range(0, len(rows), n_at_once):
        part = rows[start : start + n_at_once]
        connection.exec_driver_sql(
            f"INSERT INTO {table.name} ({', '.join(COLUMNS)}) "  # noqa: S608
            f"VALUES {', '.join([one] * len(part))}",
            tuple(chain.from_iterable(part)),
        )


def _rows_at_once(connection: Connection) -> int:
    driver = connection.connection.driver_connection
    n_most = ROWS_AT_ONCE * len(COLUMNS)
    if isinstance(driver, sqlite3.Connection):
        n_most = min(n_most, driver.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER))
    return n_most // len(COLUMNS)


def _newest(rows: Iterable[Row]) -> dict[str, Row]:
    """Find the latest point of each curve; of equals, the first."""
    newest: dict[str, Row] = {}
    for row in rows:
        best = newest.get(row[0])
        if best is None or _rank(row) > _rank(best):
            newest[row[0]] = row
    return newest


def _rank(row: Row) -> Rank:
    _, value, time_ms, step, *_ = row
    return step, time_ms, value


def _known(
    connection: Connection, table: Table, run_id: str, names: Sequence[str]
) -> dict[str, Rank]:
    """Read what is the latest until now, and keep others from changing it."""
    from sqlalchemy import select

    own = table.columns
    known: dict[str, Rank] = {}
    for start in range(0, len(names), KEYS_AT_ONCE):
        # In the order in which MLflow locks them, so that nobody waits in a circle.
        asked = (
            select(own.key, own.step, own.timestamp, own.value)
            .where(
                own.run_uuid == run_id, own.key.in_(names[start : start + KEYS_AT_ONCE])
            )
            .order_by(own.key)
            .with_for_update()
        )
        for name, *rank in connection.execute(asked):
            known[name] = tuple(rank)
    return known


def _update(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    from sqlalchemy import bindparam, update

    if not rows:
        return
    key = ("key", "run_uuid")
    chosen = update(table).where(
        *(table.columns[name] == bindparam(f"its_{name}") for name in key)
    )
    told = [
        {
            f"its_{name}" if name in key else name: value
            for name, value in zip(COLUMNS, row, strict=True)
        }
        for row in rows
    ]
    connection.execute(chosen, told)
