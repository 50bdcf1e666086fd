"""A whole training, tracked in a real store in a temporary directory."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

import nnt
from nnt.config import config_files
from nnt.errors import ConfigError, TrackingError, TrainingError
from nnt.sweep import sweep
from nnt.tracking import StoredRun, Tracker, open_run
from nnt.training import TrainingResult

pytestmark = pytest.mark.usefixtures("shared_project")

SMALL = {"data": {"simulate": {"tracks": 3000, "seed": 1}, "split": [0.6, 0.2, 0.2]}}
ARTIFACTS = [
    "config.yaml",
    "summary.json",
    "weights.json",
    "model/MLmodel",
    "git/commit.txt",
    "git/diff.patch",
    "logs/app.log",
    "predictions/train.csv.gz",
    "predictions/test.csv.gz",
    "plots/val/z_residual.png",
    "plots/test_fixed_point/z_difference.png",
    "plots/learning_curves.png",
]


def train(name: str = "baseline_v2", **more: Any) -> TrainingResult:
    jobs = more.pop("jobs", None)
    stop = more.pop("stop", None)
    config = nnt.load_config(
        name, overrides={**SMALL, "epochs": 2, "plot_every": 0, **more}
    )
    return nnt.train(config, jobs=jobs, stop=stop)


@pytest.fixture(scope="module")
def trained(
    shared_project: Path, tmp_path_factory: pytest.TempPathFactory
) -> TrainingResult:
    """Two epochs of all experts, to look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NNT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return train()


def weights_of(result: TrainingResult) -> bytes:
    return open_run(result.run_id).read_text("weights.json").encode()


def test_a_training_leaves_all_artifacts(tmp_path: Path) -> None:
    result = train(plot_every=1, experts=[-1])
    run = open_run(result.run_id)
    for path in ARTIFACTS:
        assert run.download(path, tmp_path).is_file()
    assert run.status == "FINISHED"
    assert run.tags["nnt.outcome"] == "FINISHED"
    assert run.tags["config"] == "baseline_v2"
    assert list(result.experts) == [-1]
    assert run.metrics["val/z_std_cm"] == pytest.approx(result.val["z_std_cm"])
    assert run.metrics["epochs"] == 2
    check_description(run, result)
    child = open_run(result.experts[-1].run_id)
    names = {re.split("[%+]", Path(path).name)[0] for path in child.artifacts("images")}
    assert names == {"z_against_reco", "z_residual"}


def check_description(run: StoredRun, result: TrainingResult) -> None:
    """Tell the working point first; lead to the experts and to pictures."""
    text = run.tags["mlflow.note.content"]
    assert len(text) < 5000
    point = f"Rejects {100 * result.test['rejection_at_eff96']:.1f} % of the background"
    assert text.index(point) < 200
    assert "Configuration `baseline_v2` with `epochs=2`, " in text
    n_val, n_test = (result.val["n_tracks"], result.test["n_tracks"])
    rows = f"/ {n_val:,.0f} / {n_test:,.0f} rows to train, validate and test"
    assert re.search(rf"3,000 simulated tracks, seed 1; [\d,]+ {rows}", text)
    for expert, own in result.experts.items():
        row = f"| [{expert}](#/runs/{own.run_id}) | {own.best_epoch}/2 | "
        assert row + f"{own.val['loss']:.4g} | " in text
    shown = re.findall(r"get-artifact\?path=([\w./]+)&run_uuid=" + run.run_id, text)
    assert shown == ["plots/test/z_against_reco.png", "plots/learning_curves.png"]
    assert all(run.holds(path) for path in shown)
    assert f"load_pre_trained_weights: runs:/{run.run_id}/weights.json" in text
    given = set(run.tags["nnt.overrides"].split())
    assert {"epochs=2", "plot_every=1", "data.simulate.tracks=3000"} <= given
    assert {child.tags["nnt.kind"] for child in run.children()} == {"expert"}


def test_epochs_of_the_parent_are_those_of_the_longest_training() -> None:
    result = train(epochs=1, expert_3={"epochs": 4}, learning_rate=1e-4)
    assert [result.experts[k].epochs for k in range(5)] == [1, 1, 1, 4, 1]
    found = open_run(result.run_id).metrics
    assert found["epochs"] == 4
    assert found["best_epoch"] == max(e.best_epoch for e in result.experts.values())


def test_children_hold_every_epoch(trained: TrainingResult) -> None:
    child = open_run(trained.experts[3].run_id)
    assert child.tags["expert"] == "3"
    assert len(child.params) == 6
    assert child.params["cfg.act"] == "tanh/2"
    lines = child.read_text("metrics.csv").splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "1", "2"]
    assert {"train/loss", "val/loss", "val/z_trimmed_std_cm", "lr"} <= set(
        child.metrics
    )


def test_reweighting_is_drawn(tmp_path: Path) -> None:
    child = open_run(train("reweight_normal", experts=[0]).experts[0].run_id)
    assert child.download("plots/train/sampled_distribution.png", tmp_path).is_file()


@pytest.mark.parametrize("jobs", [1, 2])
def test_weights_do_not_depend_on_jobs(trained: TrainingResult, jobs: int) -> None:
    assert weights_of(train(jobs=jobs)) == weights_of(trained)


