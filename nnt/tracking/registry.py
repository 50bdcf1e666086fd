"""Models under permanent names, in the registry of a store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnt.errors import TrackingError, shorten
from nnt.tracking.model import model_of
from nnt.tracking.store import asked, connect, connect_to_read, reason_of, shown_store
from nnt.tracking.store_uri import default_uri, hide_passwords
from nnt.tracking.stored_run import StoredRun, open_run

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = re.compile(r"[\w.-]+")
"""Names that ``models:/name@alias`` can hold."""
ALIAS = re.compile(rf"models:/(?P<name>{NAME.pattern})@(?P<alias>{NAME.pattern})")
RESERVED = re.compile(r"(?i)latest|v\d+")
CLAIM = "nnt.claim"
"""Tag of a version: the alias that it is made for, and the version before it."""
JUDGEMENT = "nnt.promotion"
CLAIM_MS = 300_000
"""How long a claim counts: a process that has died moves nothing any more."""


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
    """Put the model of a run into the registry of its store, as a new version.

    Parameters
    ----------
    run : str
        As `open_run` takes it.
    name : str
        Of the registered model; made if it is not there.
    alias : str, optional
        Points to this version from now on.

    Raises
    ------
    TrackingError
        There is no such run, it holds no model, or a name cannot be used.
    """
    for text in (name, alias):
        if text is not None and not NAME.fullmatch(text):
            raise TrackingError(
                f"{shorten(text)} cannot be a name: expected letters, digits, "
                "points, dashes and underscores"
            )
    _check_alias(alias or "")
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
    raise TrackingError(
        f"run {run.run_id} is that of one expert; register its parent, {parent}"
        if parent
        else f"run {run.run_id} holds no model; did its training end?"
    )


def _new_version(
    client: MlflowClient, run: StoredRun, name: str, tags: Mapping[str, str]
) -> int:
    import mlflow

    model_id = model_of(client, run.run_id, must_be_whole=True)
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
        What the alias shall mean.
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
    found = client.search_model_versions(f"name='{to.name}'")
    versions = {int(v.version): v for v in found}
    latest_ms = versions[version].creation_timestamp - CLAIM_MS
    for number, other in sorted(versions.items()):
        is_alive = other.creation_timestamp > latest_ms
        if number < version and other.tags.get(CLAIM) == claim and is_alive:
            return (
                f"version {number}, run {other.run_id}, is being promoted at this "
                "moment"
            )
    return ""
