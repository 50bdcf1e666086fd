"""Kill trainings, cut them off, feed them rubbish, and count what is lost.

``python -m bench torture --kills 50`` kills small production trainings at random
moments, none after ``--seconds``, and resumes them, takes their server away and brings
it back, starts four at once on a store that is not there yet, fills their disk, and
feeds 200 bad inputs to all readers. It compares every end with that of a training that
was left alone, and prints one table: tried, survived, lost.

The tracks are the sample of experiment 20 where it is at hand, else simulated. The
source must not change meanwhile: a run is not resumed by other code.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from bench._frame import Server, kept_where_it_fails, read_options
from bench._rubbish import bad_inputs
from bench._trainings import Training, differences, everything
from nnt.errors import NNTError
from nnt.files import previous_of
from nnt.tracking import MlflowTracker

KILLS_OF_ONE = 6
"""After so many kills a training may come to its end."""
TEAR_SHARE = 0.2
"""Share of the kills after which the last checkpoint is cut, as by a power cut."""
OUTAGE_S = 15.0
AT_ONCE = 4
DISK = "24m"


@dataclass
class Row:
    """A line of the table."""

    what: str
    tried: int = 0
    survived: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, lost: list[str], times: int = 1) -> None:
        """Count cases with one end: nothing lost, or what was."""
        self.tried += times
        self.survived += 0 if lost else times
        self.notes += lost[:3]


class Torture:
    """The cases, each in directories of its own under one that is new."""

    def __init__(self, work: Path, arguments: argparse.Namespace) -> None:
        self.work = work
        self.kills: int = arguments.kills
        self.inputs: int = arguments.inputs
        self.end = time.monotonic() + arguments.seconds
        self.random = random.Random(arguments.seed)
        self.whole: dict[str, Any] = {}
        self.length_s = 0.0

    def home(self, name: str) -> Path:
        """Make a directory with an empty store, which takes seconds to make."""
        home = self.work / name
        home.mkdir()
        with contextlib.chdir(home):
            if name == "alone":
                MlflowTracker().close()
            else:
                shutil.copy(self.work / "empty.db", home / "mlflow.db")
        return home

    def leave_alone(self) -> None:
        """Train without any interruption, to compare with."""
        home = self.home("alone")
        shutil.copy(home / "mlflow.db", self.work / "empty.db")
        training = Training(home)
        for _ in range(2):  # the first one fills caches
            begin = time.monotonic()
            training.start()
            if training.wait() != 0:
                sys.exit(f"the training fails by itself:\n{training.told()}")
            self.length_s = time.monotonic() - begin
        self.whole = everything(str(training.run_id()), store_of(home))
        print(f"left alone: {self.length_s:.1f} s", file=sys.stderr)

    def compare(self, training: Training, uri: str) -> list[str]:
        """Name what differs from the training that was left alone."""
        run_id = training.run_id() or newest_run(training.home)
        if run_id is None:
            return [f"{training.home}: no run: {training.told()[-300:]}"]
        try:
            return differences(self.whole, everything(run_id, uri))
        except NNTError as err:
            return [f"{training.home}: {err}"]

    def kill(self) -> Row:
        """Kill trainings at random moments, resume them, compare their ends."""
        row, phases = Row("SIGKILL at a random moment, resumed"), Counter[str]()
        number = 0
        while row.tried < self.kills and time.monotonic() < self.end:
            number += 1
            home = self.home(f"kill-{number}")
            training = Training(home)
            left = min(KILLS_OF_ONE, self.kills - row.tried)
            kills, lost = self._kill_one(training, left, phases)
            row.add(lost or self.compare(training, store_of(home)), kills)
            print(f"kills: {row.tried}, {row.notes}", file=sys.stderr, flush=True)
        row.what += (
            " (" + ", ".join(f"{n} {p}" for p, n in sorted(phases.items())) + ")"
        )
        return row

    def _kill_one(
        self, training: Training, most: int, phases: Counter[str]
    ) -> tuple[int, list[str]]:
        """Kill one training again and again, then let it end."""
        run_id, kills = None, 0
        while kills < most:
            begin_s = time.time()
            training.start(run_id)
            self._wait_a_while(training)
            if not training.kill():
                break
            kills += 1
            run_id = newest_run(training.home)
            phases[phase_of(training.home, run_id, begin_s)] += 1
            if self.random.random() < TEAR_SHARE:
                phases["with a torn checkpoint"] += tear(training.home, self.random)
        else:
            training.start(run_id)
            training.wait()
        # All may have been told already that a process had done when it was killed.
        ended = training.process.returncode == 0 or is_finished(training.home)
        return kills, [] if ended else [f"{training.home}: {training.told()[-400:]}"]

    def _wait_a_while(self, training: Training) -> None:
        """Wait for a random time, or until a checkpoint is just being written."""
        seconds = self.random.uniform(0, 1.1 * self.length_s)
        at_draft = self.random.random() < 0.3
        end = time.monotonic() + seconds
        while time.monotonic() < end and training.wait(0.002) is None:
            if at_draft and time.monotonic() > end - seconds / 2 and drafts(training):
                return

    def outage(self) -> Row:
        """Take a real server away in the middle, and bring it back."""
        row = Row(f"mlflow server killed for {OUTAGE_S:.0f} s in the middle")
        home = self.work / "outage"
        home.mkdir()
        server = Server(home)
        training = Training(home, server.uri)
        with server:
            training.start()
            wait_for(lambda: any(home.rglob("last.safetensors")), training)
        time.sleep(OUTAGE_S)
        with server:
            row.add(self._ended(training, server.uri))
        return row

    def _ended(self, training: Training, uri: str) -> list[str]:
        """Wait for the end of a training, and name what it lacks."""
        if (status := training.wait()) != 0:
            return [f"exit status {status}: {training.told()[-400:]}"]
        training.sync()
        return self.compare(training, uri)

    def at_once(self) -> Row:
        """Start several trainings on a store that is not there yet."""
        row = Row(f"{AT_ONCE} trainings at once on a new SQLite store")
        home = self.work / "at-once"
        trainings = []
        for number in range(AT_ONCE):
            (home / str(number)).mkdir(parents=True)
            uri = f"sqlite:///{home / 'mlflow.db'}"
            trainings.append(Training(home / str(number), uri))
        for training in trainings:
            training.start()
        for training in trainings:
            row.add(self._ended(training, str(training.uri)))
        return row

    def full_disk(self) -> Row:
        """Fill the disk of a training, make room again, resume it if it has ended."""
        row = Row("disk full in the middle, resumed when there is room")
        place = self.work / "disk"
        place.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mounted.returncode:
            row.notes.append("skipped, only root may mount a tmpfs")
            return row
        try:
            row.add(self._fill(place))
        finally:
            subprocess.run(["umount", "-l", str(place)], check=False)
        return row

    def _fill(self, place: Path) -> list[str]:
        shutil.copy(self.work / "empty.db", place / "mlflow.db")
        logs = self.work / "disk-logs"
        logs.mkdir()
        training = Training(place, logs=logs)
        training.start()
        wait_for(lambda: any(place.rglob("last.safetensors")), training)
        with contextlib.suppress(OSError), (place / "filler").open("wb") as file:
            while True:
                file.write(b"0" * 65536)
                file.flush()
        status = training.wait()
        run_id = training.run_id()
        (place / "filler").unlink()
        print(f"full disk: {status}, {training.told()[-300:]}", file=sys.stderr)
        if status != 0:
            if "Traceback" in training.told():
                return [f"a traceback: {training.told()[-400:]}"]
            training.start(run_id)
            if training.wait() != 0:
                return [f"not resumed: {training.told()[-400:]}"]
        training.sync()
        return self.compare(training, store_of(place))

    def rubbish(self) -> Row:
        """Feed bad inputs to every reader."""
        row = Row("bad inputs to the readers")
        for name, problem in bad_inputs(self.inputs, self.random, self.work):
            row.add([f"{name}: {problem}"] if problem else [])
        return row


def store_of(home: Path) -> str:
    """URI of the default store of a directory."""
    return f"sqlite:///{home / 'mlflow.db'}"


def newest_run(home: Path) -> str | None:
    """Find the training in a store, as its owner would in the list of runs."""
    client = MlflowClient(store_of(home))
    experiments = [own.experiment_id for own in client.search_experiments()]
    found = client.search_runs(experiments)
    parents = [run for run in found if "data.digest" in run.data.tags]
    return str(parents[0].info.run_id) if parents else None


def is_finished(home: Path) -> bool:
    """Whether the training of a store has told its end."""
    run_id = newest_run(home)
    if run_id is None:
        return False
    return str(MlflowClient(store_of(home)).get_run(run_id).info.status) == "FINISHED"


def phase_of(home: Path, run_id: str | None, begin_s: float) -> str:
    """How far a start had come, by the files that it has written."""
    if run_id is None:
        return "before its run"
    weights = home / ".nnt" / "runs" / run_id / "weights.json"
    if weights.is_file() and weights.stat().st_mtime > begin_s:
        return "at its end"
    kept = [path.stat().st_mtime for path in home.rglob("last.safetensors")]
    trained = any(written > begin_s for written in kept)
    return "in its epochs" if trained else "before a checkpoint"


def drafts(training: Training) -> bool:
    """Whether a checkpoint is just being written."""
    return any(training.home.glob(".nnt/runs/*/checkpoints/.last.safetensors.*"))


def tear(home: Path, rng: random.Random) -> bool:
    """Cut the last checkpoint of an expert which has one before it."""
    whole = [p for p in home.rglob("last.safetensors") if previous_of(p).is_file()]
    if not whole:
        return False
    path = rng.choice(sorted(whole))
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])
    return True


def wait_for(condition: Callable[[], bool], training: Training) -> None:
    """Wait until something is so, or the training has ended."""
    while training.wait(0.05) is None and not condition():
        pass


def main() -> None:
    """Torture trainings and print the table."""
    arguments = read_options(
        __doc__,
        kills=50,
        inputs=200,
        seconds=3600.0,
        seed=1,
        only=["kill", "outage", "at_once", "full_disk", "rubbish"],
    )
    with kept_where_it_fails("torture") as work:
        torture = Torture(work, arguments)
        if set(arguments.only) - {"rubbish"}:
            torture.leave_alone()
        rows = [getattr(torture, name)() for name in arguments.only]
        print(f"{'':95} tried survived lost")
        for row in rows:
            lost = row.tried - row.survived
            print(f"{row.what:95} {row.tried:5} {row.survived:8} {lost:4}")
            for note in row.notes:
                print(f"    {note}")
        if any(row.tried > row.survived for row in rows):
            sys.exit(1)
