"""Fit one expert: epochs, early stopping, restarts, best weights, checkpoints."""

from nnt.engine.checkpoint import (
    Checkpoint,
    Keeper,
    checkpoint_exists,
    read_checkpoint,
)
from nnt.engine.fit import fit
from nnt.engine.types import Epoch, ExpertData, FitResult, Gear

__all__ = [
    "Checkpoint",
    "Epoch",
    "ExpertData",
    "FitResult",
    "Gear",
    "Keeper",
    "checkpoint_exists",
    "fit",
    "read_checkpoint",
]
