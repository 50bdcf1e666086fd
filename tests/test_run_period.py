"""A new run period: what has changed, a network for it, and the files of BASF2.

The recipe of ``docs/run-period.md``, from end to end.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from nnt.cli import main
from nnt.export.payload import parse_payload
from nnt.plots import registry
from nnt.simulation.parameters import Simulation
from nnt.simulation.simulate import simulate_with
from nnt.tracking import open_run
from nnt.tracks import write_tracks

OVER = "models:/nnt@champion"
JUDGED = ("--over", OVER, "--data", "judge.gz", "--sigma", "3")
SMALL = "plot_every=0 predictions=[test] early_stopping_patience=null workers=2"
LATE = np.float32(0.8)
"""By how much all drift times of the new period are off, in scaled units."""


def write_periods() -> None:
    """Two periods; the new one has dead cells, another event time, more background."""
    write_tracks(simulate_with(Simulation(tracks=6000, seed=1)), Path("old.gz"))
    changed = Simulation(
        tracks=6000,
        collision_event_share=0.25,
        stereo_dead_share=(0.03, 0.14, 0.25, 0.07),
    )
    for seed, (name, n) in enumerate({"new": 15_000, "judge": 6000}.items(), 10):
        tracks = simulate_with(replace(changed, tracks=n, seed=seed))
        inputs = tracks.inputs.reshape(-1, 9, 3).copy()
        hit = inputs.any(axis=2)
        times = inputs[..., 1]
        times[hit] += LATE * np.where(times[hit] < 0, -1, 1)
        times.clip(-1, 1, out=times)
        moved = replace(tracks, inputs=inputs.reshape(-1, 27))
        if name == "judge":
            # One expert: errors of the metrics of each take a second.
            moved = moved[moved.expert == 0]
        write_tracks(moved, Path(f"{name}.gz"))


def nnt(*words: str) -> Result:
    return CliRunner().invoke(main, [*words], catch_exceptions=False)


def answer(*words: str) -> dict[str, Any]:
    done = nnt(*words, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def train(config: str, file: str, *more: str) -> str:
    data = "data={files: [%s], split: [0.8, 0.1, 0.1], simulate: null}" % file  # noqa: UP031
    told = answer("train", config, "-p", "-d", "x", "-m", data, "-m", SMALL, *more)
    return str(told["run_id"])


def test_a_new_run_period_from_the_data_to_the_files_of_basf2(
    workplace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(empty_store, "mlflow.db")
    monkeypatch.setattr(registry, "_PLOTS", {})
    write_periods()
    first = train("recommended", "old.gz", "-m", "epochs=20 batch_size=64")
    assert nnt("promote", first, "--over", OVER).exit_code == 0

    # What has changed.
    described = nnt("data", "describe", "new.gz", "--against", "old.gz")
    assert described.exit_code == 0
    assert "driftT" in described.stdout.partition("What changed")[2]

    # A network for the new period, from the present one.
    start = f"load_pre_trained_weights={OVER}"
    longer = "epochs=20 learning_rate=0.005"
    again = train("finetune", "new.gz", "-m", start, "-m", longer)
    assert open_run(again).tags["nnt.started_from"] == first
    done = nnt("promote", again, *JUDGED)
    assert done.exit_code == 0, done.output
    assert open_run(OVER).run_id == again

    # The old network is refused on the new period, and so is a degraded one.
    hardly = train("recommended", "new.gz", "-m", "epochs=1 learning_rate=1e-5")
    for run in (first, hardly):
        refused = nnt("promote", run, *JUDGED)
        assert refused.exit_code == 1
        assert "rejection at 96 % efficiency:" in refused.stdout
        assert open_run(OVER).run_id == again

    answer("export", OVER, "--to", "basf2", "-o", "out", "--valid-from", "35", "0")
    values = parse_payload(Path("out/payload.conf").read_text().splitlines())
    assert values["nnname"] == f"finetune {again[:8]}"
    assert again in values["nnnote"]
    assert (values["nniov_exp_start"], values["nniov_exp_end"]) == ("35", "-1")
