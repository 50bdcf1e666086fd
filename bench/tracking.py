"""What tracking costs: the same training with MLflow and without any store.

``python -m bench tracking`` trains baseline_v2 for 1,000 epochs on 200,000 rows, in
turn with a SQLite store and with the null tracker, and prints wall and CPU time of
each, medians over the rounds, and the CPU time of the one thread that talks to MLflow;
then what a point costs on its way, and what is left for all else: opening and ending
runs, parameters, tags, artifacts. Live images are off in both. ``--epochs``, ``--rows``
and ``--rounds`` make it shorter.
"""

from __future__ import annotations

import gc
import logging
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from bench._frame import Times, in_turn, median, new_directory, read_options, timed
from nnt import load_config, train
from nnt.cli import GC_THRESHOLD
from nnt.config import Config
from nnt.tracking import MlflowTracker, Run, Tracker
from nnt.tracking.delivery import Delivery
from nnt.tracking.sender import Sender


@dataclass
class Cost:
    """What a training took, and CPU time of the stages between it and its store.

    ``note`` is that of the threads that train, ``deliver`` that of the thread that
    delivers, and ``send`` the part of it that MLflow takes for metrics, parameters and
    tags.
    """

    whole: Times = field(default_factory=lambda: Times(0, 0))
    n_points: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count from here on."""
        send = self._metered("send", Sender._log)

        def counted(sender: Sender, run_id: str, items: list[Any]) -> None:
            self.n_points += sum(hasattr(item, "step") for item in items)
            send(sender, run_id, items)

        deliver = self._metered("deliver", Delivery.deliver_waiting)
        note = self._metered("note", Run._note)
        with ExitStack() as patches:
            for owner, name, by in (
                (Delivery, "deliver_waiting", deliver),
                (Run, "_note", note),
                (Sender, "_log", counted),
            ):
                patches.enter_context(mock.patch.object(owner, name, by))
            yield

    def _metered(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def metered(*args: Any, **more: Any) -> Any:
            begin = time.thread_time()
            try:
                return call(*args, **more)
            finally:
                self.seconds[stage] += time.thread_time() - begin

        return metered

    def us(self, stage: str) -> float:
        """CPU time of a stage for each point, microseconds."""
        return 1e6 * self.seconds[stage] / max(self.n_points, 1)


def main() -> None:
    """Print one line for each way to track, and the cost of tracking."""
    chosen = read_options(__doc__, epochs=1000, rows=200_000, rounds=3)
    config = _config(chosen.rows, chosen.epochs)
    logging.getLogger("nnt").setLevel(logging.WARNING)
    gc.set_threshold(GC_THRESHOLD, 50, 100)  # as `nnt train` does
    with new_directory() as place:
        # The first round loads libraries and makes the tables of the store.
        _measure(_config(2000, 3), place, 1)
        costs = _measure(config, place, chosen.rounds)
    _print(costs, chosen.epochs, chosen.rows)


def _config(n_rows: int, epochs: int) -> Config:
    return load_config(
        "baseline_v2",
        overrides={
            "data": {
                "simulate": {"tracks": n_rows, "seed": 1},
                "split": [0.34, 0.33, 0.33],
            },
            "epochs": epochs,
            "early_stopping_patience": None,
            "plot_every": 0,
        },
    )


def _measure(config: Config, place: Path, rounds: int) -> dict[str, list[Cost]]:
    works: dict[str, Callable[[], Cost]] = {
        "no store": lambda: _one(config, Tracker(place / "null")),
        "MLflow, SQLite": lambda: _one(config, MlflowTracker()),
    }
    return in_turn(works, rounds, warm_up=False)


def _one(config: Config, tracker: Tracker) -> Cost:
    cost = Cost()
    with cost.counted():
        cost.whole = timed(lambda: train(config, tracker=tracker))
    return cost


def _print(costs: dict[str, list[Cost]], epochs: int, n_rows: int) -> None:
    print(f"baseline_v2, {epochs:,} epochs, {n_rows:,} rows, five experts")
    print("tracking          wall s    CPU s   thread CPU s")
    middle = {name: median(c.whole for c in found) for name, found in costs.items()}
    threads = [
        statistics.median(c.seconds["deliver"] for c in found)
        for found in costs.values()
    ]
    for (name, whole), thread_s in zip(middle.items(), threads, strict=True):
        print(f"{name:16s} {whole.wall_s:7.2f} {whole.cpu_s:8.2f} {thread_s:14.2f}")
    without, with_store = middle.values()
    pairs = zip(*costs.values(), strict=True)
    walls = [100 * (b.whole.wall_s / a.whole.wall_s - 1) for a, b in pairs]
    print(
        f"cost: wall {statistics.median(walls):+.1f} % "
        f"({min(walls):+.1f} to {max(walls):+.1f} %), "
        f"CPU {100 * (with_store.cpu_s / without.cpu_s - 1):+.1f} %, "
        f"thread {100 * threads[-1] / without.cpu_s:.1f} % of the CPU time"
    )
    found = costs["MLflow, SQLite"]
    note, send = (
        statistics.median(c.us(stage) for c in found) for stage in ("note", "send")
    )
    rest = statistics.median(c.seconds["deliver"] - c.seconds["send"] for c in found)
    print(
        f"CPU of a point: noted {note:.1f} us, sent {send:.1f} us; "
        f"of all else in the thread: {rest:.2f} s"
    )
