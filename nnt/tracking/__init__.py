"""Runs: what a training leaves behind. Sole importer of mlflow."""

from nnt.tracking.delivery import (
    Delivered,
    Waiting,
    find_all_waiting,
    find_waiting,
    sync,
)
from nnt.tracking.local_runs import runs_directory
from nnt.tracking.registry import (
    Alias,
    Registered,
    check_can_be_registered,
    move_alias,
    read_alias,
    register,
)
from nnt.tracking.run import Outcome, Run
from nnt.tracking.store_uri import base_directory, default_uri, hide_passwords
from nnt.tracking.stored_run import (
    UNKNOWN_RUN,
    StoredRun,
    is_of_expert,
    list_trainings,
    load_weights,
    open_run,
    read_run_weights,
    run_of_weights,
    untrained_experts,
    weights_file,
)
from nnt.tracking.tracker import MlflowTracker, Tracker

__all__ = [
    "UNKNOWN_RUN",
    "Alias",
    "Delivered",
    "MlflowTracker",
    "Outcome",
    "Registered",
    "Run",
    "StoredRun",
    "Tracker",
    "Waiting",
    "base_directory",
    "check_can_be_registered",
    "default_uri",
    "find_all_waiting",
    "find_waiting",
    "hide_passwords",
    "is_of_expert",
    "list_trainings",
    "load_weights",
    "move_alias",
    "open_run",
    "read_alias",
    "read_run_weights",
    "register",
    "run_of_weights",
    "runs_directory",
    "sync",
    "untrained_experts",
    "weights_file",
]
