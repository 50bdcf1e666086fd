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
from some_fits import assert_same as assert_same_bits
from some_fits import make_data
from some_fits import run as run_fit

from nnt.engine import (
    Checkpoint,
    Epoch,
    FitResult,
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


def values_of(**values: Any) -> dict[str, Any]:
    """A quick training, with these values changed."""
    return {"batch_size": 32, "epochs": 6, **values}


def run(
    values: dict[str, Any], path: Path | None = None, **more: Any
) -> tuple[FitResult, list[Epoch]]:
    """Fit; give the result and every epoch reported."""
    keeper = {} if path is None else {"keeper": Keeper(path)}
    return run_fit(DATA, 2, **{**keeper, **values, **more})


def run_until(values: dict[str, Any], path: Path, last: int) -> None:
    """Stop in order after an epoch, as on Ctrl-C."""
    stop = threading.Event()

    def end(epoch: Epoch) -> None:
        if epoch.number == last:
            stop.set()

    run(values, path, on_epoch=end, stop=stop)


def assert_same(
    first: tuple[FitResult, list[Epoch]], second: tuple[FitResult, list[Epoch]]
) -> None:
    (result, epochs), (other, others) = first, second
    assert epochs == others
    assert_same_bits(result.state, other.state)
    ends = [(r.best_epoch, r.epochs, r.stop_reason) for r in (result, other)]
    assert ends[0] == ends[1]


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
    values, path = values_of(**case), tmp_path / "last.safetensors"
    run_until(values, path, last)
    checkpoint = read_checkpoint(path)
    assert checkpoint is not None
    whole = run(values)
    assert len(checkpoint.times_ms) == min(last, whole[0].epochs)
    assert_same(run(values, resume=checkpoint), whole)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_every_checkpoint_leads_to_the_same_end(
    tmp_path: Path, engine: str, threads: int
) -> None:
    values, path = values_of(engine=engine, epochs=3), tmp_path / "c"
    kept: list[Checkpoint] = []

    class Collector(Keeper):
        def keep(self, checkpoint: Checkpoint) -> None:
            kept.append(checkpoint)

    with ThreadPoolExecutor(threads or 1) as pool:
        own_pool = pool if threads else None
        whole = run(values, keeper=Collector(path), validation_pool=own_pool)
    parts = [c.values["attempt"]["rows_done"] for c in kept]
    assert {0, 64, 128, 192} == set(parts)
    for checkpoint in kept:
        write_checkpoint(path, checkpoint)
        assert_same(run(values, resume=read_checkpoint(path)), whole)


@pytest.mark.usefixtures("often")
def test_stop_within_an_epoch_keeps_its_first_part(tmp_path: Path) -> None:
    values, path, stop = values_of(), tmp_path / "c", threading.Event()
    asked: list[int] = []

    class Stopper(Keeper):
        def is_due(self) -> bool:
            asked.append(1)
            if len(asked) == 6:
                stop.set()
            return False

    run(values, stop=stop, keeper=Stopper(path))
    checkpoint = read_checkpoint(path)
    assert checkpoint is not None
    assert checkpoint.values["attempt"]["rows_done"] > 0
    assert_same(run(values, resume=checkpoint), run(values))


def test_times_of_the_epochs_before_are_those_of_the_first_run(tmp_path: Path) -> None:
    values, path = values_of(), tmp_path / "c"
    run_until(values, path, 3)
    checkpoint = read_checkpoint(path)
    assert checkpoint is not None
    _, told = run(values, resume=checkpoint)
    assert [e.time_ms for e in told[:3]] == checkpoint.times_ms.tolist()
    assert [e.val_output is None for e in told] == [True] * 3 + [False] * 3


def test_a_fit_that_was_done_is_done_at_once(tmp_path: Path) -> None:
    values, path = values_of(), tmp_path / "c"
    whole = run(values, path)
    again = run(values, path, resume=read_checkpoint(path))
    assert_same(again, whole)
    assert all(epoch.val_output is None for epoch in again[1])


def test_stop_in_the_last_epoch_of_a_restart_is_told() -> None:
    stop = threading.Event()
    result, told = run(
        values_of(restarts=2, epochs=3),
        stop=stop,
        on_epoch=lambda epoch: stop.set() if epoch.number == 3 else None,
    )
    assert (len(told), result.stop_reason) == (3, "stopped")


def test_the_checkpoint_before_is_used_where_the_last_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values, path = values_of(), tmp_path / "c"
    run_until(values, path, 2)
    good = path.read_bytes()
    previous_of(path).write_bytes(good)
    for broken in (good[:-7], good[:50], b"", good[:-1] + b"\x00\x01"):
        path.write_bytes(broken)
        checkpoint = read_checkpoint(path)
        assert checkpoint is not None
        assert len(checkpoint.times_ms) == 2
    assert "complete checkpoint" in caplog.text


def test_a_checkpoint_with_one_changed_number_is_refused(tmp_path: Path) -> None:
    values, path = values_of(), tmp_path / "c"
    run_until(values, path, 2)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    previous_of(path).unlink(missing_ok=True)
    with pytest.raises(TrainingError, match="checksum"):
        read_checkpoint(path)


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "none") is None


def test_other_arithmetic_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    run_until(values_of(engine="torch"), path, 2)
    with pytest.raises(TrainingError, match="compiled loops"):
        run(values_of(engine="compiled"), resume=read_checkpoint(path))


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    run_until(values_of(engine="torch"), path, 2)
    with pytest.raises(TrainingError, match="another network"):
        run(values_of(engine="torch", out_size=1), resume=read_checkpoint(path))


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
    values = values_of(engine="torch")
    run_until(values, tmp_path / "c", 2)
    found = read_checkpoint(tmp_path / "c")
    assert found is not None
    write_checkpoint(tmp_path / "forged", forge(found, part, name, value))
    with pytest.raises(TrainingError, match="the checkpoint was not written by"):
        run(values, resume=read_checkpoint(tmp_path / "forged"))


def test_a_full_disk_does_not_end_the_fit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "write_atomically", fail)
        result, _ = run(values_of(), tmp_path / "c")
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
        assert found.rows.tobytes() == SMALL.rows.tobytes()
    shutil.rmtree(folder)


SMALL = Checkpoint(
    values={"attempt": {"epochs": 2}, "best_loss": 0.5},
    backend={"w": np.arange(6, dtype=np.float32).reshape(2, 3)},
    best={"w": np.ones((2, 3), np.float32)},
    names=("val/loss", "lr"),
    rows=np.array([[0.5, 1e-3], [0.25, 1e-3]]),
    times_ms=np.array([1, 2]),
)
