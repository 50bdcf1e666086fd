"""Promotions: who may replace the present network, and why not."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

import nnt
from nnt.cli import main
from nnt.errors import DataError, TrackingError
from nnt.evaluation.verdict import _paired
from nnt.networks import ExpertWeights, Form, write_weights
from nnt.plots import registry
from nnt.tracking import MlflowTracker, move_alias, open_run, read_alias
from nnt.tracks import Tracks, write_tracks

OVER = "models:/nnt@champion"
FORM = Form()
SCALE = 0.1
"""Of the first layer: its tanh is a straight line."""


def rows_of(make_tracks: Callable[..., Tracks], n: int, seed: int) -> Tracks:
    """Half of the rows come from the collision point, half are background.

    All are those of one expert: metrics of each take seconds.
    """
    tracks = make_tracks(n, seed, experts=(0,))
    rng = np.random.default_rng(seed)
    targets = tracks.targets.copy()
    signal = rng.random(n) < 0.5
    targets[signal, 0] = rng.uniform(-0.009, 0.009, signal.sum())
    mix = np.random.default_rng(0).normal(size=(2, 27))
    inputs = np.tanh(targets @ mix + 0.3 * rng.normal(size=(n, 27)))
    return replace(
        tracks, inputs=inputs.astype(np.float32), targets=targets, reference=None
    )


def fitted(tracks: Tracks, noise: float = 0.0, seed: int = 0) -> ExpertWeights:
    """A network that is linear in its inputs, by least squares; noise spoils it."""
    wanted = 2 * np.arctanh(0.9 * tracks.targets)
    found = np.linalg.lstsq(tracks.inputs, wanted, rcond=None)[0]
    rng = np.random.default_rng(seed)
    found = found + noise * rng.normal(size=found.shape)
    first, second = np.zeros((81, 27), np.float32), np.zeros((2, 81), np.float32)
    first[:27] = SCALE * np.eye(27)
    second[:, :27] = found.T * 2 / SCALE
    biases = np.zeros(81, np.float32), np.zeros(2, np.float32)
    arrays = first, biases[0], second, biases[1]
    return ExpertWeights(dict(zip(FORM.shapes, arrays, strict=True)), FORM)


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory,
    empty_store: Path,
    make_tracks: Callable[..., Tracks],
) -> Path:
    place = tmp_path_factory.mktemp("project")
    shutil.copyfile(empty_store, place / "mlflow.db")
    for seed, name in enumerate(("train", "val", "test", "new", "few", "other")):
        n = {"few": 60, "new": 1500, "test": 1500}.get(name, 400)
        write_tracks(rows_of(make_tracks, n, seed), place / f"{name}.gz")
    return place


@pytest.fixture(autouse=True)
def _here(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # Plots have tests of their own, and take seconds.
    monkeypatch.setattr(registry, "_PLOTS", {})


def stored(
    name: str,
    weights: Mapping[int, ExpertWeights],
    tags: Mapping[str, str] | None = None,
    files: Sequence[str] = ("train", "val", "test"),
) -> str:
    """A run as a training leaves it, as far as a promotion looks."""
    splits = zip(("train", "val", "test"), files, strict=True)
    data = {"files": {k: [f"{v}.gz"] for k, v in splits}, "simulate": None}
    config = nnt.load_config(
        "baseline_v2",
        overrides={"data": {**data, "split": None}, "experts": sorted(weights)},
    )
    tracker = MlflowTracker()
    run = tracker.start_run(name, description="", tags=tags or {})
    write_weights(run.directory / "weights.json", weights)
    run.log_file(run.directory / "weights.json")
    run.log_text(config.to_yaml(), "config.yaml")
    run.log_text("{}", "model/MLmodel")
    run.finish("FINISHED")
    assert tracker.close() == 0
    return run.run_id


def experts(noise: float = 0.0, n: int = 5) -> dict[int, ExpertWeights]:
    rows = nnt.read_tracks("train.gz")
    return {k: fitted(rows, noise, k) for k in range(n)}


@pytest.fixture(scope="module")
def good(project: Path) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return stored("good", experts())


def promote(run: str, *words: str, over: str = OVER) -> Result:
    return CliRunner().invoke(main, ["promote", run, "--over", over, *words])


def answer(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_alias_moves_to_what_is_nowhere_worse(good: str) -> None:
    spoilt = stored("spoilt", experts(noise=0.2))
    first = promote(spoilt, "--json")
    assert (first.exit_code, answer(first)["version"]) == (0, 1)
    assert answer(first)["champion"] is None
    assert open_run(OVER).run_id == spoilt

    better = promote(good, "--data", "new.gz", "--sigma", "4", "--json")
    assert better.exit_code == 0, better.output
    told = answer(better)
    assert (told["outcome"], told["champion"]) == ("promoted", spoilt)
    assert open_run(OVER).run_id == good
    client = MlflowClient(open_run(good).uri)
    version = client.get_model_version_by_alias("nnt", "champion")
    assert version.tags["nnt.promotion"] == told["judgement"]
    model = client.get_registered_model("nnt")
    assert model.tags["nnt.promotion.champion"] == told["judgement"]

    worse = promote(spoilt, "--data", "new.gz", "--sigma", "4")
    assert worse.exit_code == 1
    assert "refused: models:/nnt@champion is unchanged" in worse.stdout
    assert "rejection at 96 % efficiency: " in worse.stdout
    assert open_run(OVER).run_id == good
    judged = [
        open_run(run.info.run_id)
        for run in client.search_runs(["0"], "tags.`nnt.kind` = 'promotion'")
    ]
    verdicts = [run.tags["nnt.verdict"] for run in judged]
    assert verdicts == ["refused", "promoted", "promoted"]
    page = judged[0].read_text("comparison.html")
    assert "Verdict: refused" in page
    assert "rejection at 96 % efficiency" in page
    verdict = json.loads(judged[0].read_text("verdict.json"))
    assert not verdict["passes"]
    assert {c["name"] for c in verdict["checks"]} >= {
        "efficiency, negative", "efficiency, theta 50 to 90 deg",
        "saturated outputs (z or theta)", "hardware: multiplications",
    }  # fmt: skip


def test_a_dry_run_leaves_the_store_as_it_is(good: str, tmp_path: Path) -> None:
    client = MlflowClient(open_run(good).uri)
    before = len(client.search_runs(["0"]))
    done = promote(
        good, "--dry-run", "-o", str(tmp_path / "p.html"), over="models:/none@yet"
    )
    assert done.exit_code == 0, done.output
    assert "passed: models:/none@yet would point to run" in done.stdout
    assert "Verdict: passed" in (tmp_path / "p.html").read_text()
    assert len(client.search_runs(["0"])) == before
    assert read_alias("models:/none@yet").version is None


@pytest.mark.parametrize(
    ("data", "tags", "words"),
    [
        ("train.gz", {}, r"was trained on 400 of 400 rows \(experiment 20, run 0, ev"),
        ("other.gz", {"nnt.started_from": "ANCESTOR"}, "trained on 400 of 400 rows"),
        ("new.gz", {"nnt.started_from": "unknown"}, "started from a weights file"),
    ],
)
def test_rows_that_may_have_been_seen_cannot_judge(
    data: str, tags: dict[str, str], words: str
) -> None:
    if "ANCESTOR" in tags.values():
        older = stored("older", experts(), files=("other", "val", "test"))
        tags = {"nnt.started_from": older}
    run = stored("finetuned", experts(), tags)
    with pytest.raises(DataError, match=words):
        nnt.promote(run, over="models:/none@yet", data=data, dry_run=True)


def test_a_champion_whose_rows_cannot_be_read_is_no_judge(
    good: str, project: Path
) -> None:
    shutil.copyfile(project / "other.gz", project / "gone.gz")
    old = stored("old", experts(), files=("gone", "val", "test"))
    assert promote(old, over="models:/gone@champion").exit_code == 0
    (project / "gone.gz").unlink()
    done = promote(good, over="models:/gone@champion")
    assert done.exit_code == 1
    assert "the rows that it was trained on are not known" in done.stderr
    assert "gone.gz" in done.stderr


@pytest.mark.parametrize(
    ("n_experts", "data", "words"),
    [
        (4, "new.gz", "nnt export --to fpga: .*not trained: expert 4"),
        (5, "few.gz", "too few rows to tell: they hold .* at least 100 of each"),
    ],
)
def test_what_cannot_be_deployed_or_judged_is_refused(
    good: str, n_experts: int, data: str, words: str
) -> None:
    over = f"models:/nnt-{n_experts}@champion"
    assert promote(good, over=over).exit_code == 0
    run = stored("candidate", experts(noise=0.02, n=n_experts))
    done = nnt.promote(run, over=over, data=data, dry_run=True)
    assert not done.verdict.passes
    assert any(re.search(words, one) for one in done.verdict.reasons)


def test_of_promotions_at_the_same_time_one_wins(good: str) -> None:
    n = 4
    alias = read_alias("models:/race@champion")
    start = threading.Barrier(n)

    def move(number: int) -> str:
        start.wait()
        try:
            return str(move_alias(open_run(good), alias, f"judgement {number}").version)
        except TrackingError as err:
            return str(err)

    with ThreadPoolExecutor(n) as pool:
        told = list(pool.map(move, range(n)))
    winners = [number for number, words in enumerate(told) if words.isdigit()]
    assert len(winners) == 1, told
    assert all("judge it again" in words for words in told if not words.isdigit())
    client = MlflowClient(open_run(good).uri)
    [version] = client.search_model_versions("name='race'")
    assert version.tags["nnt.promotion"] == f"judgement {winners[0]}"
    assert read_alias("models:/race@champion").version == int(version.version)


@pytest.mark.parametrize("over", ["nnt", "models:/nnt", "models:/nnt/3", "models:/@x"])
def test_only_an_alias_can_be_promoted_over(over: str) -> None:
    done = promote("0" * 32, over=over)
    assert done.exit_code == 1
    assert "expected models:/NAME@ALIAS" in done.stderr


@given(
    flags=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=1
    )
)
def test_errors_of_pairs_are_those_of_sums_over_events(
    flags: list[tuple[bool, bool, int]],
) -> None:
    before, after, event = (np.array(column) for column in zip(*flags, strict=True))
    shares, error = _paired([before, after], event)
    assert shares == [before.mean(), after.mean()]
    change = shares[1] - shares[0]
    squares = 0.0
    for number in set(event.tolist()):
        inside = [(a, b) for a, b, e in flags if e == number]
        squares += sum(float(b) - float(a) - change for a, b in inside) ** 2
    assert error == pytest.approx(squares**0.5 / len(flags), abs=1e-12)
