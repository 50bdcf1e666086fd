"""Runs judged on their own rows and on others, in a real store."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from some_trainings import SMALL, invoke

import nnt
from nnt.cli import main
from nnt.errors import DataError, ExportError, TrackingError
from nnt.evaluation.judged import load_run, rows_for, rows_trained_on
from nnt.export import load_source
from nnt.markdown import table
from nnt.tracking import MlflowTracker, open_run, untrained_experts
from nnt.tracks import Tracks, write_tracks
from nnt.training import TrainingResult

MakeTracks = Callable[..., Tracks]

pytestmark = pytest.mark.usefixtures("trained_project")

REJECTIONS = ("rejection_at_eff96", "rejection_at_eff98")


@pytest.mark.parametrize("split", ["val", "test"])
def test_its_own_split_gives_the_figures_of_the_training(
    trained: TrainingResult, split: str
) -> None:
    result = nnt.evaluate(trained.run_id, split=split, log_to_run=False)
    assert result.filtered["all"] == getattr(trained, split)
    for expert in (0, 3):
        figures = getattr(trained.experts[expert], split)
        assert result.filtered[f"expert_{expert}"] == figures
    child = trained.experts[3].run_id
    alone = nnt.evaluate(child, split=split, log_to_run=False)
    assert alone.filtered["all"] == getattr(trained.experts[3], split)


@pytest.mark.usefixtures("few_plots")
def test_files_give_figures_plots_and_metrics_in_the_run(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    words = [word for file in files for word in ("--data", str(file))]
    told = invoke("evaluate", trained.run_id, *words)
    assert told["n_tracks"] == 400
    run, label = open_run(trained.run_id), told["label"]
    for expert, stored in [("all", run), *((c.name, c) for c in run.children())]:
        figures = told["filtered"][expert]
        logged = stored.metrics[f"eval_{label}/z_std_cm"]
        assert logged == pytest.approx(figures["z_std_cm"])
        picture = f"evaluations/{label}/plots/z_residual.png"
        assert stored.download(picture, tmp_path).is_file()
    kept = json.loads(run.read_text(f"evaluations/{label}/evaluation.json"))
    assert kept == told
    assert run.status == "FINISHED"
    assert run.tags["nnt.outcome"] == "FINISHED"
    assert_bound(trained, told)


def assert_bound(trained: TrainingResult, evaluated: Mapping[str, Any]) -> None:
    """The model of the run has the main metrics, each bound to its rows."""
    client = MlflowClient(open_run(trained.run_id).uri)
    [model] = client.search_logged_models(
        [trained.experiment_id], f"source_run_id = '{trained.run_id}'"
    )
    assert model.params is not None
    assert model.params["form"] == "27-81-2 with tanh/2"
    label = f"eval_{evaluated['label']}"
    figures = {
        "val": (trained.val, "val", model.params["data.val"]),
        "test": (trained.test, "test", model.params["data.test"]),
        label: (evaluated["filtered"]["all"], evaluated["label"], evaluated["digest"]),
    }
    expected = [
        (f"{prefix}/{name}", own[name], dataset, digest[:36])
        for prefix, (own, dataset, digest) in figures.items()
        for name in ("loss", "z_trimmed_std_cm", *REJECTIONS)
    ]
    assert sorted(expected) == sorted(
        (m.key, m.value, m.dataset_name, m.dataset_digest) for m in model.metrics or []
    )


@pytest.mark.usefixtures("few_plots")
def test_figures_stand_with_errors_sizes_and_bins(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    words = ["--data", str(files[0]), "--no-log", "--plots", str(tmp_path / "plots")]
    told = invoke("evaluate", trained.run_id, *words)
    scopes = {"all", "expert_0", "expert_3"}
    assert told["filtered"].keys() == told["errors"].keys() == scopes
    for scope in scopes:
        figures, errors = told["filtered"][scope], told["errors"][scope]
        unknown = figures.keys() - errors.keys()
        assert unknown == {"n_tracks"}
        assert told["differences"][scope]["z_std_cm"] == pytest.approx(
            figures["z_std_cm"] - figures["z_std_cm_reference"]
        )
        assert told["difference_errors"][scope]["z_std_cm"] > 0
    tracks = nnt.read_tracks(files[0])
    z_cm = 100 * tracks.targets[:, 0]
    assert told["sizes"]["all"]["n_background"] == (np.abs(z_cm) > 20).sum()
    bins = told["in_bins"]["reference"]["z_against_theta"]
    assert sum(bins["n_tracks"]) == len(tracks)
    pictures = {path.name for path in (tmp_path / "plots" / "all").iterdir()}
    assert {"inputs.png", "z_resolution_against_pt.png", "z_residual.png"} <= pictures
    assert (tmp_path / "plots" / "expert_3" / "z_residual.png").is_file()


def test_figures_on_files_are_those_of_the_networks(
    trained: TrainingResult, files: list[Path]
) -> None:
    result = nnt.evaluate(trained.run_id, data=files, log_to_run=False)
    tracks = nnt.read_tracks(files)
    output = nnt.load_networks(trained.run_id).predict(tracks)
    assert tracks.reference is not None
    for end, predicted in (("", output), ("_reference", tracks.reference)):
        residual = predicted.astype(float) - tracks.targets
        told = result.filtered["all"]
        assert told[f"loss{end}"] == pytest.approx(np.mean(residual**2))
        assert told[f"z_std_cm{end}"] == pytest.approx(100 * residual[:, 0].std())


def test_without_log_the_run_stays_as_it_is(
    trained: TrainingResult, files: list[Path]
) -> None:
    before = open_run(trained.run_id)
    told = invoke("evaluate", trained.run_id, "--data", str(files[1]), "--no-log")
    after = open_run(trained.run_id)
    assert not told["logged"]
    assert after.metrics == before.metrics
    with pytest.raises(TrackingError):
        after.read_text(f"evaluations/{told['label']}/evaluation.json")


def test_a_file_of_weights_needs_track_files(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    weights = open_run(trained.run_id).download("weights.json", tmp_path)
    with pytest.raises(DataError, match="--data"):
        nnt.evaluate(str(weights))
    alone = nnt.evaluate(str(weights), data=files)
    beside = nnt.evaluate(trained.run_id, data=files, log_to_run=False)
    assert alone.filtered == beside.filtered
    assert alone.run_id is None


def test_rows_of_other_experts_only_are_told(
    trained: TrainingResult, tmp_path: Path, make_tracks: MakeTracks
) -> None:
    path = tmp_path / "other.gz"
    write_tracks(make_tracks(50, experts=(1, 2)), path)
    with pytest.raises(DataError, match="no row belongs to the experts"):
        nnt.evaluate(trained.run_id, data=path)


def test_the_table_shows_network_and_reference(
    trained: TrainingResult, files: list[Path]
) -> None:
    # As `mlflow run` hands the parameters over.
    words = ["--data", " ".join(map(str, files)), "--split", "none", "--no-log"]
    done = CliRunner().invoke(main, ["evaluate", trained.run_id, *words])
    assert done.exit_code == 0, done.output
    assert "reference" in done.stdout
    assert "expert 3" in done.stdout


def cells_of(line: str) -> list[str]:
    """Split a row of a Markdown table at its pipes, not at escaped ones."""
    return re.findall(r"((?:[^|\\]|\\.)*)\|", line)[1:]


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3), min_size=1, max_size=4))
@settings(max_examples=40)
def test_no_text_breaks_a_table_of_markdown(rows: list[list[str]]) -> None:
    lines = table(rows[0], rows[1:]).splitlines()
    assert len(lines) == len(rows) + 1
    for line in lines:
        assert len(cells_of(line)) == 3


@pytest.mark.parametrize(
    ("train", "test", "share"),
    [("abc", "abc", 1.0), ("ab", "c", 0.0), ("ab", "bc", 0.5)],
)
def test_rows_of_files_that_two_splits_name_are_found(
    tmp_path: Path,
    make_tracks: MakeTracks,
    trained: TrainingResult,
    train: str,
    test: str,
    share: float,
) -> None:
    for seed, name in enumerate("abcd"):
        write_tracks(make_tracks(60, seed, experts=(0, 3)), tmp_path / f"{name}.gz")
    splits = {"train": train, "val": "d", "test": test}
    files = {k: [str(tmp_path / f"{n}.gz") for n in v] for k, v in splits.items()}
    data = {"files": files, "simulate": None, "split": None}
    config = nnt.load_config("baseline_v2", overrides={**SMALL, "data": data})
    own = dataclasses.replace(load_run(trained.run_id), config=config, run=None)
    rows = rows_for(own, [], "test")
    [seen] = rows_trained_on([own], rows)
    assert seen.share == pytest.approx(share)


@pytest.fixture
def half_trained(trained: TrainingResult) -> str:
    """A run that ended before its expert 3 had done an epoch."""
    tracker = MlflowTracker()
    run = tracker.start_run("half", description="", tags={"config": "baseline_v2"})
    for name in ("weights.json", "config.yaml"):
        run.log_text(open_run(trained.run_id).read_text(name), name)
    for expert in (0, 3):
        child = tracker.start_child(run, f"expert_{expert}", {"expert": str(expert)})
        if expert == 0:
            child.log_metrics({"train/loss": 0.5}, 1)
        child.finish("KILLED", resumable=True)
    run.finish("KILLED", resumable=True)
    assert tracker.close() == 0
    return run.run_id


def test_experts_without_an_epoch_are_named_wherever_networks_are_used(
    half_trained: str,
    files: list[Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uses: dict[str, Callable[[], object]] = {
        "evaluate": lambda: nnt.evaluate(half_trained, data=files, log_to_run=False),
        "compare": lambda: nnt.compare([half_trained], data=files, log_to_store=False),
        "predict": lambda: nnt.predict(half_trained, files, tmp_path / "out.gz"),
        "load": lambda: nnt.load_networks(half_trained),
    }
    for name, use in uses.items():
        caplog.clear()
        use()
        assert "expert 3 saw no epoch of training" in caplog.text, name
        assert f"--resume {half_trained}" in caplog.text, name
    with pytest.raises(ExportError, match=f"expert 3, .* --resume {half_trained}"):
        load_source(half_trained)


@pytest.mark.parametrize(
    ("metrics", "params", "found"),
    [
        ({}, {}, [0]),
        ({"train/loss": 1.0}, {}, []),
        ({}, {"cfg.load_pre_trained_weights": "runs:/x"}, []),
        ({"val/loss": 1.0}, {"cfg.load_pre_trained_weights": "null"}, [0]),
    ],
)
def test_an_expert_is_untrained_without_an_epoch_or_weights_to_start_from(
    metrics: dict[str, float], params: dict[str, object], found: list[int]
) -> None:
    tracker = MlflowTracker()
    run = tracker.start_run("one", description="", tags={})
    child = tracker.start_child(run, "expert_0", {"expert": "0"})
    child.log_metrics(metrics, 1)
    child.log_params(params)
    child.finish("FINISHED")
    run.finish("FINISHED")
    assert tracker.close() == 0
    assert untrained_experts(open_run(run.run_id)) == found
    assert untrained_experts(open_run(child.run_id)) == found


@pytest.mark.usefixtures("few_plots")
def test_an_evaluation_replaces_metrics_of_networks_that_were_trained_further(
    trained: TrainingResult,
) -> None:
    stored = open_run(trained.run_id)
    stale = {"test/rejection_at_eff96": 0.5, "test/loss": 7.0}
    curve = stored.metrics["val/loss"]
    tracker = MlflowTracker()
    tracker.reopen(stored.run_id, stored.experiment_id).log_metrics(stale, 0)
    assert tracker.close() == 0
    assert open_run(trained.run_id).metrics["test/loss"] == 7
    for split in ("val", "test"):
        nnt.evaluate(trained.run_id, split=split)
    found = open_run(trained.run_id).metrics
    for name, value in trained.test.items():
        assert found[f"test/{name}"] == pytest.approx(value)
    assert found["val/loss"] == curve
    points = [run.history("val/loss") for run in (stored, open_run(trained.run_id))]
    assert len(points[0]) == len(points[1])
