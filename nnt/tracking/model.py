"""The MLflow model of a run: weights, the code that runs them, signature, example."""

from __future__ import annotations

import importlib.metadata
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnt.errors import TrackingError
from nnt.networks import read_weights
from nnt.tracks import Tracks, input_columns

if TYPE_CHECKING:  # PyTorch would delay all that only reads runs or waits for others
    import pandas as pd
    from mlflow.models import ModelSignature

    from nnt.networks import Networks

__all__ = ["model_input", "save_model"]

PACKAGE = Path(__file__).parents[1]
CODE_FILE = Path(__file__).parent / "pyfunc_model.py"

REQUIREMENTS = ("mlflow", "numpy", "pandas", "platformdirs", "torch")
"""What prediction needs; NNT itself lies in the model."""


def save_model(folder: Path, weights: Path, example: Tracks, run_id: str) -> None:
    """Write the model of a run into a folder, anew.

    Parameters
    ----------
    folder : Path
        Replaced if it is there.
    weights : Path
        The ``weights.json`` of the run.
    example : Tracks
        Rows that show what the model takes.
    run_id : str
        Of the run.

    Raises
    ------
    TrackingError
        MLflow cannot write it.
    """
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
    precision = list(networks.precision)
    return ModelSignature(
        inputs=Schema([*inputs, ColSpec("long", "Expert")]),
        outputs=Schema(
            [ColSpec("float", name) for name in columns_of(networks.outputs)]
        ),
        params=ParamSchema(
            [
                ParamSpec("fixed_point", "boolean", default=False),
                ParamSpec("precision", "long", default=precision, shape=(-1,)),
                ParamSpec("saturate_13_bit", "boolean", default=False),
            ]
        ),
    )


def _requirements() -> list[str]:
    # Without the local part of a version: no index holds 2.0+cpu.
    versions = {name: importlib.metadata.version(name) for name in REQUIREMENTS}
    return [f"{name}=={v.split('+')[0]}" for name, v in versions.items()]
