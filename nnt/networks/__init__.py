"""Networks: what they are, their weights, their predictions, their firmware form.

Networks as PyTorch modules are in `nnt.networks.module`, which this door leaves closed:
PyTorch takes a second to load, and only training through it needs it.
"""

from nnt.networks.firmware import FirmwareNetwork, firmware_network
from nnt.networks.form import ACTIVATIONS, MODELS, OUTPUTS, Form, State, initial_state
from nnt.networks.predicting import Networks, columns_of, output_columns
from nnt.networks.weights import (
    CHAINS,
    CLASSIC,
    DEFAULT_PRECISION,
    HOUGH3D,
    ExpertWeights,
    check_precision,
    read_weights,
    weights_text,
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
    "check_precision",
    "columns_of",
    "firmware_network",
    "initial_state",
    "output_columns",
    "read_weights",
    "weights_text",
    "write_weights",
]
