"""Runs are compared on common rows, with each other and with a reference."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from some_trainings import SMALL, invoke
from test_evaluation import cells_of

import nnt
from nnt.cli import main
from nnt.errors import ConfigError
from nnt.tracking import MlflowTracker, open_run
from nnt.training import TrainingResult
from nnt.training.data import load_split

pytestmark = pytest.mark.usefixtures("trained_project")


def test_a_run_against_itself_differs_by_exactly_nothing(
    trained: TrainingResult, files: list[Path]
) -> None:
    told = invoke(
        "compare", trained.run_id, trained.run_id, "--data", str(files[0]), "--no-log"
    )
    differences = told["runs"][1]["differences"]
    assert set(differences) == {"all", "expert_0", "expert_3"}
    for scope in differences.values():
        assert {d["value"] for d in scope.values()} == {0}
        # The number of rows and the fits of the core have no error of draws.
        drawn = [d for k, d in scope.items() if k != "n_tracks" and "_core_" not in k]
        assert {d["error"] for d in drawn} == {0}
        assert not any(d["stands_out"] for d in scope.values())
    assert told["config_differences"] == {}
    assert told["run_id"] is None
    assert told["page"] is None


def test_figures_and_reference_are_those_of_evaluate(
    trained: TrainingResult, files: list[Path]
) -> None:
    alone = nnt.evaluate(trained.run_id, data=files, log_to_run=False).filtered
    result = nnt.compare([trained.run_id], data=files, log_to_store=False)
    network, data_taking = result.to_dict()["runs"]
    for scope, figures in network["figures"].items():
        for name, value in figures.items():
            assert value == pytest.approx(alone[scope][name])
    logged = open_run(trained.run_id).metrics
    cost = {k: v for k, v in logged.items() if k.startswith("hardware/")}
    assert network["hardware"] == cost
    assert len(cost) == 4
    assert data_taking["hardware"] == {}
    assert data_taking["name"] == "data taking"
    for name, value in data_taking["figures"]["all"].items():
        if name not in ("loss", "n_tracks"):
            assert value == pytest.approx(alone["all"][f"{name}_reference"])
    better = data_taking["differences"]["all"]["z_std_cm"]
    assert better["value"] < 0
    assert better["better"]


def test_runs_of_other_outputs_and_experts_share_what_they_have(
    trained: TrainingResult, only_z: TrainingResult, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    told = invoke("compare", trained.run_id, only_z.run_id, "-o", str(page))
    first, second, *_ = told["runs"]
    assert told["n_tracks"] == trained.experts[3].test["n_tracks"]
    assert first["figures"]["all"]["z_std_cm"] == pytest.approx(
        trained.experts[3].test["z_std_cm"]
    )
    assert "theta_std_deg" in first["figures"]["all"]
    assert "theta_std_deg" not in second["figures"]["all"]
    assert told["config_differences"]["out_size"] == {
        first["name"]: "2", second["name"]: "1",
    }  # fmt: skip
    text = page.read_text()
    assert text.count("data:image/png;base64,") >= 8
    # Nothing is fetched: every picture, style and script is in the page.
    assert not re.search(r"""(src|href)=["'](?!data:image/png;base64,)""", text)
    assert not re.search(r"url\(|@import|\bimport\b|fetch\(", text)
    kept = open_run(told["run_id"])
    assert kept.tags["nnt.compared"] == f"{trained.run_id} {only_z.run_id}"
    assert kept.status == "FINISHED"
    assert f"runs/{only_z.run_id}" in kept.tags["mlflow.note.content"]
    lines = kept.tags["mlflow.note.content"].splitlines()
    widths = {len(cells_of(line)) for line in lines if line.startswith("|")}
    assert len(widths) == 1
    assert kept.read_text("comparison.html") == text
    assert kept.download("plots/learning_curves.png", tmp_path).is_file()
    told_again = json.loads(kept.read_text("comparison.json"))
    assert told_again["runs"] == told["runs"]


