"""Networks: what they are, their weights, their predictions, their firmware form.

`Networks`, `build_module` and the like need PyTorch and are loaded when they are first
used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nnt.networks.firmware import FirmwareNetwork, firmware_network
from nnt.networks.form import ACTIVATIONS, MODELS, OUTPUTS, Form, State, initial_state
from nnt.networks.weights import (
    CHAINS,
    CLASSIC,
    DEFAULT_PRECISION,
    HOUGH3D,
    ExpertWeights,
    check_precision,
    read_weights,
    write_weights,
)

if TYPE_CHECKING:
    from nnt.networks.predicting import (
        Networks,
        build_module,
        columns_of,
        load_state,
        output_columns,
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


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(importlib.import_module("nnt.networks.predicting"), name)
    raise AttributeError(f"module 'nnt.networks' has no attribute {name!r}")