def test_zero_epochs_after_a_run_equal_that_run(trained: TrainingResult) -> None:
    run = trained.run_id
    again = train(epochs=0, load_pre_trained_weights=run, compare_to=run)
    assert weights_of(again) == weights_of(trained)
    assert again.val["loss_vs_reference"] == 1.0


def test_loaded_networks_predict_what_was_written(tmp_path: Path) -> None:
    result = train(predictions=["test"])
    run = open_run(result.run_id)
    place = run.download("predictions/test.csv.gz", tmp_path)
    table = nnt.read_tracks(place)
    written = np.stack([table.extras["NewZ"], table.extras["NewTheta"]], axis=1)
    predicted = nnt.load_networks(result.run_id).predict(table)
    assert predicted == pytest.approx(written, abs=1e-6)
    with pytest.raises(TrackingError, match=r"train\.csv\.gz"):
        run.download("predictions/train.csv.gz", tmp_path)


def test_a_run_uri_names_the_file_that_is_read(trained: TrainingResult) -> None:
    child = trained.experts[0].run_id
    assert open_run(f"runs:/{child}/weights.json").path == "weights.json"
    with pytest.raises(TrackingError, match="other"):
        nnt.load_networks(f"runs:/{child}/other/weights.json")


def test_an_expert_is_judged_by_its_own_rows_and_loss() -> None:
    own = {"filter": "dataset_filters.Max2EventsFilter()", "loss": "L1Loss"}
    result = train(experts=[0, 3], expert_3=own).experts[3]
    text = open_run(result.run_id).read_text("metrics.csv")
    best = min(float(row["val/loss"]) for row in csv.DictReader(io.StringIO(text)))
    assert result.val["loss"] == pytest.approx(best, rel=1e-5)


def test_a_training_without_a_store(tmp_path: Path) -> None:
    config = nnt.load_config("baseline_v2", {**SMALL, "epochs": 1, "experts": [0]})
    result = nnt.train(config, tracker=Tracker(tmp_path))
    parent = tmp_path / result.run_id
    assert (parent / "weights.json").is_file()
    assert (parent / result.experts[0].run_id / "metrics.csv").is_file()


@pytest.mark.parametrize("stop", [True, Event, "yes", 1])
def test_what_is_no_event_stops_nothing_and_begins_nothing(
    shared_project: Path, stop: Any
) -> None:
    before = set(shared_project.rglob("*"))
    for begin in (nnt.train, sweep):
        with pytest.raises(TrainingError, match=r"stop: expected a threading\.Event"):
            begin({**SMALL, "epochs": 1}, stop=stop)
    assert set(shared_project.rglob("*")) == before


def test_stopping_keeps_what_is_done() -> None:
    stop = Event()
    stop.set()
    result = train(stop=stop, epochs=500)
    assert result.outcome == "KILLED"
    assert open_run(result.run_id).status == "KILLED"
    assert weights_of(result)


def test_wrong_activation_is_reported_before_the_training(
    trained: TrainingResult,
) -> None:
    with pytest.raises(ConfigError, match="act"):
        train(load_pre_trained_weights=trained.run_id, act="relu")


@pytest.mark.parametrize("name", sorted(config_files()))
def test_every_shipped_configuration_trains(name: str) -> None:
    is_classic = nnt.load_config(name).chain == "classic"
    chosen = {"experts": [0], "expert_0": {"epochs": 1}} if is_classic else {}
    result = train(name, epochs=1, **chosen)
    assert result.outcome == "FINISHED"
    assert np.isfinite(result.val["loss"])


@pytest.mark.parametrize(
    ("values", "columns"),
    [
        ({"outputs": ["z", "theta", "nnt", "stt"], "hidden": [20, 20]}, ["nnt", "stt"]),
        ({"outputs": ["nnt"], "classes": {"background_cm": 5.0}}, ["nnt"]),
        ({"loss": "TriggerLoss", "average": 0.99}, ["decision"]),
    ],
    ids=str,
)
def test_networks_of_any_form_train_with_balanced_classes(
    values: dict[str, Any], columns: list[str]
) -> None:
    result = train(experts=[0], **values)
    assert result.outcome == "FINISHED"
    networks = nnt.load_networks(result.run_id)
    assert list(networks.outputs) == values.get("outputs", ["z", "theta"])
    child = open_run(result.experts[0].run_id)
    weights = json.loads(child.read_text("class_weights.json"))
    assert list(weights) == columns
    for name in columns:
        n_signal = child.metrics[f"train/{name}_signal_rows"]
        assert n_signal > 0
        assert child.metrics[f"train/{name}_background_rows"] > 0
        assert 0 < child.metrics[f"train/{name}_effective_share"] <= 1
        assert len(weights[name]["signal"]) == len(weights[name]["background"])
    losses = [value for _, _, value in child.history("train/loss")]
    assert losses[-1] < losses[0]
    assert ("val/objective" in child.metrics) == (columns == ["decision"])
    rows = csv.DictReader(io.StringIO(child.read_text("metrics.csv")))
    own = result.experts[0]
    best = [float(row["val/loss"]) for row in rows][own.best_epoch - 1]
    assert own.val["loss"] == pytest.approx(best, rel=1e-5)
