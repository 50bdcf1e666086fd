"""The code of the MLflow model of a run; MLflow keeps it next to the weights.

MLflow runs this file when it loads the model. The package `nnt` lies beside it, as it
was when the run was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from nnt.errors import DataError
from nnt.fixedpoint import FixedPointNetworks
from nnt.networks import Networks, output_columns, read_weights
from nnt.tracks import input_columns


class ExpertsModel(PythonModel):
    """All experts of a run; each row goes to the one in its column ``Expert``."""

    def load_context(self, context: Any) -> None:
        """Read the weights."""
        self._networks = Networks(read_weights(Path(context.artifacts["weights"])))

    def predict(
        self,
        context: Any,
        model_input: pd.DataFrame,
        params: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Predict rows.

        Parameters
        ----------
        context : object
            Not used.
        model_input : pandas.DataFrame
            The inputs under their names in the track files, and ``Expert``.
        params : mapping, optional
            ``fixed_point``: in the integer arithmetic of the firmware;
            ``precision``: its six counts of fractional bits; ``saturate_13_bit``:
            keep outputs in a signed word.

        Returns
        -------
        pandas.DataFrame
            For each output of the networks: ``z_cm`` and ``z_scaled``, ``theta_deg``
            and ``theta_scaled``, ``nnt``, ``stt``.

        Raises
        ------
        DataError
            Rows of an expert that was not trained, or numbers that are not finite.
        ExportError
            The firmware cannot hold the networks.
        """
        params = params or {}
        names = list(input_columns(self._networks.inputs))
        inputs = model_input[names].to_numpy(dtype=np.float32)
        if not np.isfinite(inputs).all():
            raise DataError("inputs: expected finite numbers")
        expert = model_input["Expert"].to_numpy(dtype=np.int64)
        if params.get("fixed_point", False):
            fixed = FixedPointNetworks(
                self._networks,
                [int(b) for b in params.get("precision", self._networks.precision)],
                saturate_13_bit=bool(params.get("saturate_13_bit", False)),
            )
            scaled = fixed.predict_inputs(inputs, expert)
        else:
            scaled = self._networks.predict_inputs(inputs, expert)
        return pd.DataFrame(
            output_columns(self._networks.outputs, scaled), index=model_input.index
        )


set_model(ExpertsModel())
