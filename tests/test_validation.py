"""Epochs are validated in another thread while the next one is trained."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from some_fits import assert_same, make_data, run

from nnt.errors import TrainingError
from nnt.objective import SQUARED, residual_loss

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize(
    "values",
    [
        {"epochs": 7},
        {"epochs": 300, "early_stopping_patience": 2, "learning_rate": 0.05},
        {"epochs": 300, "early_stopping_patience": 1},
        {"epochs": 4, "restarts": 2, "early_stopping_patience": 1},
        {
            "epochs": 12,
            "learning_rate": 0.3,
            "lr_schedule": {"name": "plateau", "patience": 1, "factor": 0.5},
        },
    ],
)
def test_validation_in_another_thread_changes_nothing(
    engine: str, values: dict[str, Any]
) -> None:
    alone, told_alone = run(engine=engine, **values)
    with ThreadPoolExecutor(2) as pool:
        beside, told_beside = run(engine=engine, validation_pool=pool, **values)
    assert told_alone == told_beside
    assert_same(alone.state, beside.state)
    ends = ("best_epoch", "epochs", "stop_reason")
    assert [getattr(alone, e) for e in ends] == [getattr(beside, e) for e in ends]


def test_outputs_reported_late_are_those_of_their_epoch() -> None:
    data = make_data()
    with ThreadPoolExecutor(1) as pool:
        _, told = run(
            data, validation_pool=pool, epochs=5, early_stopping_patience=None
        )
    for epoch in told:
        assert epoch.val_output is not None
        again = residual_loss(SQUARED, epoch.val_output - data.y_val).mean()
        assert again == pytest.approx(epoch.metrics["val/loss"], rel=1e-6)


def test_the_epoch_that_went_wrong_is_named_although_the_next_one_fails_too() -> None:
    values: dict[str, Any] = {
        "act": "relu",
        "optim": "SGD",
        "learning_rate": 1e30,
        "batch_size": 300,
    }
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(TrainingError, match=r"epoch 1: .* val/loss is not finite"),
    ):
        run(validation_pool=pool, engine="torch", **values)


def test_a_stop_reports_the_epoch_that_was_being_validated() -> None:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        result, told = run(
            stop=stop, on_epoch=lambda _: stop.set(), epochs=50, validation_pool=pool
        )
    assert (result.epochs, result.stop_reason) == (len(told), "stopped")
    assert [epoch.number for epoch in told] == [1, 2]
