"""Several trainings at once, on a store that none of them has found."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from some_processes import start

from nnt.networks import read_weights
from nnt.tracking import open_run

TRAININGS = 2
EPOCHS = 4


def start_training(home: Path, uri: str, seed: int) -> subprocess.Popen[str]:
    """Train in a process and a directory of its own."""
    home.mkdir()
    pairs = (
        "data={simulate: {tracks: 1000, seed: 1}, split: [0.6, 0.2, 0.2]}",
        f"seed={seed}", f"epochs={EPOCHS}", "experts=[0, 4]", "plot_every=0",
    )  # fmt: skip
    words = [word for pair in pairs for word in ("-m", pair)]
    return start(
        *("-m", "nnt", "train", "baseline_v2", "-p", "--json", *words),
        errors=subprocess.PIPE, cwd=home, MLFLOW_TRACKING_URI=uri,
    )  # fmt: skip


@pytest.mark.usefixtures("workplace")
def test_trainings_that_start_together_on_a_new_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    processes = [
        start_training(tmp_path / str(n), uri, seed=n) for n in range(TRAININGS)
    ]
    results = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        results.append(json.loads(out))
    assert len({result["run_id"] for result in results}) == TRAININGS
    assert len({result["experiment_id"] for result in results}) == 1
    weights = set()
    for seed, result in enumerate(results):
        run = open_run(result["run_id"], uri)
        assert run.status == "FINISHED"
        assert run.params["cfg.seed"] == str(seed)
        children = run.children()
        assert [child.name for child in children] == ["expert_0", "expert_4"]
        for child in children:
            steps = [step for step, _, _ in child.history("train/loss")]
            assert steps == list(range(1, EPOCHS + 1))
        text = run.read_text("weights.json")
        assert sorted(read_weights(text.encode())) == [0, 4]
        weights.add(text)
    assert len(weights) == TRAININGS
