"""Networks: what they are, their weights, their predictions, their firmware form.

The names below are loaded when they are first used: only `Networks`, `build_module`
and `load_state` need PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnt.networks.firmware import FirmwareNetwork, firmware_network
    from nnt.networks.form import ACTIVATIONS, MODELS, OUTPUTS, Form, initial_state
    from nnt.networks.form import State as State
    from nnt.networks.module import build_module, load_state
    from nnt.networks.precision import DEFAULT_PRECISION, check_precision
    from nnt.networks.predicting import Networks, columns_of, output_columns
    from nnt.networks.weights import (
        CHAINS,
        CLASSIC,
        HOUGH3D,
        ExpertWeights,
        read_weights,
        write_weights,
    )

__all__ = [
    "ACTIVATIONS",
    "CHAINS",
    "CLASSIC",
    "DEFAULT_PRECISION",
    "HOUGH3D",
    "MODELS",
    "OUTPUTS",
    "ExpertWeights",
    "FirmwareNetwork",
    "Form",
    "Networks",
    "State",
    "build_module",
    "check_precision",
    "columns_of",
    "firmware_network",
    "initial_state",
    "load_state",
    "output_columns",
    "read_weights",
    "write_weights",
]

_HOME = {
    "ACTIVATIONS": "form",
    "CHAINS": "weights",
    "CLASSIC": "weights",
    "HOUGH3D": "weights",
    "DEFAULT_PRECISION": "precision",
    "ExpertWeights": "weights",
    "FirmwareNetwork": "firmware",
    "Form": "form",
    "MODELS": "form",
    "Networks": "predicting",
    "OUTPUTS": "form",
    "State": "form",
    "build_module": "module",
    "check_precision": "precision",
    "columns_of": "predicting",
    "firmware_network": "firmware",
    "initial_state": "form",
    "load_state": "module",
    "output_columns": "predicting",
    "read_weights": "weights",
    "write_weights": "weights",
}


def __getattr__(name: str) -> object:
    if name in _HOME:
        home = importlib.import_module(f"nnt.networks.{_HOME[name]}")
        return getattr(home, name)
    raise AttributeError(f"module 'nnt.networks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
