"""NNT trains the neural z-vertex trigger of Belle II.

The names below are loaded when they are first used, so that ``import nnt``
costs nothing: neither torch nor mlflow is imported by it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nnt.version import __version__

if TYPE_CHECKING:
    from nnt import filters as filters
    from nnt import fixedpoint as fixedpoint
    from nnt import metrics as metrics
    from nnt import plots as plots
    from nnt.config import load_config as load_config
    from nnt.evaluation import (
        ComparisonResult as ComparisonResult,
    )
    from nnt.evaluation import (
        Evaluation as Evaluation,
    )
    from nnt.evaluation import (
        Promotion as Promotion,
    )
    from nnt.evaluation import (
        compare as compare,
    )
    from nnt.evaluation import (
        evaluate as evaluate,
    )
    from nnt.evaluation import (
        load_networks as load_networks,
    )
    from nnt.evaluation import (
        predict as predict,
    )
    from nnt.evaluation import (
        promote as promote,
    )
    from nnt.networks import Networks as Networks
    from nnt.simulation import simulate as simulate
    from nnt.sweep import SweepResult as SweepResult
    from nnt.sweep import sweep as sweep
    from nnt.tracks import Tracks as Tracks
    from nnt.tracks import read_tracks as read_tracks
    from nnt.training import TrainingResult as TrainingResult
    from nnt.training import train as train

_HOME = {
    "ComparisonResult": "nnt.evaluation",
    "Evaluation": "nnt.evaluation",
    "Networks": "nnt.networks",
    "Promotion": "nnt.evaluation",
    "SweepResult": "nnt.sweep",
    "Tracks": "nnt.tracks",
    "TrainingResult": "nnt.training",
    "compare": "nnt.evaluation",
    "evaluate": "nnt.evaluation",
    "load_config": "nnt.config",
    "load_networks": "nnt.evaluation",
    "predict": "nnt.evaluation",
    "promote": "nnt.evaluation",
    "read_tracks": "nnt.tracks",
    "simulate": "nnt.simulation",
    "sweep": "nnt.sweep",
    "train": "nnt.training",
}
_MODULES = ("filters", "fixedpoint", "metrics", "plots")

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"nnt.{name}")
    raise AttributeError(f"module 'nnt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
