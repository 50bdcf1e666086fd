"""Experts that share their steps, each fitted in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import nnt
from nnt.cli import main
from nnt.config import Config, load_config
from nnt.engine import (
    Checkpoint,
    Ensemble,
    Epoch,
    ExpertData,
    FitResult,
    Keeper,
    choose_device,
    fit,
    make_ensembles,
    read_checkpoint,
)
from nnt.engine import ensemble as module
from nnt.errors import ConfigError, TrainingError
from nnt.tracking import NullTracker, open_run
from nnt.training import TrainingResult

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {0: 64, 1: 64, 2: 16, 3: 32, 4: 16}
ROWS = {0: 300, 1: 60, 2: 50, 3: 130, 4: 33}
EPOCHS = {0: 4, 1: 3, 2: 7, 3: 5, 4: 6}
WAIT_S = 60


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change who leads, and who comes and goes, as often as can be."""
    monkeypatch.setattr(module, "CHUNK", 1)


def make_data(expert: int) -> ExpertData:
    n = ROWS[expert]
    rng = np.random.default_rng(expert)
    x = rng.uniform(-1, 1, (n + 40, 27)).astype(np.float32)
    y = np.tanh(x @ rng.normal(0, 0.3, (27, 2))).astype(np.float32)
    return ExpertData(x_train=x[:n], y_train=y[:n], x_val=x[n:], y_val=y[n:])


def make_config(expert: int = 0, **values: Any) -> Config:
    quick = {
        "data": {"files": ["unread.gz"], "split": [0.6, 0.2, 0.2]},
        "batch_size": SIZES[expert],
        "epochs": EPOCHS[expert],
        "act": "tanh",
        "learning_rate": 1e-2,
    }
    return load_config({**quick, **values})


def make_configs(**values: Any) -> dict[int, Config]:
    return {expert: make_config(expert, **values) for expert in SIZES}


def fit_one(
    expert: int,
    config: Config,
    ensemble: Ensemble | None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    stop: threading.Event | None = None,
    keeper: Keeper | None = None,
    resume: Checkpoint | None = None,
) -> FitResult:
    return fit(
        make_data(expert), config, expert, initial=None, on_epoch=on_epoch,
        stop=stop or threading.Event(), ensemble=ensemble, keeper=keeper,
        resume=resume,
    )  # fmt: skip


def fit_all(
    configs: Mapping[int, Config], jobs: int, order: Sequence[int] = tuple(SIZES)
) -> dict[int, FitResult]:
    """Fit the experts, so many at a time, in this order."""
    ensembles = make_ensembles(configs, ROWS, "cpu")
    with ThreadPoolExecutor(jobs) as pool:
        futures = {k: pool.submit(fit_one, k, configs[k], ensembles[k]) for k in order}
        return {k: futures[k].result(WAIT_S) for k in configs}


def assert_same(first: FitResult, second: FitResult) -> None:
    assert (first.best_epoch, first.epochs) == (second.best_epoch, second.epochs)
    assert first.stop_reason == second.stop_reason
    for name, value in first.state.items():
        assert value.tobytes() == second.state[name].tobytes(), name


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("optim", ["Adam", "Rprop"])
def test_bits_depend_neither_on_jobs_nor_on_the_order(optim: str) -> None:
    configs = make_configs(optim=optim, early_stopping_patience=2, restarts=2)
    alone = fit_all(configs, jobs=1)
    for jobs, order in (
        (5, (0, 1, 2, 3, 4)),
        (5, (4, 2, 0, 3, 1)),
        (2, (3, 1, 4, 0, 2)),
    ):
        together = fit_all(configs, jobs, order)
        for expert, result in alone.items():
            assert_same(result, together[expert])


def test_long_chunks_and_short_ones_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs = make_configs()
    long = fit_all(configs, jobs=5)
    monkeypatch.setattr(module, "CHUNK", 1)
    for expert, result in fit_all(configs, jobs=5).items():
        assert_same(result, long[expert])


def test_validation_beside_the_training_changes_nothing() -> None:
    config = make_config(epochs=8, early_stopping_patience=3)
    alone = fit_one(0, config, make_ensembles({0: config}, ROWS, "cpu")[0])
    with ThreadPoolExecutor(1) as pool:
        beside = fit(
            make_data(0), config, 0, initial=None, on_epoch=lambda epoch: None,
            stop=threading.Event(), beside=pool,
            ensemble=make_ensembles({0: config}, ROWS, "cpu")[0],
        )  # fmt: skip
    assert_same(alone, beside)


def test_follows_the_path_of_the_other_gears() -> None:
    configs = make_configs()
    for expert, result in fit_all(configs, jobs=5).items():
        generic = fit_one(expert, load_torch(configs[expert]), None)
        for name, value in generic.state.items():
            np.testing.assert_allclose(result.state[name], value, atol=1e-3)


