"""Models under a name that stays while runs come and go."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nnt.errors import TrackingError, shorten
from nnt.tracking.logged_models import ready_model
from nnt.tracking.store import connect, reason_of
from nnt.tracking.stored_run import StoredRun, open_run

__all__ = ["Registered", "register"]

NAME = re.compile(r"[\w.-]+")
"""Names that ``models:/name@alias`` can hold."""


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
    stored = open_run(run)
    _check_model(stored)
    return _register(stored, name, alias)


def _check_model(run: StoredRun) -> None:
    if run.holds("model/MLmodel"):
        return
    parent = run.tags.get("mlflow.parentRunId")
    if parent:
        raise TrackingError(
            f"run {run.run_id} is that of one expert; register its parent, {parent}"
        )
    raise TrackingError(f"run {run.run_id} holds no model; did its training end?")


def _register(run: StoredRun, name: str, alias: str | None) -> Registered:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = connect(run.uri)
    try:
        model_id = ready_model(client, run.run_id)
        source = f"models:/{model_id}" if model_id else f"runs:/{run.run_id}/model"
        made = mlflow.register_model(source, name)
        version = str(made.version)
        if alias is not None:
            client.set_registered_model_alias(name, alias, version)
    except MlflowException as err:
        raise TrackingError(
            f"{run.shown_uri} refuses to register {name}: {reason_of(err)}"
        ) from err
    uri = f"models:/{name}@{alias}" if alias else f"models:/{name}/{version}"
    return Registered(name, int(version), run.run_id, alias, uri)
