"""The model of a run in MLflow, with files, parameters and metrics by dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nnt.errors import TrackingError
from nnt.tracking.artifacts import artifacts_at

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

__all__ = ["LoggedModels", "ready_model"]

KIND = "nnt"
READY: Literal["READY"] = "READY"
NOT_IN_NAMES = re.compile(r"[/:.%\"']")
"""Characters that MLflow refuses in names of models."""
UNKNOWN = ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED")
"""Answers of a server that knows no such models."""


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

    def _find(self, run: Run) -> str | None:
        found = self._client.search_logged_models(
            [run.info.experiment_id],
            filter_string=f"source_run_id = '{run.info.run_id}'",
            max_results=1,
        )
        return str(found[0].model_id) if found else None

    def _create(self, run: Run, params: Mapping[str, str]) -> str:
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
            place, uri = model.artifact_location, self._client.tracking_uri
            # MLflow gives it no types.
            repository: Any = artifacts_at(place, uri, f"model {model_id}")
            repository.log_artifacts(str(folder))
            self._client.finalize_logged_model(model_id, READY)


def ready_model(client: MlflowClient, run_id: str) -> str | None:
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
