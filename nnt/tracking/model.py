"""The model of a run in MLflow: weights, the code that runs them, an example."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nnt.errors import TrackingError
from nnt.networks import read_weights
from nnt.tracking.artifacts import artifacts_at
from nnt.tracks import Tracks, input_columns

if TYPE_CHECKING:  # PyTorch would delay all that only reads runs or waits for others
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from nnt.networks import Networks

PACKAGE = Path(__file__).parents[1]
CODE_FILE = Path(__file__).parent / "pyfunc_model.py"

REQUIREMENTS = ("mlflow", "numpy", "pandas", "platformdirs")
"""What prediction needs; NNT itself lies in the model."""
KIND = "nnt"
READY: Literal["READY"] = "READY"
NOT_IN_NAMES = re.compile(r"[/:.%\"']")
"""Characters that MLflow refuses in names of models."""
UNKNOWN = ("ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED")
"""Answers of a server that knows no models of runs."""


def save_model(folder: Path, weights: Path, example: Tracks, run_id: str) -> None:
    """Write the model of a run into a folder, anew; `example` shows what it takes."""
    from mlflow.exceptions import MlflowException

    from nnt.networks import Networks

    networks = Networks(read_weights(weights))
    shutil.rmtree(folder, ignore_errors=True)
    try:
        # MLflow warns of type hints in code of its own.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow import pyfunc
            from mlflow.models import Model

            pyfunc.save_model(
                str(folder),
                python_model=str(CODE_FILE),
                artifacts={"weights": str(weights)},
                code_paths=[str(PACKAGE)],
                signature=_signature(networks),
                input_example=model_input(example),
                pip_requirements=_requirements(),
                mlflow_model=Model(artifact_path="model", run_id=run_id),
            )
    except (MlflowException, OSError) as err:
        reason = (str(err).splitlines() or [type(err).__name__])[0]
        raise TrackingError(f"the model of run {run_id}: {reason}") from err


def model_input(tracks: Tracks) -> pd.DataFrame:
    """Give rows in the form that the model takes."""
    import pandas as pd

    names = input_columns(tracks.inputs.shape[1])
    columns = dict(zip(names, tracks.inputs.T.astype(np.float64), strict=True))
    return pd.DataFrame({**columns, "Expert": tracks.expert})


def _signature(networks: Networks) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    from nnt.networks import columns_of

    # Doubles: MLflow refuses the numbers of a CSV file where floats are asked for.
    inputs = [ColSpec("double", name) for name in input_columns(networks.inputs)]
    outputs = [ColSpec("float", name) for name in columns_of(networks.outputs)]
    precision = list(networks.precision)
    params = [
        ParamSpec("fixed_point", "boolean", default=False),
        ParamSpec("precision", "long", default=precision, shape=(-1,)),
        ParamSpec("saturate_13_bit", "boolean", default=False),
    ]
    return ModelSignature(
        inputs=Schema([*inputs, ColSpec("long", "Expert")]),
        outputs=Schema([*outputs]),
        params=ParamSchema(params),
    )


def _requirements() -> list[str]:
    # Without the local part of a version: no index holds 2.0+cpu.
    versions = {name: importlib.metadata.version(name) for name in REQUIREMENTS}
    return [f"{name}=={v.split('+')[0]}" for name, v in versions.items()]


def make_model(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> str:
    """Make the model of a run in the store, unless there is one; return its ID.

    A server that is too old for it is a `TrackingError`.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    run = client.get_run(run_id)
    try:
        found = client.search_logged_models(
            [run.info.experiment_id],
            filter_string=f"source_run_id = '{run_id}'",
            max_results=1,
        )
        made = found or [
            client.create_logged_model(
                run.info.experiment_id,
                name=NOT_IN_NAMES.sub("_", run.info.run_name) or KIND,
                source_run_id=run_id,
                params=dict(params),
                model_type=KIND,
            )
        ]
    except (MlflowException, NotImplementedError) as err:
        if getattr(err, "error_code", UNKNOWN[0]) not in UNKNOWN:
            raise
        raise TrackingError(
            "the server does not support models of runs, which need MLflow 3; "
            "the files are kept with the run"
        ) from err
    model_id = str(made[0].model_id)
    if not (run.outputs and run.outputs.model_outputs):
        client.log_outputs(run_id, models=[LoggedModelOutput(model_id, step=0)])
    return model_id


def model_of(
    client: MlflowClient, run_id: str, *, must_be_whole: bool = False
) -> str | None:
    """ID of the model of a run; None where there is none, or if its files lack."""
    outputs = client.get_run(run_id).outputs
    if not (outputs and outputs.model_outputs):
        return None
    model_id = str(outputs.model_outputs[0].model_id)
    if must_be_whole and client.get_logged_model(model_id).status.value != READY:
        return None
    return model_id


def log_model_files(client: MlflowClient, model_id: str, folder: Path) -> None:
    """Keep the files of a model; it is whole then."""
    place = str(client.get_logged_model(model_id).artifact_location)
    # MLflow gives it no types.
    repository: Any = artifacts_at(client, place, f"model {model_id}")
    repository.log_artifacts(str(folder))
    client.finalize_logged_model(model_id, READY)
