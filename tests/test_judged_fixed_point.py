"""Integers beside floats: what a training and an evaluation tell of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import nnt
from nnt import fixedpoint
from nnt.cli import main
from nnt.cli.evaluate import _show_fixed_point
from nnt.evaluation.evaluating import in_integers
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import FixedPointTable, ScoredTable
from nnt.networks import ExpertWeights, Form, Networks, initial_state
from nnt.tracking import Tracker, open_run
from nnt.tracks import Tracks, write_tracks
from nnt.training.report import drawings_of, log_fixed_point

MakeTracks = Callable[..., Tracks]
PLAIN = Form()


def networks(form: Form = PLAIN, factor: float = 1.0) -> Networks:
    experts = {}
    for k in range(5):
        state = initial_state(form, np.random.default_rng(k))
        scaled = {n: (factor * v).astype(np.float32) for n, v in state.items()}
        experts[k] = ExpertWeights(scaled, form)
    return Networks(experts)


def judged(tracks: Tracks, nets: Networks) -> ScoredTable:
    table = ScoredTable.of_experts(tracks, nets)
    table.kept = np.arange(len(tracks)) % 3 > 0
    return table


def test_figures_are_those_of_the_integers(make_tracks: MakeTracks) -> None:
    tracks, nets = make_tracks(400), networks()
    floats, fixed = judged(tracks, nets), FixedPointNetworks(nets)
    found, kept = FixedPointTable(floats, fixed).metrics(), floats.kept
    whole = fixed.predict(tracks)[kept].astype(np.float64)
    exact = nets.predict(tracks)[kept].astype(np.float64)
    target = tracks.targets[kept].astype(np.float64)
    assert found["loss"] == pytest.approx(np.mean((whole - target) ** 2))
    assert found["loss_float"] == pytest.approx(floats.metrics()["loss"])
    mse = [np.mean((out - target) ** 2, axis=0) for out in (whole, exact)]
    assert found["z_mse_vs_float"] == pytest.approx(mse[0][0] / mse[1][0])
    assert found["theta_mse_vs_float"] == pytest.approx(mse[0][1] / mse[1][1])
    difference = whole - exact
    assert found["z_difference_std_cm"] == pytest.approx(100 * difference[:, 0].std())
    assert found["theta_difference_max_deg"] == pytest.approx(
        80 * np.abs(difference[:, 1]).max()
    )
    assert found["saturated_hidden_share"] == 0
    assert found["z_std_cm"] == pytest.approx(100 * (whole - target)[:, 0].std())


def test_saturated_nodes_are_counted(make_tracks: MakeTracks) -> None:
    tracks, nets = make_tracks(200), networks(factor=60)
    fixed = FixedPointNetworks(nets)
    table = FixedPointTable(judged(tracks, nets), fixed)
    found = table.metrics(3, filtered=False)
    rows = tracks.expert == 3
    inputs = fixedpoint.snap_text_inputs(tracks.inputs[rows]).astype(np.float64)
    state = nets.experts[3].state
    sums = inputs @ state["net.0.weight"].T + state["net.0.bias"]
    beyond = np.abs(sums) > 9.7041
    assert found["saturated_hidden_share"] == pytest.approx(beyond.mean(), abs=2e-3)
    assert 0.05 < found["saturated_hidden_share"] < 1
    outputs = fixed.predict(tracks)[rows]
    assert found["saturated_output_share"] == np.mean(np.abs(outputs) >= 4095 / 4096)
    assert found["largest_weight"] == max(np.abs(v).max() for v in state.values())


def test_the_name_tells_the_arithmetic() -> None:
    nets = networks()
    fixed = FixedPointNetworks(nets, (12, 8, 8, 10, 6, 8), saturate_13_bit=True)
    assert FixedPointNetworks(nets).name == "fixed_point"
    assert fixed.name == "fixed_point_12_8_8_10_6_8_13bit"


def test_a_training_draws_both_and_tells_of_every_expert(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    nets, tracker = networks(), Tracker(tmp_path)
    scopes = ["all", *(f"expert_{k}" for k in range(5))]
    runs = {name: tracker.start_run(name, description="", tags={}) for name in scopes}
    splits = {s: judged(make_tracks(300, seed=i), nets) for i, s in enumerate("ab")}
    told, both = log_fixed_point(runs, nets, splits)
    assert both is not None
    drawn = {d.name for d in drawings_of(both, None, "of a test")}
    assert {"z_difference", "theta_difference", "z_residual"} <= drawn
    assert told["precision"] == [12, 8, 8, 12, 10, 10]
    assert [*told["b"]] == [*told["hardware"]] == scopes
    for name, together in told["hardware"]["all"].items():
        costs = [told["hardware"][scope][name] for scope in scopes[1:]]
        assert together == sum(costs) > 0
    # One that the firmware cannot hold.
    told, both = log_fixed_point(runs, networks(Form(model="SimpleModel")), {})
    assert "SimpleModel" in told["none"]
    assert both is None


def test_an_evaluation_tells_of_integers_and_keeps_them_in_the_run(
    make_tracks: MakeTracks, project: Path
) -> None:
    tracks = make_tracks(300, experts=(0, 3))
    write_tracks(tracks, project / "rows.gz")
    trained = nnt.train(
        {
            "name": "small",
            "act": "tanh/2",
            "experts": [0, 3],
            "epochs": 1,
            "plot_every": 0,
            "data": {"files": ["rows.gz"], "split": [0.6, 0.2, 0.2]},
        }
    )
    words = ["evaluate", trained.run_id, "--data", "rows.gz", "--json"]
    words += ["--fixed-point", "--precision", "12,8,8,10,6,9", "--saturate-13-bit"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    figures = told["fixed_point"]["filtered"]["expert_3"]
    assert told["fixed_point"]["precision"] == [12, 8, 8, 10, 6, 9]
    assert figures["loss_float"] == told["filtered"]["expert_3"]["loss"]
    run, name = open_run(trained.run_id), "fixed_point_12_8_8_10_6_9_13bit"
    child = next(c for c in run.children() if c.tags["expert"] == "3")
    stored = child.metrics[f"eval_{told['label']}_{name}/loss"]
    assert stored == pytest.approx(figures["loss"])
    place = f"evaluations/{told['label']}/plots_{name}/z_difference.png"
    assert run.download(place, project).is_file()


def test_precision_without_integers_is_wrong_usage() -> None:
    done = CliRunner().invoke(main, ["evaluate", "0" * 32, "--saturate-13-bit"])
    assert done.exit_code == 2
    assert "--fixed-point" in done.stderr


def test_the_cuts_on_the_class_are_words_that_decide_alike(
    make_tracks: MakeTracks, capsys: pytest.CaptureFixture[str]
) -> None:
    nets = networks(Form(outputs=("z", "theta", "nnt"), hidden=(9, 9)))
    tracks = make_tracks(900)
    fixed = FixedPointNetworks(nets, (12, 8, 8, 10, 10, 10))
    table = FixedPointTable(judged(tracks, nets), fixed)
    found = in_integers(table)
    cuts = found["class_cuts"]
    assert [*cuts] == ["95", "96", "98"]
    outputs = table.networks["network"]["nnt"]
    words = np.rint(outputs.astype(np.float64) * 2**10).astype(np.int64)
    for percent, cut in cuts.items():
        metric = found["filtered"]["all"][f"cut_at_eff{percent}_by_class"]
        np.testing.assert_array_equal(words > cut["integer"], outputs > metric)
    assert cuts["95"]["integer"] >= cuts["98"]["integer"]
    _show_fixed_point(found)
    shown = capsys.readouterr().out
    assert "Cuts of the firmware" in shown
    assert all(f"> {cut['integer']}" in shown for cut in cuts.values())
