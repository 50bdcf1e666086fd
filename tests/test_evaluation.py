"""Runs judged on their own rows and on others, in a real store."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

import nnt
from nnt.cli import main
from nnt.errors import ConfigError, DataError, ExportError, TrackingError
from nnt.evaluation import evaluate
from nnt.evaluation.judged_rows import rows_for
from nnt.evaluation.loaded_run import load_run
from nnt.evaluation.markdown import table
from nnt.evaluation.seen import shares_trained_on
from nnt.export import load_source
from nnt.fixedpoint import FixedPointNetworks
from nnt.plots import registry
from nnt.tracking import MlflowTracker, open_run, register, untrained_experts
from nnt.tracks import Tracks, write_tracks
from nnt.training import TrainingResult
from nnt.training.data import load_split
from nnt.training.inputs import initial_states, reference_networks

MakeTracks = Callable[..., Tracks]

REJECTIONS = ("rejection_at_eff96", "rejection_at_eff98")

SMALL = {
    "data": {"simulate": {"tracks": 1500, "seed": 1}, "split": [0.6, 0.2, 0.2]},
    "experts": [0, 3],
    "epochs": 2,
    "plot_every": 0,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    place = tmp_path_factory.mktemp("project")
    shutil.copy(empty_store, place)
    return place


@pytest.fixture(scope="module")
def trained(place: Path) -> TrainingResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("NNT_CACHE_DIR", str(place / "cache"))
        return nnt.train(nnt.load_config("baseline_v2", overrides=SMALL))


@pytest.fixture(autouse=True)
def project(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return place


@pytest.fixture
def files(tmp_path: Path, make_tracks: MakeTracks) -> list[Path]:
    paths = [tmp_path / "period1.gz", tmp_path / "period2.gz"]
    for seed, path in enumerate(paths):
        write_tracks(make_tracks(200, seed=seed, experts=(0, 3)), path)
    return paths


def invoke(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("split", ["val", "test"])
def test_its_own_split_gives_the_figures_of_the_training(
    trained: TrainingResult, split: str
) -> None:
    result = nnt.evaluate(trained.run_id, split=split, log_to_run=False)
    assert result.filtered["all"] == getattr(trained, split)
    for expert in (0, 3):
        figures = getattr(trained.experts[expert], split)
        assert result.filtered[f"expert_{expert}"] == figures


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


@pytest.fixture
def few_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("z_residual", "z_resolution_against_pt")
    few = {name: registry._PLOTS[name] for name in names}
    monkeypatch.setattr(registry, "_PLOTS", few)


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
    expected = np.mean((output.astype(float) - tracks.targets) ** 2)
    assert result.filtered["all"]["loss"] == pytest.approx(expected)
    residual_cm = 100 * (output[:, 0].astype(float) - tracks.targets[:, 0])
    assert result.filtered["all"]["z_std_cm"] == pytest.approx(residual_cm.std())
    assert tracks.reference is not None
    reference_cm = 100 * (tracks.reference - tracks.targets)[:, 0].astype(float)
    told = result.filtered["all"]["z_std_cm_reference"]
    assert told == pytest.approx(reference_cm.std())


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


def test_an_expert_alone_is_judged_on_its_rows(trained: TrainingResult) -> None:
    child = trained.experts[3].run_id
    result = nnt.evaluate(child, log_to_run=False)
    assert result.filtered["all"] == trained.experts[3].test


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


@pytest.mark.parametrize(("key", "told"), [("simulate", None), ("act", "act: ")])
def test_a_run_of_another_version_is_judged_where_it_can_be(
    trained: TrainingResult, key: str, told: str | None
) -> None:
    then = open_run(trained.run_id)
    text = then.read_text("config.yaml")
    other = {"simulate": ("    tracks:", "    width_of_old_cm: 1\n    tracks:"),
             "act": ("act: tanh/2", "act: of_old")}[key]  # fmt: skip
    tracker = MlflowTracker()
    run = tracker.start_run("of old", description="", tags={})
    run.log_text(text.replace(*other), "config.yaml")
    run.log_text(then.read_text("weights.json"), "weights.json")
    run.finish("FINISHED")
    assert tracker.close() == 0
    if told is None:
        found = evaluate(run.run_id, log_to_run=False)
        assert found.filtered == evaluate(trained.run_id, log_to_run=False).filtered
    else:
        with pytest.raises(ConfigError, match=told):
            evaluate(run.run_id, log_to_run=False)


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
def test_no_text_breaks_a_table_of_markdown(rows: list[list[str]]) -> None:
    lines = table(rows[0], rows[1:]).splitlines()
    assert len(lines) == len(rows) + 1
    for line in lines:
        assert len(cells_of(line)) == 3


@pytest.fixture(scope="module")
def only_z(place: Path, trained: TrainingResult) -> TrainingResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("NNT_CACHE_DIR", str(place / "cache"))
        overrides = {**SMALL, "experts": [3], "epochs": 1}
        return nnt.train(nnt.load_config("baseline_v1_only_z", overrides=overrides))


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
    assert list(result.comparison.trained_on.values()) == [0, pytest.approx(share)]
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


def test_predict_appends_the_outputs_and_keeps_the_table(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "all.gz"
    words = [trained.run_id, *map(str, files), "-o", str(out)]
    assert invoke("predict", *words)["rows"] == {str(out): 400}
    before, after = nnt.read_tracks(files), nnt.read_tracks(out)
    assert after.digest == before.digest
    new = np.stack([after.extras["NewZ"], after.extras["NewTheta"]], axis=1)
    expected = nnt.load_networks(trained.run_id).predict(before)
    np.testing.assert_array_equal(new, expected)
    assert set(after.extras) == {*before.extras, "NewZ", "NewTheta"}


def test_predict_keeps_the_text_of_every_cell(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    header, blank, *rows = gzip.decompress(files[0].read_bytes()).decode().splitlines()
    rows = [f"{row}1.50" for row in rows]
    lines = "".join(f"{line}\n" for line in (f"{header}\tWeather", blank, *rows))
    (tmp_path / "rows.txt").write_text(lines)
    out = tmp_path / "out.txt"
    nnt.predict(trained.run_id, tmp_path / "rows.txt", out)
    written = [line.rstrip("\t") for line in out.read_text().splitlines()]
    assert [line.rsplit("\t", 2)[0] for line in written[2:]] == rows
    assert written[0] == f"{header}\tWeather\tNewZ\tNewTheta"


def test_predict_into_a_directory_writes_a_file_each(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert nnt.predict(trained.run_id, files, out) == {
        out / file.name: 200 for file in files
    }
    # What was predicted before gives way to what is predicted now.
    again = nnt.predict(trained.run_id, out / files[0].name, tmp_path / "again.gz")
    assert again == {tmp_path / "again.gz": 200}
    once, twice = nnt.read_tracks(out / files[0].name), nnt.read_tracks(*again)
    np.testing.assert_array_equal(once.extras["NewZ"], twice.extras["NewZ"])


def test_predict_appends_the_integers_of_the_firmware(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    out, again = tmp_path / "integers.gz", tmp_path / "floats.gz"
    words = [trained.run_id, *map(str, files), "-o", str(out), "--fixed-point"]
    invoke("predict", *words, "--precision", "12,8,8,9,6,8", "--saturate-13-bit")
    after, nets = nnt.read_tracks(out), nnt.load_networks(trained.run_id)
    fixed = FixedPointNetworks(nets, (12, 8, 8, 9, 6, 8), saturate_13_bit=True)
    expected = fixed.predict(nnt.read_tracks(files))
    for i, name in enumerate(("Z", "Theta")):
        np.testing.assert_array_equal(after.extras[f"New{name}"], expected[:, i])
        raw = after.extras[f"NewRaw{name}"]
        assert raw.dtype == np.int64
        np.testing.assert_array_equal(raw, expected[:, i] * 512)
    # Integers of an earlier prediction do not stay beside floats of a later one.
    nnt.predict(trained.run_id, out, again)
    assert set(nnt.read_tracks(again).extras) == {*after.extras} - {
        "NewRawZ", "NewRawTheta"
    }  # fmt: skip


def test_predict_never_replaces_unasked(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    taken = tmp_path / "taken.gz"
    taken.write_text("mine")
    with pytest.raises(DataError, match="--overwrite"):
        nnt.predict(trained.run_id, files, taken)
    with pytest.raises(DataError, match="is read from"):
        nnt.predict(trained.run_id, files, files[0], overwrite=True)
    with pytest.raises(DataError, match="no such directory"):
        nnt.predict(trained.run_id, files, tmp_path / "no" / "x.gz")
    assert taken.read_text() == "mine"
    nnt.predict(trained.run_id, files, taken, overwrite=True)
    assert len(nnt.read_tracks(taken)) == 400


def test_predict_tells_of_rows_that_nobody_serves(
    trained: TrainingResult, tmp_path: Path, make_tracks: MakeTracks
) -> None:
    write_tracks(make_tracks(50), tmp_path / "five.gz")
    with pytest.raises(DataError, match="expert 1 cannot be predicted"):
        nnt.predict(trained.run_id, tmp_path / "five.gz", tmp_path / "out.gz")
    assert not (tmp_path / "out.gz").exists()


def test_a_registered_name_stands_for_the_run_everywhere(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    name, data = register(trained.run_id, "everywhere", "champion").uri, str(files[0])
    assert name == "models:/everywhere@champion"
    told = invoke("evaluate", name, "--data", data, "--fixed-point", "--no-log")
    assert told["run_id"] == trained.run_id
    told = invoke("compare", name, trained.run_id, "--data", data, "--no-log")
    # None: the network that ran when the data were taken.
    assert {row["run_id"] for row in told["runs"]} - {None} == {trained.run_id}
    invoke("predict", name, data, "-o", str(tmp_path / "predicted.gz"))
    predicted = nnt.read_tracks(tmp_path / "predicted.gz")
    nets = nnt.load_networks(name)
    np.testing.assert_array_equal(
        predicted.extras["NewZ"], nets.predict(predicted)[:, 0]
    )
    manifest = invoke("export", name, "--to", "onnx", "-o", str(tmp_path / "onnx"))
    assert manifest["run_id"] == trained.run_id
    keys = {"load_pre_trained_weights": name, "compare_to": name}
    config = nnt.load_config("finetune_quantized", overrides=SMALL | keys)
    for expert, state in initial_states(config).items():
        for key, value in nets.experts[expert].state.items():
            np.testing.assert_array_equal(state[key], value)
    reference = reference_networks(config)
    assert reference is not None
    np.testing.assert_array_equal(reference.predict(predicted), nets.predict(predicted))
    assert register(name, "again").run_id == trained.run_id


def test_a_run_of_another_version_is_named_with_the_remedy(
    trained: TrainingResult, files: list[Path], tmp_path: Path
) -> None:
    weights = open_run(trained.run_id).download("weights.json", tmp_path)
    tracker = MlflowTracker()
    run = tracker.start_run("old", description="", tags={})
    run.log_file(weights)
    run.log_text("epocs: 3\n", "config.yaml")
    run.finish("FINISHED")
    assert tracker.close() == 0
    with pytest.raises(ConfigError, match=r"weights\.json") as told:
        nnt.compare([trained.run_id, run.run_id], log_to_store=False)
    assert f"run {run.run_id} (old)" in str(told.value)
    assert "\nconfig.yaml: epocs: unknown key" in str(told.value)


@pytest.fixture(scope="module")
def compared(
    place: Path, trained: TrainingResult, only_z: TrainingResult
) -> dict[str, TrainingResult]:
    """Trainings that compare with networks of both outputs, and of z only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("NNT_CACHE_DIR", str(place / "cache"))
        small = {**SMALL, "experts": [3], "epochs": 1}
        return {
            name: nnt.train(
                nnt.load_config(name, overrides={**small, "compare_to": other.run_id})
            )
            for name, other in (
                ("baseline_v2", trained),
                ("baseline_v1_only_z", only_z),
            )
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
    figures = {**result.filtered["all"], **result.fixed_point.filtered["all"]}
    theta = {f for f in figures if f.startswith(("theta_", "stt_"))}
    has_theta = name == "baseline_v2"
    assert bool(theta) == has_theta
    kinds = {f.rpartition("_")[2] for f in theta}
    assert ({"reference", "float"} <= kinds) == has_theta


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
    paths = {name: str(tmp_path / f"{name}.gz") for name in "abcd"}
    for seed, path in enumerate(paths.values()):
        write_tracks(make_tracks(60, seed=seed, experts=(0, 3)), path)
    splits = {"train": train, "val": "d", "test": test}
    files = {split: [paths[name] for name in names] for split, names in splits.items()}
    data = {"files": files, "simulate": None, "split": None}
    config = nnt.load_config("baseline_v2", overrides={**SMALL, "data": data})
    own = dataclasses.replace(load_run(trained.run_id), config=config, run=None)
    rows = rows_for(own, [], "test")
    assert shares_trained_on([own], rows, rows.tracks) == [pytest.approx(share)]


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
        ({"val/loss": 1.0}, {"cfg.load_pre_trained_weights": "None"}, [0]),
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
    assert len(stored.history("val/loss")) == len(
        open_run(trained.run_id).history("val/loss")
    )
