"""The model of a run in MLflow, and models under permanent names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnt.errors import TrackingError, shorten
from nnt.tracking.artifacts import artifacts_at
from nnt.tracking.store import asked, connect, connect_to_read, reason_of, shown_store
from nnt.tracking.store_uri import default_uri, hide_passwords
from nnt.tracking.stored_run import StoredRun, open_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowEntity

__all__ = [
    "Alias",
    "LoggedModels",
    "Registered",
    "check_can_be_registered",
    "move_alias",
    "read_alias",
    "register",
]

KIND = "nnt"
READY: Literal["READY"] = "READY"
NOT_IN_NAMES = re.compile(r"[/:.%\"']")
"""Characters that MLflow refuses in names of models."""
UNKNOWN = ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED")
"""Answers of a server that knows no such models."""
NAME = re.compile(r"[\w.-]+")
"""Names that ``models:/name@alias`` can hold."""
ALIAS = re.compile(rf"models:/(?P<name>{NAME.pattern})@(?P<alias>{NAME.pattern})")
RESERVED = re.compile(r"(?i)latest|v\d+")
CLAIM = "nnt.claim"
"""Tag of a version: the alias that it is made for, and the version before it."""
JUDGEMENT = "nnt.promotion"
CLAIM_MS = 300_000
"""How long a claim counts: a process that has died moves nothing any more."""


class LoggedModels:
    """The one model of each run in a store; every call can be repeated.

    Parameters
    ----------
    client : MlflowClient
        Of the store.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._ids: dict[str, str] = {}

    def make(self, run_id: str, params: Mapping[str, str]) -> None:
        """Make the model of a run, unless there is one.

        Raises
        ------
        TrackingError
            The server is too old for it.
        """
        from mlflow.entities import LoggedModelOutput
        from mlflow.exceptions import MlflowException

        run = self._client.get_run(run_id)
        try:
            model_id = self._find(run) or self._create(run, params)
        except (MlflowException, NotImplementedError) as err:
            if getattr(err, "error_code", UNKNOWN[0]) not in UNKNOWN:
                raise
            raise TrackingError(
                "the server does not support models of runs, which need MLflow 3; "
                "the files are kept with the run"
            ) from err
        held = run.outputs.model_outputs if run.outputs else []
        if model_id not in {own.model_id for own in held}:
            outputs = [LoggedModelOutput(model_id, step=0)]
            self._client.log_outputs(run_id, models=outputs)
        self._ids[run_id] = model_id

    def _find(self, run: MlflowEntity) -> str | None:
        found = self._client.search_logged_models(
            [run.info.experiment_id],
            filter_string=f"source_run_id = '{run.info.run_id}'",
            max_results=1,
        )
        return str(found[0].model_id) if found else None

    def _create(self, run: MlflowEntity, params: Mapping[str, str]) -> str:
        made = self._client.create_logged_model(
            run.info.experiment_id,
            name=NOT_IN_NAMES.sub("_", run.info.run_name) or KIND,
            source_run_id=run.info.run_id,
            params=dict(params),
            model_type=KIND,
        )
        return str(made.model_id)

    def id_of(self, run_id: str) -> str | None:
        """ID of the model of a run, None where there is none."""
        if run_id not in self._ids:
            outputs = self._client.get_run(run_id).outputs
            if not (outputs and outputs.model_outputs):
                return None
            self._ids[run_id] = str(outputs.model_outputs[0].model_id)
        return self._ids[run_id]

    def log_files(self, run_id: str, folder: Path) -> None:
        """Keep the files of the model of a run, if it has one; it is whole then."""
        model_id = self.id_of(run_id)
        if model_id is not None:
            model = self._client.get_logged_model(model_id)
            place, owner = str(model.artifact_location), f"model {model_id}"
            # MLflow gives it no types.
            repository: Any = artifacts_at(self._client, place, owner)
            repository.log_artifacts(str(folder))
            self._client.finalize_logged_model(model_id, READY)


