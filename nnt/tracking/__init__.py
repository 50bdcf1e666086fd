"""Runs: what a training leaves behind. Sole importer of mlflow."""

from nnt.tracking.environment import base_directory, default_uri
from nnt.tracking.mlflow_run import MlflowRun
from nnt.tracking.mlflow_tracker import MlflowTracker
from nnt.tracking.null import NullRun, NullTracker
from nnt.tracking.offline import OfflineTracker
from nnt.tracking.protocol import Outcome, Run, Tracker
from nnt.tracking.registry import Registered, register
from nnt.tracking.run_weights import (
    load_weights,
    read_run_weights,
    untrained_experts,
)
from nnt.tracking.spool import (
    Delivered,
    Spool,
    find_spool,
    find_spools,
    runs_directory,
    sync,
)
from nnt.tracking.store_uri import hide_passwords, shown_store
from nnt.tracking.stored_run import StoredRun, open_run

__all__ = [
    "Delivered",
    "MlflowRun",
    "MlflowTracker",
    "NullRun",
    "NullTracker",
    "OfflineTracker",
    "Outcome",
    "Registered",
    "Run",
    "Spool",
    "StoredRun",
    "Tracker",
    "base_directory",
    "default_uri",
    "find_spool",
    "find_spools",
    "hide_passwords",
    "load_weights",
    "open_run",
    "read_run_weights",
    "register",
    "runs_directory",
    "shown_store",
    "sync",
    "untrained_experts",
]
