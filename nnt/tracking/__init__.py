"""Runs: what a training leaves behind. Sole importer of mlflow."""

from nnt.tracking.elsewhere import shown_store
from nnt.tracking.mlflow_tracker import MlflowRun, MlflowTracker
from nnt.tracking.null import NullRun, NullTracker
from nnt.tracking.protocol import Outcome, Run, Tracker
from nnt.tracking.references import StoredRun, open_run
from nnt.tracking.registry import Registered, register
from nnt.tracking.store import default_uri

__all__ = [
    "MlflowRun",
    "MlflowTracker",
    "NullRun",
    "NullTracker",
    "Outcome",
    "Registered",
    "Run",
    "StoredRun",
    "Tracker",
    "default_uri",
    "open_run",
    "register",
    "shown_store",
]