def _ready_model(client: MlflowClient, run_id: str) -> str | None:
    """ID of the model of a run whose files are there, None if there is none.

    Raises
    ------
    MlflowException
        The store does not answer.
    """
    model_id = LoggedModels(client).id_of(run_id)
    if model_id is None or client.get_logged_model(model_id).status.value != READY:
        return None
    return model_id


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a registered model."""

    name: str
    version: int
    run_id: str
    alias: str | None
    uri: str
    """What to write for a run."""


def register(run: str, name: str, alias: str | None = None) -> Registered:
    """Put the model of a run into the registry of its store.

    Parameters
    ----------
    run : str
        ``ID``, ``runs:/ID`` or ``models:/name[@alias]``.
    name : str
        Of the registered model; made if it is not there.
    alias : str, optional
        Points to this version from now on.

    Raises
    ------
    TrackingError
        There is no such run, it holds no model, or a name cannot be used.
    """
    for text in (name, *([] if alias is None else [alias])):
        if not NAME.fullmatch(text):
            raise TrackingError(
                f"{shorten(text)} cannot be a name: expected letters, digits, "
                "points, dashes and underscores"
            )
    if alias is not None:
        _check_alias(alias)
    stored = open_run(run)
    _check_model(stored)
    client = connect(stored.uri)
    with asked(f"{stored.shown_uri} refuses to register {name}"):
        version = _new_version(client, stored, name, {})
        if alias is not None:
            client.set_registered_model_alias(name, alias, str(version))
    uri = f"models:/{name}@{alias}" if alias else f"models:/{name}/{version}"
    return Registered(name, version, stored.run_id, alias, uri)


def _check_alias(alias: str) -> None:
    """Refuse what a store would refuse after the version has been made."""
    if RESERVED.fullmatch(alias):
        raise TrackingError(
            f"{shorten(alias)} cannot be an alias: MLflow keeps latest and v1, v2, ... "
            "for itself"
        )


def _check_model(run: StoredRun) -> None:
    if run.holds("model/MLmodel"):
        return
    parent = run.tags.get("mlflow.parentRunId")
    if parent:
        raise TrackingError(
            f"run {run.run_id} is that of one expert; register its parent, {parent}"
        )
    raise TrackingError(f"run {run.run_id} holds no model; did its training end?")


def _new_version(
    client: MlflowClient, run: StoredRun, name: str, tags: Mapping[str, str]
) -> int:
    import mlflow

    model_id = _ready_model(client, run.run_id)
    source = f"models:/{model_id}" if model_id else f"runs:/{run.run_id}/model"
    return int(mlflow.register_model(source, name, tags=dict(tags)).version)


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias of a registered model, and the version that it meant when read."""

    name: str
    alias: str
    version: int | None
    """None: there is no such model yet, or no such alias."""

    @property
    def uri(self) -> str:
        """What to write for the run that it means."""
        return f"models:/{self.name}@{self.alias}"


def read_alias(text: str) -> Alias:
    """Read what ``models:/NAME@ALIAS`` means in the store of trainings.

    Raises
    ------
    TrackingError
        It is not of this form, or the store does not answer.
    """
    found = ALIAS.fullmatch(text)
    if found is None:
        raise TrackingError(
            f"{shorten(text)} is not an alias of a registered model: expected "
            "models:/NAME@ALIAS, such as models:/nnt@champion"
        )
    _check_alias(found["alias"])
    client = connect_to_read(default_uri())
    version = _version_of(client, found["name"], found["alias"])
    return Alias(found["name"], found["alias"], version)


def _version_of(client: MlflowClient, name: str, alias: str) -> int | None:
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_registered_model(name).aliases.get(alias)
    except MlflowException as err:
        if err.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise TrackingError(
            f"{shown_store(client)} does not answer: {reason_of(err)}"
        ) from err
    return None if version is None else int(version)


def check_can_be_registered(run: StoredRun) -> None:
    """Raise `TrackingError` unless a run holds a model, in the store of trainings."""
    _check_model(run)
    if run.uri != default_uri():
        raise TrackingError(
            f"run {run.run_id} is in {run.shown_uri}, the registry in "
            f"{hide_passwords(default_uri())}; set MLFLOW_TRACKING_URI to the store of "
            "the run"
        )


def move_alias(run: StoredRun, to: Alias, judgement: str) -> Registered:
    """Let an alias mean a run, unless it has moved since it was read.

    Of several processes that move the same alias at the same time, one does. A store
    has no call that compares and moves. But it numbers versions one after the other:
    each process adds a version that names the one that it replaces, and the lowest
    such number wins.

    Parameters
    ----------
    run : StoredRun
        Which the alias shall mean.
    to : Alias
        As it was when the run was judged.
    judgement : str
        ID of the run that holds the judgement; kept with the version and the alias.

    Raises
    ------
    TrackingError
        Another one was faster, or the store refuses.
    """
    client = connect(run.uri)
    claim = {CLAIM: f"{to.alias} after {to.version or 0}", JUDGEMENT: judgement}
    with asked(f"{run.shown_uri} refuses to register {to.name}"):
        version = _new_version(client, run, to.name, claim)
        rival = _rival(client, to, version, claim[CLAIM])
        if rival:
            client.delete_model_version(to.name, str(version))
            raise TrackingError(
                f"{to.uri}: {rival}; run {run.run_id} was judged against what it was "
                "before: judge it again, with the same command"
            )
        client.set_registered_model_alias(to.name, to.alias, str(version))
        client.set_registered_model_tag(to.name, f"{JUDGEMENT}.{to.alias}", judgement)
    return Registered(to.name, version, run.run_id, to.alias, to.uri)


def _rival(client: MlflowClient, to: Alias, version: int, claim: str) -> str:
    """Say who was faster; empty if nobody was."""
    now = _version_of(client, to.name, to.alias)
    if now != to.version:
        return f"has been moved to version {now} meanwhile"
    every = {
        int(v.version): v for v in client.search_model_versions(f"name='{to.name}'")
    }
    own_ms = every[version].creation_timestamp
    for number, other in sorted(every.items()):
        is_alive = own_ms - other.creation_timestamp < CLAIM_MS
        if number < version and other.tags.get(CLAIM) == claim and is_alive:
            return (
                f"version {number}, run {other.run_id}, is being promoted at this "
                "moment"
            )
    return ""
