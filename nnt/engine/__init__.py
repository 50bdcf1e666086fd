"""Fit one expert: epochs, early stopping, restarts, best weights, checkpoints."""

from nnt.engine.backends import DEVICES, BackendChoice, choose_backend
from nnt.engine.checkpoint import (
    Checkpoint,
    Keeper,
    checkpoint_exists,
    read_checkpoint,
)
from nnt.engine.fit import fit
from nnt.engine.types import Epoch, ExpertData, FitResult, Gear

__all__ = [
    "DEVICES",
    "BackendChoice",
    "Checkpoint",
    "Epoch",
    "ExpertData",
    "FitResult",
    "Gear",
    "Keeper",
    "checkpoint_exists",
    "choose_backend",
    "fit",
    "read_checkpoint",
]
