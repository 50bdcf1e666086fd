"""An epoch of five experts on a GPU: their steps batched, each alone, and the CPU.

``python -m bench gpu`` prints wall ms an epoch of all experts, validation included, and
ratios of the times: the compiled loops on the CPU, PyTorch on the device with each
expert in a thread of its own, and the experts in common steps on the device. All are
taken in turn, medians of several rounds, from the end of the first epoch on; what comes
before it (rows to the device, the capture of the graphs, compiling) is told apart.

``--device cpu`` does the same without a GPU, to see that it works: the batched steps
are made for a GPU, and on a CPU they lose to the compiled loops.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Barrier, Event

import torch

from bench._rows import experts_of, rows_to_train
from bench.train import BATCHES
from nnt import load_config
from nnt.config import Config
from nnt.engine import Ensemble, Epoch, ExpertData, fit, make_ensembles

ROWS = {"cuda": 200_000, "cpu": 10_000}
WAIT_S = 600.0
LOOPS = ("compiled", "torch", "batched")

Rows = Mapping[int, ExpertData]


@dataclass(frozen=True)
class Times:
    """Of one training."""

    start_s: float
    """Until every expert has done its first epoch."""
    epoch_s: float


def main() -> None:
    """Print a line for each batch size."""
    options = _options()
    torch.set_num_threads(1)
    rows = experts_of(options.rows or ROWS[options.device])
    print(
        f"{rows_to_train(rows):,} rows to train, {os.cpu_count()} cores, "
        f"{_name(options.device)}, torch {torch.__version__}; medians of "
        f"{options.rounds} rounds. Wall ms an epoch (start), and times over compiled"
    )
    print(
        f"{'batch':>6}" + "".join(f"  {_title(n, options.device):>26}" for n in LOOPS)
    )
    for name in options.batches:
        _print(name, _in_turn(rows, name, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench gpu")
    parser.add_argument("--device", choices=list(ROWS), default="cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="after the first one")
    parser.add_argument("--rows", type=int, help="of the whole table")
    parser.add_argument("--batches", nargs="+", choices=BATCHES, default=list(BATCHES))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch finds no GPU; --device cpu shows that all of it runs")
    return options


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "no GPU"


def _title(loop: str, device: str) -> str:
    return f"{loop} on {'cpu' if loop == 'compiled' else device}"


def _in_turn(
    rows: Rows, name: str, options: argparse.Namespace
) -> dict[str, list[Times]]:
    base = load_config("baseline_v2", overrides={"early_stopping_patience": None})
    timed: dict[str, list[Times]] = {loop: [] for loop in LOOPS}
    for _ in range(options.rounds):
        for loop in LOOPS:
            configs = {
                expert: replace(
                    base,
                    batch_size=size,
                    epochs=1 + options.epochs,
                    engine="compiled" if loop == "compiled" else "torch",
                )
                for expert, size in enumerate(BATCHES[name])
            }
            timed[loop].append(_train(loop, rows, configs, options.device))
    return timed


def _train(loop: str, rows: Rows, configs: dict[int, Config], device: str) -> Times:
    """Train all experts, each in a thread."""
    n_rows = {expert: len(own.x_train) for expert, own in rows.items()}
    begins: list[float] = []
    first = Barrier(
        len(configs), lambda: begins.append(time.perf_counter()), timeout=WAIT_S
    )

    def wait(epoch: Epoch) -> None:
        if epoch.number == 1:
            first.wait()

    start = time.perf_counter()
    ensembles: dict[int, Ensemble] = {}
    if loop == "batched":
        ensembles = make_ensembles(configs, n_rows, device)
    with ThreadPoolExecutor(len(configs)) as pool:
        futures = [
            pool.submit(
                fit, rows[k], own, k, initial=None, on_epoch=wait, stop=Event(),
                device="cpu" if loop == "compiled" else device,
                ensemble=ensembles.get(k),
            )
            for k, own in configs.items()
        ]  # fmt: skip
        for future in futures:
            future.result()
    end = time.perf_counter()
    n_epochs = configs[0].epochs - 1
    return Times(begins[0] - start, (end - begins[0]) / n_epochs)


def _print(name: str, timed: dict[str, list[Times]]) -> None:
    line = f"{name:>6}"
    compiled = statistics.median(t.epoch_s for t in timed["compiled"])
    for times in timed.values():
        epoch = statistics.median(t.epoch_s for t in times)
        start = statistics.median(t.start_s for t in times)
        told = f"{epoch * 1e3:,.1f} ({start * 1e3:,.0f}) {epoch / compiled:7.2f}"
        line += f"  {told:>26}"
    print(line)


if __name__ == "__main__":
    main()