def load_torch(config: Config) -> Config:
    return load_config({**config.to_dict(), "engine": "torch"})


@pytest.mark.parametrize("last", [1, 3])
@pytest.mark.parametrize("optim", ["Adam", "AdamW", "SGD", "Rprop"])
def test_a_resumed_expert_ends_with_the_same_bits(
    tmp_path: Path, optim: str, last: int
) -> None:
    configs = make_configs(optim=optim, early_stopping_patience=None)
    whole = fit_all(configs, jobs=5)
    stop = threading.Event()

    def end(epoch: Epoch) -> None:
        if epoch.number == last:
            stop.set()

    ensembles = make_ensembles(configs, ROWS, "cpu")
    keeper = Keeper(tmp_path / "c")
    stopped = fit_one(2, configs[2], ensembles[2], end, stop, keeper)
    assert (stopped.epochs, stopped.stop_reason) == (last, "stopped")
    again = make_ensembles(configs, ROWS, "cpu")[2]
    checkpoint = read_checkpoint(keeper.path)
    assert_same(fit_one(2, configs[2], again, resume=checkpoint), whole[2])


def test_a_checkpoint_of_another_gear_is_refused(tmp_path: Path) -> None:
    config, keeper = make_config(), Keeper(tmp_path / "c")
    fit_one(0, load_torch(config), None, keeper=keeper)
    ensemble = make_ensembles({0: config}, ROWS, "cpu")[0]
    with pytest.raises(TrainingError, match="batched torch on cpu"):
        fit_one(0, config, ensemble, resume=read_checkpoint(keeper.path))


@pytest.mark.usefixtures("short_chunks")
def test_experts_that_fail_or_stop_hold_nobody_up() -> None:
    configs = make_configs(early_stopping_patience=None)
    whole = fit_all(make_configs(early_stopping_patience=None), jobs=5)
    ensembles = make_ensembles(configs, ROWS, "cpu")
    stop = threading.Event()
    stop.set()
    with ThreadPoolExecutor(5) as pool:
        bad = make_data(1)
        bad.y_train[7] = np.nan
        failing = pool.submit(
            fit, bad, configs[1], 1, initial=None, on_epoch=lambda epoch: None,
            stop=threading.Event(), ensemble=ensembles[1],
        )  # fmt: skip
        others = {k: pool.submit(fit_one, k, configs[k], ensembles[k]) for k in (0, 2)}
        stopped = pool.submit(fit_one, 4, configs[4], ensembles[4], stop=stop)
        with pytest.raises(TrainingError, match=r"epoch 1: batch 1 of 1.*not finite"):
            failing.result(WAIT_S)
        assert stopped.result(WAIT_S).stop_reason == "stopped"
        for expert, future in others.items():
            assert_same(future.result(WAIT_S), whole[expert])


@pytest.mark.parametrize("kind", [RuntimeError, ZeroDivisionError])
def test_an_error_of_the_device_reaches_all_who_wait(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    configs = {k: make_config(k, epochs=500) for k in (2, 3, 4)}
    ensembles = make_ensembles(configs, ROWS, "cpu")
    (ensemble,) = set(ensembles.values())
    everyone = threading.Barrier(3, timeout=WAIT_S)

    def fail(steps: object, n: int) -> None:
        raise kind("the device has burnt down")

    def meet(epoch: Epoch) -> None:
        if epoch.number == 1:
            everyone.wait()
            monkeypatch.setattr(type(ensemble._steps), "run", fail)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(fit_one, k, configs[k], ensemble, meet) for k in configs]
        errors = [future.exception(WAIT_S) for future in futures]
    assert all(isinstance(e, kind | TrainingError) for e in errors)
    assert sum(type(e) is TrainingError for e in errors) >= 2
    for error in errors:
        assert "the device has burnt down" in str(error)
    with pytest.raises(TrainingError, match="burnt down"):
        fit_one(2, configs[2], ensemble)


def test_experts_share_steps_where_form_and_batches_fit() -> None:
    sizes = {0: 2048, 1: 2048, 2: 16, 3: 128, 4: 16}
    configs = {k: make_config(batch_size=size) for k, size in sizes.items()}
    ensembles = make_ensembles(configs, dict.fromkeys(sizes, 100), "cpu")
    assert {frozenset(own.experts) for own in ensembles.values()} == {
        frozenset({0, 1}), frozenset({2, 3, 4}),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "is_in"),
    [
        ({"weight_decay": 0.1, "gradient_clip": 1.0, "learning_rate": 1e-4}, True),
        ({"act": "relu"}, False),
        ({"loss": "L1Loss"}, False),
        ({"optim": "SGD"}, False),
        ({"out_size": 1}, False),
    ],
)
def test_what_an_ensemble_has_in_common(values: dict[str, Any], is_in: bool) -> None:
    configs = {0: make_config(), 1: make_config(**values)}
    ensembles = make_ensembles(configs, ROWS, "cpu")
    assert (ensembles[0] is ensembles[1]) == is_in


