"""Time until NNT answers: ``nnt --help``, and ``nnt train`` to its first epoch.

``python -m bench startup`` prints wall and CPU time of ``nnt --help`` next to the bare
interpreter, and of each step of ``nnt train`` on a cached table with a store on
this disk, until the first expert has done its first epoch, next to a script that only
imports what any such trainer does (torch and mlflow); measured in turn, medians of
several rounds. ``python -X importtime -c "import nnt.training"`` says what takes long.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from functools import partial
from pathlib import Path

import psutil

from bench._frame import (
    Times,
    environment,
    kill_group,
    median,
    nnt_command,
    read_options,
    timed,
)

CONFIG = "baseline_v2"
TRAIN = nnt_command(
    "train", CONFIG, "-p", "-d", "bench", "-m", "epochs=1", "-m", "experts=[0, 1]"
)
STEPS = {
    "rows are read": r"train: .* rows",
    "run is open": r"run [0-9a-f]{32}; ",
    "training begins": r"backend: ",
    "first epoch is done": r"best epoch",
}
SHORT = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "nnt --help": nnt_command("--help"),
    "nnt train --help": nnt_command("train", "--help"),
    "import torch, mlflow": [
        sys.executable, "-c", "import torch, mlflow; mlflow.MlflowClient",
    ],
}  # fmt: skip


def main() -> None:
    """Print the tables."""
    rounds = read_options(__doc__, rounds=5).rounds
    found: dict[str, list[Times]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        _first_epoch(store)  # simulates and compiles, if that was never done
        for number in range(rounds):
            for name, command in SHORT.items():
                run = partial(subprocess.run, command, check=True, capture_output=True)
                found[name].append(timed(run))
            for name, times in _first_epoch(store).items():
                found[f"nnt train: {name}"].append(times)
            fresh = store / str(number)
            fresh.mkdir()
            last = list(_first_epoch(fresh).values())[-1]
            found["nnt train: the same, the store is made first"].append(last)
    print(f"{os.cpu_count()} cores, medians of {rounds} rounds, from the start of the "
          f"process: wall s (CPU s)")  # fmt: skip
    for name, measured in found.items():
        middle = median(measured)
        print(f"  {name:48} {middle.wall_s:6.2f} ({middle.cpu_s:.2f})")


def _first_epoch(store: Path) -> dict[str, Times]:
    """Start a training, read on stderr how far it is, and end it."""
    start, waiting, seen = time.perf_counter(), dict(STEPS), {}
    with subprocess.Popen(
        TRAIN, cwd=store, env=environment(), text=True, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            told = []
            for line in process.stderr or ():
                told.append(line)
                for name in [n for n, text in waiting.items() if re.search(text, line)]:
                    del waiting[name]
                    wall_s = time.perf_counter() - start
                    seen[name] = Times(wall_s, _cpu_s(process.pid))
                if not waiting:
                    return seen
            raise SystemExit("".join(told))
        finally:
            kill_group(process)


def _cpu_s(pid: int) -> float:
    """CPU time of a process and its children so far."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        times = each.cpu_times()
        total += times.user + times.system
        total += times.children_user + times.children_system
    return total
