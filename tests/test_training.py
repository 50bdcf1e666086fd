"""A whole training, tracked in a real store in a temporary directory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import nnt
from nnt.cli import main
from nnt.config import config_files
from nnt.engine import Epoch, History
from nnt.errors import ConfigError, TrackingError, TrainingError
from nnt.sweep import sweep
from nnt.tracking import StoredRun, Tracker, open_run
from nnt.tracks import write_tracks
from nnt.training import TrainingResult
from nnt.training.side_by_side import EPOCHS_PER_TURN, MeanOverExperts, Turns

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


def test_an_expert_without_rows_fails_alone() -> None:
    result = train(filter="dataset_filters.ExpertFilter(0)", experts=[0, 1])
    assert result.outcome == "FAILED"
    assert "no rows" in result.experts[1].error
    assert result.experts[0].stop_reason == "epochs"
    assert open_run(result.experts[1].run_id).status == "FAILED"


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


@pytest.mark.parametrize("text", ["0" * 32, "runs:/" + "f" * 32, "nonsense", "a/../b"])
def test_a_run_that_is_not_there_is_reported(text: str) -> None:
    with pytest.raises(TrackingError):
        open_run(text)


@pytest.mark.parametrize("name", sorted(config_files()))
def test_every_shipped_configuration_trains(name: str) -> None:
    is_classic = nnt.load_config(name).chain == "classic"
    chosen = {"experts": [0], "expert_0": {"epochs": 1}} if is_classic else {}
    result = train(name, epochs=1, **chosen)
    assert result.outcome == "FINISHED"
    assert np.isfinite(result.val["loss"])


def test_train_prints_one_json_object() -> None:
    options = [
        "-m",
        "epochs=1 plot_every=0",
        "-m",
        "data.simulate.tracks=2000",
        "--json",
    ]
    done = CliRunner().invoke(main, ["train", "baseline_v2", "-p", "-d", "x", *options])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert {"run_id", "experiment_id", "tracking_uri", "experts", "val", "test"} <= set(
        printed
    )


def test_a_wrong_key_is_one_message() -> None:
    done = CliRunner().invoke(main, ["train", "baseline_v2", "-m", "epocs=3"])
    assert done.exit_code == 1
    assert "epochs" in done.stderr
    assert "Traceback" not in done.output


def test_mean_over_experts_counts_finished_ones_with_their_last_value() -> None:
    told: list[tuple[int, float]] = []
    histories = {0: History(), 1: History()}
    mean = MeanOverExperts(histories, lambda metrics, n: told.append((n, metrics["x"])))

    def add(expert: int, value: float) -> None:
        history = histories[expert]
        history.add(Epoch(number=len(history) + 1, metrics={"x": value}))
        mean.update()

    add(0, 1.0)
    assert told == []
    mean.finish(0)
    add(1, 3.0)
    add(1, 5.0)
    mean.finish(1)
    assert told == [(1, 2.0), (2, 3.0)]


def test_epochs_of_a_checkpoint_are_no_progress() -> None:
    """Rate and time left come from what this process does."""
    shown: list[tuple[int, int]] = []
    histories = {0: History(), 1: History()}

    def show(done: int, total: int) -> None:
        shown.append((done, total))

    mean = MeanOverExperts(histories, lambda *_: None, show, {0: 60, 1: 60})
    for expert, is_new in [(0, False)] * 50 + [(1, False)] * 40 + [(0, True)] * 2:
        history = histories[expert]
        history.add(Epoch(number=len(history) + 1, metrics={"x": 1.0}))
        mean.update(is_new=is_new)
    assert {done for done, _ in shown[:90]} == {0}
    assert shown[89:] == [(0, 30), (1, 30), (2, 30)]
    mean.finish(0)
    assert shown[-1] == (2, 22)


def test_experts_that_take_turns_train_alone_and_side_by_side() -> None:
    histories = {expert: History() for expert in range(3)}
    lengths = {0: 35, 1: 12, 2: 60}
    turns = Turns(histories)
    trained: list[int] = []

    def train(expert: int) -> None:
        with turns.taken_by(expert):
            for number in range(lengths[expert]):
                histories[expert].add(Epoch(number=number + 1, metrics={"x": 0.0}))
                trained.append(expert)
                turns.wait(expert)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(train, [2, 0, 1]))
    expected = [
        expert
        for done in range(0, max(lengths.values()), EPOCHS_PER_TURN)
        for expert, length in lengths.items()
        for _ in range(min(length - done, EPOCHS_PER_TURN))
    ]
    assert trained == expected


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


def hough3d_file(path: Path, n_inputs: int) -> Path:
    """Rows of the 3D Hough chain, with one more column."""
    write_tracks(nnt.simulate(1500, seed=1, chain="3dh", inputs=n_inputs), path)
    header, _, *rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    text = "".join(f"{row}\t1.50\n" for row in rows)
    path.write_bytes(gzip.compress(f"{header}\tWeather\n\n{text}".encode()))
    return path


@pytest.mark.parametrize("n_inputs", [27, 126])
def test_networks_of_the_3d_hough_chain_train(tmp_path: Path, n_inputs: int) -> None:
    file = hough3d_file(tmp_path / "tracks.txt.gz", n_inputs)
    values: dict[str, Any] = {
        "chain": "3dh", "in_size": n_inputs, "experts": [-1], "act": "tanh",
        "hidden": [20, 20], "outputs": ["z", "theta", "nnt", "stt"], "batch_size": 64,
        "data": {"files": [str(file)], "split": [0.6, 0.2, 0.2]},
    }  # fmt: skip
    result = nnt.train({**values, "epochs": 4, "plot_every": 0})
    assert result.outcome == "FINISHED"
    networks = nnt.load_networks(result.run_id)
    assert networks.chain == "3dh"
    assert networks.predict(nnt.read_tracks(file)).shape == (1500, 4)
    child = open_run(result.experts[-1].run_id)
    losses = [value for _, _, value in child.history("val/loss")]
    assert losses[-1] < losses[0]
    before, after = lines_of(file), []
    for split in ("train", "val", "test"):
        place = f"predictions/{split}.csv.gz"
        after += lines_of(open_run(result.run_id).download(place, tmp_path))
    assert sorted(line.rsplit("\t", 4)[0] for line in after) == sorted(before)


def lines_of(path: Path) -> list[str]:
    """Rows, cell by cell as they were written."""
    return gzip.decompress(path.read_bytes()).decode().splitlines()[2:]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "chain: .*have 3dh; set chain: 3dh"),
        ({"chain": "3dh", "in_size": 126}, "in_size: .*have 27; set in_size: 27"),
    ],
)
def test_data_of_another_chain_are_refused(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    file = hough3d_file(tmp_path / "tracks.txt.gz", 27)
    data = {"files": [str(file)], "split": [0.6, 0.2, 0.2]}
    with pytest.raises(ConfigError, match=words):
        nnt.train({"experts": [-1], "data": data, **values})
