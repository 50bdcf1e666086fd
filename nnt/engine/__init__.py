"""Fit one expert: epochs, early stopping, restarts, best weights."""

from nnt.engine.fit import fit
from nnt.engine.types import Epoch, ExpertData, FitResult, Gear

__all__ = ["Epoch", "ExpertData", "FitResult", "Gear", "fit"]
