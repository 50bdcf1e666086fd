"""An interrupted fit goes on as if nothing had happened, to the last bit."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from some_fits import Fit, assert_same_fit, make_data
from some_fits import run as run_fit

from nnt.engine import (
    Checkpoint,
    Epoch,
    Keeper,
    read_checkpoint,
)
from nnt.engine import checkpoint as module
from nnt.engine.checkpoint import write_checkpoint
from nnt.errors import TrainingError
from nnt.files import previous_of

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = make_data(n_train=200, n_val=60)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint whenever one may be written, and end epochs in parts."""
    monkeypatch.setattr(module, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(module, "REST_FACTOR", 0.0)
    monkeypatch.setattr("nnt.engine.loop.PART_ROWS", 64)


def run(path: Path | None = None, **values: Any) -> Fit:
    """Fit six epochs or so; give the result and every epoch reported."""
    keeper = {} if path is None else {"keeper": Keeper(path)}
    return run_fit(DATA, 2, **{"batch_size": 32, "epochs": 6, **keeper, **values})


def stopped(path: Path, last: int, **values: Any) -> Checkpoint:
    """Stop in order after an epoch, as on Ctrl-C; give the last checkpoint."""
    stop = threading.Event()

    def end(epoch: Epoch) -> None:
        if epoch.number == last:
            stop.set()

    run(path, on_epoch=end, stop=stop, **values)
    return found_at(path)


def found_at(path: Path) -> Checkpoint:
    checkpoint = read_checkpoint(path)
    assert checkpoint is not None
    return checkpoint


CASES = [
    {"engine": "compiled"},
    {"engine": "torch"},
    *({"engine": e, "optim": o} for e in ("compiled", "torch")
      for o in ("AdamW", "SGD", "Rprop")),
    {"model": "BaselineModelBN"},
    {"model": "SimpleModel", "loss": "L1Loss"},
    {"lr_schedule": {"name": "plateau", "patience": 1}, "learning_rate": 0.2},
    {"lr_schedule": {"name": "cosine"}},
    {"restarts": 3, "epochs": 2},
    {"early_stopping_patience": 3, "learning_rate": 0.05, "epochs": 40},
    {"dist": {"n_buckets": 4, "norm": {"mean": 0, "std": 0.4}}},
    {"gradient_clip": 0.01},
    *({"engine": e, "average": 0.9} for e in ("compiled", "torch")),
    {"model": "BaselineModelBN", "average": 0.9},
]  # fmt: skip


@pytest.mark.parametrize("last", [1, 4])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_resumed_fit_equals_the_uninterrupted_one(
    tmp_path: Path, case: dict[str, Any], last: int
) -> None:
    checkpoint = stopped(tmp_path / "c", last, **case)
    whole = run(**case)
    assert len(checkpoint.epochs) == min(last, whole[0].epochs)
    resumed = run(resume=checkpoint, **case)
    assert_same_fit(resumed, whole)
    # Epochs that were done before are reported as they were.
    n_before = len(checkpoint.epochs)
    times = [[e.time_ms for e in own] for own in (resumed[1], checkpoint.epochs)]
    assert times[0][:n_before] == times[1]
    is_told = [epoch.val_output is not None for epoch in resumed[1]]
    assert is_told == [number >= n_before for number in range(len(is_told))]


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_every_checkpoint_leads_to_the_same_end(
    tmp_path: Path, engine: str, threads: int
) -> None:
    values: dict[str, Any] = {"engine": engine, "epochs": 3}
    path = tmp_path / "c"
    kept: list[Checkpoint] = []

    class Collector(Keeper):
        def keep(self, checkpoint: Checkpoint) -> None:
            kept.append(checkpoint)

    with ThreadPoolExecutor(threads or 1) as pool:
        own_pool = pool if threads else None
        whole = run(keeper=Collector(path), validation_pool=own_pool, **values)
    parts = [c.values["attempt"]["rows_done"] for c in kept]
    assert {0, 64, 128, 192} == set(parts)
    for checkpoint in kept:
        write_checkpoint(path, checkpoint)
        assert_same_fit(run(resume=found_at(path), **values), whole)


@pytest.mark.usefixtures("often")
def test_stop_within_an_epoch_keeps_its_first_part(tmp_path: Path) -> None:
    stop, asked = threading.Event(), list[int]()

    class Stopper(Keeper):
        def is_due(self) -> bool:
            asked.append(1)
            if len(asked) == 6:
                stop.set()
            return False

    run(stop=stop, keeper=Stopper(tmp_path / "c"))
    checkpoint = found_at(tmp_path / "c")
    assert checkpoint.values["attempt"]["rows_done"] > 0
    assert_same_fit(run(resume=checkpoint), run())


def test_a_fit_that_was_done_is_done_at_once(tmp_path: Path) -> None:
    whole = run(tmp_path / "c")
    again = run(resume=found_at(tmp_path / "c"))
    assert_same_fit(again, whole)
    assert all(epoch.val_output is None for epoch in again[1])


def test_stop_in_the_last_epoch_of_a_restart_is_told() -> None:
    stop = threading.Event()
    result, told = run(
        restarts=2,
        epochs=3,
        stop=stop,
        on_epoch=lambda epoch: stop.set() if epoch.number == 3 else None,
    )
    assert (len(told), result.stop_reason) == (3, "stopped")


def test_the_checkpoint_before_is_used_where_the_last_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c"
    assert read_checkpoint(path) is None
    stopped(path, 2)
    good = path.read_bytes()
    previous_of(path).write_bytes(good)
    one_bit = good[:-3] + bytes([good[-3] ^ 1]) + good[-2:]
    for broken in (good[:-7], good[:50], b"", good[:-1] + b"\x00\x01", one_bit):
        path.write_bytes(broken)
        assert len(found_at(path).epochs) == 2
    assert "complete checkpoint" in caplog.text
    previous_of(path).unlink()
    with pytest.raises(TrainingError, match="checksum"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("values", "words"),
    [({"engine": "compiled"}, "compiled loops"), ({"out_size": 1}, "another network")],
)
def test_other_arithmetic_and_another_network_are_refused(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    checkpoint = stopped(tmp_path / "c", 2, engine="torch")
    with pytest.raises(TrainingError, match=words):
        run(resume=checkpoint, **{"engine": "torch", **values})


def forge(checkpoint: Checkpoint, part: str, name: str, value: Any) -> Checkpoint:
    """Change one thing in a checkpoint."""
    if part in ("backend", "best"):
        changed: dict[str, Any] = {part: {**getattr(checkpoint, part), name: value}}
        return replace(checkpoint, **changed)
    values = dict(checkpoint.values)
    if part == "attempt":
        values["attempt"] = {**values["attempt"], name: value}
    else:
        values[name] = value
    return replace(checkpoint, values=values)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        # Fused optimisers read beyond the end of what is too short.
        ("backend", "optimiser.0.exp_avg", np.zeros(3, np.float32)),
        ("backend", "optimiser.99.exp_avg", np.zeros(3, np.float32)),
        ("best", "net.0.weight", np.zeros(3, np.float32)),
        ("best", "net.2.bias", np.full(2, np.nan, np.float32)),
        ("attempt", "rows_done", -5),  # once an epoch without an end
        ("attempt", "epochs", 1.5),
        ("attempt", "epochs", 3),
        ("attempt", "loss_sum", []),
        ("attempt", "rng", {"state": 10**30}),
        ("values", "best_loss", None),
        ("values", "best_epoch", -1),
        ("values", "attempt", "x"),
    ],
)
def test_values_that_no_fit_has_written_are_refused(
    tmp_path: Path, part: str, name: str, value: Any
) -> None:
    found = stopped(tmp_path / "c", 2, engine="torch")
    write_checkpoint(tmp_path / "forged", forge(found, part, name, value))
    with pytest.raises(TrainingError, match="the checkpoint was not written by"):
        run(resume=found_at(tmp_path / "forged"), engine="torch")


def test_a_full_disk_does_not_end_the_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_atomically", fail)
        result, _ = run(tmp_path / "c")
    assert result.epochs == 6
    assert "No space left" in caplog.text


@settings(max_examples=60)
@given(data=st.data())
def test_no_damage_is_taken_for_a_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / "c"
    write_checkpoint(path, SMALL)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    whole = damaged == path.read_bytes()
    path.write_bytes(damaged)
    try:
        found = read_checkpoint(path)
    except TrainingError:
        assert not whole
    else:
        assert found is not None
        assert found.values == SMALL.values
        assert found.epochs == SMALL.epochs
    shutil.rmtree(folder)


SMALL = Checkpoint(
    values={"attempt": {"epochs": 2}, "best_loss": 0.5},
    backend={"w": np.arange(6, dtype=np.float32).reshape(2, 3)},
    best={"w": np.ones((2, 3), np.float32)},
    epochs=[
        Epoch(number=n, metrics={"val/loss": 0.5**n, "lr": 1e-3}, time_ms=n)
        for n in (1, 2)
    ],
)
