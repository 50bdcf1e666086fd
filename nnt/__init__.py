"""NNT trains the neural z-vertex trigger of Belle II.

The names below are loaded when they are first used, so that ``import nnt``
costs nothing: neither torch nor mlflow is imported by it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nnt.version import __version__

if TYPE_CHECKING:
    from nnt import filters, fixedpoint, metrics, plots
    from nnt.config import load_config
    from nnt.evaluation import (
        ComparisonResult,
        Evaluation,
        Promotion,
        compare,
        evaluate,
        load_networks,
        predict,
        promote,
    )
    from nnt.networks import Networks
    from nnt.simulation import simulate
    from nnt.sweep import SweepResult, sweep
    from nnt.tracks import Tracks, read_tracks
    from nnt.training import TrainingResult, train

__all__ = [
    "ComparisonResult", "Evaluation", "Networks", "Promotion", "SweepResult", "Tracks",
    "TrainingResult", "__version__", "compare", "evaluate", "filters", "fixedpoint",
    "load_config", "load_networks", "metrics", "plots", "predict", "promote",
    "read_tracks", "simulate", "sweep", "train",
]  # fmt: skip

_HOMES = {
    "nnt.config": ("load_config",),
    "nnt.networks": ("Networks",),
    "nnt.simulation": ("simulate",),
    "nnt.tracks": ("Tracks", "read_tracks"),
    "nnt.training": ("TrainingResult", "train"),
    "nnt.sweep": ("SweepResult", "sweep"),
    "nnt.evaluation": (
        "ComparisonResult", "Evaluation", "Promotion", "compare", "evaluate",
        "load_networks", "predict", "promote",
    ),
}  # fmt: skip
"""Module -> the names that are loaded from it."""


def __getattr__(name: str) -> object:
    if name in __all__:
        for home, names in _HOMES.items():
            if name in names:
                return getattr(importlib.import_module(home), name)
        return importlib.import_module(f"nnt.{name}")
    raise AttributeError(f"module 'nnt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
