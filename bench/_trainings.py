"""Small production trainings in processes of their own, and what they leave behind."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field

from mlflow import MlflowClient

from bench._frame import SAMPLE, environment, nnt_command
from bench._killing import Command, Facts
from nnt.tracking import StoredRun, open_run


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


def everything(training: Training) -> Facts:
    """All of a training that must not depend on interruptions."""
    client = MlflowClient(training.store)
    run = open_run(training.find_run(), training.store)
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