def test_rows_that_a_run_was_trained_on_are_told(
    trained: TrainingResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The same tracks, shared out by another seed.
    other = nnt.load_config("baseline_v2", overrides={**SMALL, "seed": 2, "epochs": 1})
    again = nnt.train(other)
    caplog.clear()
    result = nnt.compare([trained.run_id, again.run_id], log_to_store=False)
    seen = {row.tobytes() for row in load_split(other, "train").inputs}
    test = load_split(nnt.load_config("baseline_v2", overrides=SMALL), "test")
    rows = test[np.isin(test.expert, [0, 3])].inputs
    share = np.mean([row.tobytes() in seen for row in rows])
    assert 0.3 < share < 0.9
    found = [network.trained_on for network in result.comparison.runs]
    assert found == [0, pytest.approx(share)]
    told = result.to_dict()["runs"]
    assert told[1]["share_trained_on"] == pytest.approx(share)
    assert "1 of 2 runs were trained on some of these rows" in caplog.text


def test_names_from_outside_are_escaped_in_the_page(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    weights = open_run(trained.run_id).download("weights.json", tmp_path)
    named = weights.rename(tmp_path / "<b>x.json")
    page = tmp_path / "page.html"
    words = ["compare", f"{named}", "--data", str(files[0]), "--no-log"]
    done = CliRunner().invoke(main, [*words, "-o", str(page)])
    assert done.exit_code == 0, done.output
    assert "&lt;b&gt;x" in page.read_text()
    assert "<b>x" not in page.read_text()
    assert f"page: {page}" in done.stdout


def test_a_run_of_another_version_is_named_with_the_remedy(
    trained: TrainingResult,
) -> None:
    tracker = MlflowTracker()
    run = tracker.start_run("old", description="", tags={})
    run.log_text(open_run(trained.run_id).read_text("weights.json"), "weights.json")
    run.log_text("epocs: 3\n", "config.yaml")
    run.finish("FINISHED")
    assert tracker.close() == 0
    with pytest.raises(ConfigError, match=r"weights\.json") as told:
        nnt.compare([trained.run_id, run.run_id], log_to_store=False)
    assert f"run {run.run_id} (old)" in str(told.value)
    assert "\nconfig.yaml: epocs: unknown key" in str(told.value)


@pytest.fixture(scope="module")
def compared(
    train_small: Callable[..., TrainingResult],
    trained: TrainingResult,
    only_z: TrainingResult,
) -> dict[str, TrainingResult]:
    """Trainings that compare with networks of both outputs, and of z only."""
    return {
        name: train_small(name, experts=[3], epochs=1, compare_to=other.run_id)
        for name, other in (("baseline_v2", trained), ("baseline_v1_only_z", only_z))
    }


BOTH = pytest.mark.parametrize("name", ["baseline_v2", "baseline_v1_only_z"])


@BOTH
def test_a_reference_of_another_run_leaves_the_rows_as_they_are(
    compared: dict[str, TrainingResult], trained: TrainingResult, name: str
) -> None:
    run, plain = open_run(compared[name].run_id), open_run(trained.run_id)
    assert run.tags["data.digest"] == plain.tags["data.digest"]
    found = json.loads(run.read_text("summary.json"))["data"]
    assert found == json.loads(plain.read_text("summary.json"))["data"]
    again = nnt.evaluate(run.run_id, log_to_run=False)
    assert again.label == "test"
    assert again.filtered["all"] == compared[name].test


@BOTH
def test_predictions_keep_the_columns_of_the_input(
    compared: dict[str, TrainingResult], tmp_path: Path, name: str
) -> None:
    path = open_run(compared[name].run_id).download("predictions/test.csv.gz", tmp_path)
    test = load_split(nnt.load_config("baseline_v2", overrides=SMALL), "test")
    expected = test[test.expert == 3].columns()
    found = nnt.read_tracks(path).columns()
    for column, values in expected.items():
        np.testing.assert_array_equal(found[column], values)


@BOTH
def test_figures_of_theta_are_those_of_networks_that_have_it(
    compared: dict[str, TrainingResult], name: str
) -> None:
    run = compared[name].run_id
    result = nnt.evaluate(run, fixed_point=True, log_to_run=False)
    assert result.fixed_point is not None
    figures = {**result.filtered["all"], **result.fixed_point["filtered"]["all"]}
    theta = {f for f in figures if f.startswith(("theta_", "stt_"))}
    has_theta = name == "baseline_v2"
    assert bool(theta) == has_theta
    kinds = {f.rpartition("_")[2] for f in theta}
    assert ({"reference", "float"} <= kinds) == has_theta
