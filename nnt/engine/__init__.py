"""Fit one expert: epochs, early stopping, restarts, best weights, checkpoints."""

from nnt.engine.checkpoint import Checkpoint, Keeper, read_checkpoint
from nnt.engine.fit import fit
from nnt.engine.types import Epoch, ExpertData, FitResult, Gear

__all__ = [
    "Checkpoint",
    "Epoch",
    "ExpertData",
    "FitResult",
    "Gear",
    "Keeper",
    "fit",
    "read_checkpoint",
]
