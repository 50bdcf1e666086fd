"""The loop of a sweep, with an executor that computes its metric by a formula."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnt
from nnt.sweep import Trial, load_space
from nnt.sweep.loop import SweepLoop
from nnt.sweep.record import RECORD, Message, Record
from nnt.sweep.settings import Settings
from nnt.tracking import Run

CONFIG = nnt.load_config("baseline_v2", {"epochs": 3, "experts": [-1]})
SPACE = {
    "learning_rate": {"log_uniform": [1e-4, 1e-1]},
    "seed": {"choice": [1, 2, 3, 4, 5, 6]},
}
N_EPOCHS = 3


class Formula:
    """Trials that take no time: each reports its epochs, and ends."""

    n_slots = 1

    def __init__(self) -> None:
        self.started: list[int] = []
        self.tasks: list[Mapping[str, Any]] = []
        self._waiting: deque[tuple[int, Message]] = deque()
        self._cut: dict[int, str] = {}

    def start(self, number: int, task: Mapping[str, Any]) -> None:
        """Queue all that the trial will say."""
        end: Message = {"kind": "ended", "run": f"{number:032x}", "reason": ""}
        if "plots" in task:
            self._waiting.append((number, end | {"outcome": "FINISHED"}))
            return
        self.started.append(number)
        self.tasks.append(task)
        values = task["overrides"]
        loss = abs(values.get("learning_rate", 0.01) - 0.01)
        loss += 1e-4 * values.get("seed", 0)
        if task["cut"]:
            self._cut[number] = task["cut"]
        elif task["prunes"]:
            for epoch in set(range(1, N_EPOCHS + 1)) - set(task["known"]):
                message = {"kind": "epoch", "epoch": epoch, "value": loss / epoch}
                self._waiting.append((number, message))
        result = {"outcome": "FINISHED", "metrics": {"val/loss": loss}}
        self._waiting.append((number, end | result))

    def messages(self, timeout: float) -> list[tuple[int, Message]]:
        """Give one message at a time."""
        number, message = self._waiting.popleft()
        if number in self._cut and message["kind"] == "ended":
            self._cut.pop(number)
            message |= {"outcome": "PRUNED"}
        return [(number, message)]

    def answer(self, number: int, reason: str) -> None:
        """Cut a trial: it says no more but its end."""
        if reason:
            self._cut[number] = reason
            kept = [m for m in self._waiting if m[1]["kind"] == "ended"]
            self._waiting = deque(kept)

    def stop(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """There is nothing to close."""


def settings_of(trials: int, space: Any = SPACE, **more: Any) -> dict[str, Any]:
    given = {"metrics": ["val/loss"], "directions": [], "sampler": "tpe", "pruner": ""}
    found = Settings(
        config=CONFIG, space=load_space(space, CONFIG), trials=trials, seed=5,
        **given | more,
    )  # fmt: skip
    return found.checked().to_dict()


def swept(path: Path, settings: Mapping[str, Any]) -> tuple[SweepLoop, Formula]:
    """Go on in the record of a path to the end."""
    run = Run(path.parent)
    record, executor = Record(path), Formula()
    record.write("sweep", settings=settings)
    loop = SweepLoop(run, record, executor, "sqlite://", Event())
    loop.train_all(math.inf)
    record.close()
    return loop, executor


def facts(trials: list[Trial]) -> list[Any]:
    return [(t.number, t.suggested, t.state, t.values, t.epochs) for t in trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Trial], bytes]:
    path = tmp_path_factory.mktemp("whole") / RECORD
    loop, _ = swept(path, settings_of(22))
    return loop.record.trials, path.read_bytes()


@settings(max_examples=12)
@given(share=st.floats(0, 1))
def test_a_sweep_that_was_killed_anywhere_ends_as_if_never(
    whole: tuple[list[Trial], bytes], share: float
) -> None:
    trials, content = whole
    of_settings = content.index(b"\n") + 1
    left = content[: of_settings + int(share * (len(content) - of_settings))]
    with TemporaryDirectory() as folder:
        path = Path(folder) / RECORD
        path.write_bytes(left)
        resumed, executor = swept(path, settings_of(22))
    assert facts(resumed.record.trials) == facts(trials)
    ended = left.count(b'"ended"')
    # None of those that had ended is trained again, and none twice.
    assert len(executor.started) == len(set(executor.started)) >= 22 - ended - 1
    assert {trial.state for trial in trials} == {"complete", "pruned"}


def test_the_record_says_why_a_trial_was_cut(
    whole: tuple[list[Trial], bytes],
) -> None:
    for trial in whole[0]:
        last = f"after epoch {max(trial.epochs, default=0)}"
        assert trial.reason.endswith(last) == (trial.state == "pruned")


def test_the_last_trials_repeat_the_best_with_other_seeds(
    whole: tuple[list[Trial], bytes],
) -> None:
    *others, one, two = whole[0]
    best = min((t for t in others if t.values), key=lambda trial: trial.values)
    for trial in (one, two):
        assert trial.suggested["learning_rate"] == best.suggested["learning_rate"]
        assert trial.state == "complete"
        assert not trial.epochs, "a repeat is not pruned"
    assert len({t.suggested["seed"] for t in (best, one, two)}) == 3


def test_no_trial_is_a_repeat_where_no_seed_is_varied(tmp_path: Path) -> None:
    space = {"learning_rate": SPACE["learning_rate"]}
    loop, _ = swept(tmp_path / RECORD, settings_of(12, space))
    rates = {trial.suggested["learning_rate"] for trial in loop.record.trials}
    assert len(rates) == 12


def test_an_exhausted_sweep_says_so_and_more_trials_find_nothing(
    tmp_path: Path,
) -> None:
    space = {"act": {"choice": ["tanh/2", "relu"]}, "batch_size": {"int": [2, 4]}}
    settings = settings_of(9, space, sampler="grid", pruner="none")
    loop, _ = swept(tmp_path / RECORD, settings)
    assert loop.is_exhausted
    points = {tuple(trial.suggested.values()) for trial in loop.record.trials}
    assert points == {(act, n) for act in ('"tanh/2"', '"relu"') for n in (2, 3, 4)}
    assert len(loop.record.trials) == 6
    again, executor = swept(tmp_path / RECORD, settings | {"trials": 20})
    assert again.is_exhausted
    assert not executor.started


def test_a_larger_number_adds_trials(
    tmp_path: Path, whole: tuple[list[Trial], bytes]
) -> None:
    path = tmp_path / RECORD
    path.write_bytes(whole[1])
    more, executor = swept(path, settings_of(25))
    assert facts(more.record.trials)[:22] == facts(whole[0])
    assert executor.started == [22, 23, 24]
