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

import contextlib
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient

from bench._frame import (
    SAMPLE,
    Server,
    environment,
    kept_where_it_fails,
    nnt_command,
    read_options,
)
from bench._killing import Command, Facts, Killing, Row
from bench._rubbish import bad_inputs
from nnt.files import previous_of
from nnt.tracking import StoredRun, open_run

TEAR_SHARE = 0.2
"""Share of the kills after which the last checkpoint is cut, as by a power cut."""
OUTAGE_S = 15.0
AT_ONCE = 4
DISK = "24m"


def small() -> list[str]:
    """Options of a training of seconds: all experts, with an end, but no plots."""
    simulated = "simulate: {tracks: 3000, seed: 1}"
    rows = f"files: [{SAMPLE}]" if SAMPLE.is_file() else simulated
    overrides = (
        f"data={{{rows}, split: [0.6, 0.2, 0.2]}}", "epochs=60", "plot_every=0",
        "early_stopping_patience=null", "batch_size=64", "engine=torch",
    )  # fmt: skip
    return [word for pair in overrides for word in ("-m", pair)]


@dataclass
class Training(Command):
    """``nnt train`` in a directory."""

    options: list[str] = field(default_factory=small)

    def words(self) -> list[str]:
        """What it is called with."""
        more = ["--resume", self.run_id] if self.run_id else []
        return ["train", "baseline_v2", "-p", *self.options, *more]

    def sync(self) -> None:
        """Deliver what waits on the disk, as the end of the training has told."""
        if any(self.home.glob(".nnt/runs/*/outbox.db")):
            subprocess.run(
                nnt_command("sync"), cwd=self.home, env=environment(self.uri),
                check=False, capture_output=True,
            )  # fmt: skip

    def find_run(self) -> str:
        """Find its run, as its owner would: where it says it, or in the store."""
        said = re.search(r"^run (\w{32})", self.log.read_text(errors="replace"), re.M)
        if said:
            self.run_id = said[1]
            return self.run_id
        client = MlflowClient(self.store)
        experiments = [own.experiment_id for own in client.search_experiments()]
        found = client.search_runs(experiments)
        parents = [run for run in found if "data.digest" in run.data.tags]
        self.run_id = str(parents[0].info.run_id) if parents else ""
        return self.run_id

    def facts(self) -> Facts:
        """All of a training that must not depend on interruptions."""
        client = MlflowClient(self.store)
        run = open_run(self.find_run(), self.store)
        found: Facts = {"weights.json": run.read_text("weights.json")}
        for one in (run, *run.children()):
            found[f"{one.name}: status"] = (one.status, one.tags.get("nnt.outcome"))
            found[f"{one.name}: parameters"] = dict(one.params)
            found[f"{one.name}: artifacts"] = _artifacts(one)
            for name in one.metrics:
                points = client.get_metric_history(one.run_id, name)
                found[f"{one.name}: {name}"] = [(p.step, p.value) for p in points]
            if one is not run:
                found[f"{one.name}: metrics.csv"] = one.read_text("metrics.csv")
        return found


def _artifacts(run: StoredRun) -> list[str]:
    # MLflow has no name for the folder of all.
    listed = run._client.list_artifacts(run.run_id)
    files = [str(item.path) for item in listed if not item.is_dir]
    folders = [str(item.path) for item in listed if item.is_dir]
    return sorted([*files, *(p for folder in folders for p in run.artifacts(folder))])


class Torture(Killing[Training]):
    """The cases, each in directories of its own under one that is new."""

    kills_of_one = 6

    def command(self, name: str) -> Training:
        """Prepare a training in a new directory."""
        return Training(self.home(name))

    def kill(self) -> Row:
        """Kill trainings at random moments, resume them, compare their ends."""
        row = self.kill_and_compare(self.arguments.seconds)
        phases = sorted(self.killed.items())
        row.what += f" ({', '.join(f'{n} {phase}' for phase, n in phases)})"
        return row

    def wait_a_while(self, command: Training) -> None:
        """Wait for a random time, or until a checkpoint is just being written."""
        seconds = self.random.uniform(0, 1.1 * self.length_s)
        at_draft = self.random.random() < 0.3
        end = time.monotonic() + seconds
        drafts = ".nnt/runs/*/checkpoints/.last.safetensors.*"
        while time.monotonic() < end and command.wait(0.002) is None:
            is_late = time.monotonic() > end - seconds / 2
            if at_draft and is_late and any(command.home.glob(drafts)):
                return

    def strike(self, command: Training) -> str:
        """Kill a training, and perhaps tear a checkpoint; say how far it had come."""
        if not command.kill():
            return ""
        phase = phase_of(command)
        if self.random.random() < TEAR_SHARE and tear(command.home, self.random):
            self.killed["with a torn checkpoint"] += 1
        return phase

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
            row.add(self._ended(training))
        return row

    def _ended(self, training: Training) -> list[str]:
        """Wait for the end of a training, and name what it lacks."""
        if (status := training.wait()) != 0:
            return [f"exit status {status}: {training.told()[-400:]}"]
        training.sync()
        return self.lost(training)

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
            row.add(self._ended(training))
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
        training.find_run()
        (place / "filler").unlink()
        print(f"full disk: {status}, {training.told()[-300:]}", file=sys.stderr)
        if status != 0:
            if "Traceback" in training.told():
                return [f"a traceback: {training.told()[-400:]}"]
            training.start()
        return self._ended(training)

    def rubbish(self) -> Row:
        """Feed bad inputs to every reader."""
        row = Row("bad inputs to the readers")
        for name, problem in bad_inputs(self.arguments.inputs, self.random, self.work):
            row.add([f"{name}: {problem}"] if problem else [])
        return row


def phase_of(training: Training) -> str:
    """How far its last start had come, by the files that it has written."""
    run_id = training.find_run()
    if not run_id:
        return "before its run"
    weights = training.home / ".nnt" / "runs" / run_id / "weights.json"
    if weights.is_file() and weights.stat().st_mtime > training.begun_s:
        return "at its end"
    kept = [path.stat().st_mtime for path in training.home.rglob("last.safetensors")]
    trained = any(written > training.begun_s for written in kept)
    return "in its epochs" if trained else "before a checkpoint"


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
            torture.leave_alone(times=2)  # the first one fills caches
        rows = [getattr(torture, name)() for name in arguments.only]
        print(f"{'':95} tried survived lost")
        for row in rows:
            lost = row.tried - row.survived
            print(f"{row.what:95} {row.tried:5} {row.survived:8} {lost:4}")
            for note in row.notes:
                print(f"    {note}")
        if any(row.tried > row.survived for row in rows):
            sys.exit(1)