@pytest.mark.parametrize(
    "values",
    [
        {"model": "BaselineModelBN"},
        {"model": "SimpleModel"},
        {"engine": "compiled"},
        {"act": "tanh/2", "quantize": {}},
    ],
    ids=str,
)
def test_who_has_a_gear_of_its_own(values: dict[str, Any]) -> None:
    configs = {0: make_config(**values), 1: make_config()}
    assert list(make_ensembles(configs, ROWS, "cpu")) == [1]


def test_an_expert_without_rows_has_no_slot() -> None:
    assert list(make_ensembles(make_configs(), {**ROWS, 2: 0}, "cpu")) == [4, 3, 0, 1]


def test_other_rows_than_told_are_refused() -> None:
    ensemble = make_ensembles(make_configs(), {**ROWS, 3: 131}, "cpu")[3]
    with pytest.raises(TrainingError, match=r"expected 131 rows.*found 130"):
        fit_one(3, make_config(3), ensemble)


class TestDevice:
    """Where an expert trains."""

    @pytest.fixture(params=[False, True], ids=["without a GPU", "with a GPU"])
    def has_gpu(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> bool:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
        return bool(request.param)

    @pytest.mark.parametrize(
        ("values", "is_compiled"),
        [
            ({}, True),
            ({"engine": "compiled"}, True),
            ({"engine": "torch"}, False),
            ({"loss": "L1Loss"}, False),
            ({"model": "BaselineModelBN"}, False),
        ],
        ids=str,
    )
    def test_auto_is_the_cpu_where_loops_are_compiled(
        self, has_gpu: bool, values: dict[str, Any], is_compiled: bool
    ) -> None:
        expected = "cuda" if has_gpu and not is_compiled else "cpu"
        assert choose_device(make_config(**values), "auto") == expected

    def test_cuda_is_the_gpu_or_an_error(self, has_gpu: bool) -> None:
        if has_gpu:
            assert choose_device(make_config(), "cuda") == "cuda"
        else:
            with pytest.raises(ConfigError, match="finds none; use --device auto"):
                choose_device(make_config(), "cuda")

    def test_cpu_is_the_cpu(self, has_gpu: bool) -> None:
        assert choose_device(make_config(engine="torch"), "cpu") == "cpu"

    def test_another_name_is_an_error(self) -> None:
        with pytest.raises(ConfigError, match="did you mean 'cuda'"):
            choose_device(make_config(), "cud")

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_the_command_says_so_before_any_work(self, workplace: Path) -> None:
        done = CliRunner().invoke(main, ["train", "baseline_v2", "--device", "cuda"])
        assert done.exit_code == 1
        assert "PyTorch" in done.stderr
        assert not list(workplace.iterdir())


SMALL = {
    "data": {"simulate": {"tracks": 3000, "seed": 1}, "split": [0.6, 0.2, 0.2]},
    "plot_every": 0,
    "batch_size": 64,
    "expert_2": {"batch_size": 16},
    "expert_4": {"batch_size": 16},
}


class StopAfter(threading.Event):
    """Is set once it has been asked so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


def train(
    batched: bool, *, jobs: int | None = None, seed: int = 1, **more: Any
) -> TrainingResult:
    overrides = {**SMALL, "seed": seed, "epochs": 12}
    config = nnt.load_config("baseline_v2", overrides=overrides)
    return nnt.train(config, batched=batched, device="cpu", jobs=jobs, **more)


def weights_of(result: TrainingResult) -> str:
    return open_run(result.run_id).read_text("weights.json")


def test_a_training_ends_with_the_loss_of_the_compiled_loops(workplace: Path) -> None:
    def losses(result: TrainingResult) -> np.ndarray:
        assert result.outcome == "FINISHED"
        return np.array([result.experts[k].val["loss"] for k in range(5)])

    def once(batched: bool, seed: int) -> np.ndarray:
        tracker = NullTracker(workplace / f"{batched}-{seed}")
        return losses(train(batched, seed=seed, tracker=tracker))

    batched = once(True, 1)
    spread = [once(False, seed) for seed in (1, 2, 3)]
    assert (np.abs(batched - spread[0]) <= np.std(spread, axis=0, ddof=1)).all()


@pytest.mark.usefixtures("workplace")
def test_a_stopped_training_ends_as_one_that_was_not() -> None:
    whole = train(True, jobs=1)
    stopped = train(True, stop=StopAfter(60))
    assert stopped.outcome == "KILLED"
    again = train(True, resume=stopped.run_id)
    assert again.outcome == "FINISHED"
    assert weights_of(again) == weights_of(whole)
    said = open_run(again.run_id).read_text("logs/app.log")
    assert "engine: batched torch on cpu" in said
    assert "compiled" not in said
    assert "resumed after epoch" in said
