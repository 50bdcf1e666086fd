"""Fit one expert: epochs, early stopping, restarts, best weights, checkpoints."""

from nnt.engine.checkpoint import (
    Checkpoint,
    Keeper,
    checkpoint_exists,
    read_checkpoint,
)
from nnt.engine.devices import DEVICES, choose_device
from nnt.engine.ensemble import Ensemble, make_ensembles
from nnt.engine.fit import fit
from nnt.engine.types import Epoch, ExpertData, FitResult, Gear

__all__ = [
    "DEVICES",
    "Checkpoint",
    "Ensemble",
    "Epoch",
    "ExpertData",
    "FitResult",
    "Gear",
    "Keeper",
    "checkpoint_exists",
    "choose_device",
    "fit",
    "make_ensembles",
    "read_checkpoint",
]
