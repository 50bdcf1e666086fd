"""An epoch of five experts, validation included: NNT beside other training loops.

``python -m bench train`` prints wall and CPU time of one epoch of NNT's two backends,
of a plain DataLoader loop and of Lightning (``pip install lightning``), measured in
turn, medians of several rounds, and what each takes to a given validation loss. At the
end it prints the table of ``python -m bench kernel``: networks of five forms.

NNT trains its experts in as many threads as there are cores, as ``nnt train`` does,
the others one expert after another; torch has one thread everywhere, which is the
fastest for such a network. NNT's times include its start, those of the others begin
after the first epoch. Where an epoch has many steps, all but the compiled loops are
timed on a part of the rows and scaled by their number (marked ``~``).
"""

from __future__ import annotations

import argparse
import os
from functools import partial

import torch

from bench._frame import Times, in_turn, median, read_options, side_by_side
from bench._loops import HAS_LIGHTNING, OTHERS, OURS, Loop
from bench._rows import SIMULATED, experts_of, rows_to_train
from bench.kernel import print_forms
from nnt import load_config
from nnt.config import Config
from nnt.engine import ExpertData

ROWS = (5_000, 200_000, 1_000_000, 4_000_000)
BATCHES = {
    "16": (16,) * 5,
    "128": (128,) * 5,
    "2048": (2048,) * 5,
    "mixed": (2048, 2048, 16, 128, 16),
}
PART = {"16": 72_000, "128": SIMULATED, "2048": SIMULATED, "mixed": SIMULATED}
"""Rows of the largest table that all but the compiled loops are timed on."""
COMPILED = "nnt compiled"
MIN_S = 0.5
MIN_EPOCHS, MAX_EPOCHS = 5, 200
"""Of NNT's loops: their start, a fraction of a second, is part of their times."""
LOSS_EXPERT, LOSS_BATCH, LOSS_EPOCHS, LOSS_MAX_EPOCHS = 1, 128, 10, 50

Rows = dict[int, ExpertData]
Key = tuple[str, int]


def main() -> None:
    """Print the tables."""
    options = read_options(__doc__, rounds=3, rows=ROWS, batches=BATCHES)
    torch.set_num_threads(1)
    if not HAS_LIGHTNING:
        print("Lightning is not installed (pip install lightning): it is left out")
    base = load_config("baseline_v2", overrides={"early_stopping_patience": None})
    print(
        f"{os.cpu_count()} cores, torch {torch.__version__}, medians of "
        f"{options.rounds} rounds. Wall (CPU) ms an epoch of five experts; rows "
        "trained per second of CPU time, validation included; ratios of the times"
    )
    for name in options.batches:
        _print_epochs(name, _in_turn(base, name, options), options.rows)
    _print_time_to_loss(base, experts_of(SIMULATED)[LOSS_EXPERT], options.rounds)
    print()
    print_forms(options.rounds)


def _key(loop: str, name: str, n_rows: int) -> Key:
    """Which measurement tells a cell of the table."""
    return loop, n_rows if loop == COMPILED else min(n_rows, PART[name])


def _in_turn(
    base: Config, name: str, options: argparse.Namespace
) -> dict[Key, list[Times]]:
    """Time all loops on all tables, round by round."""
    loops = {**OURS, **OTHERS}
    keys = {_key(loop, name, n): None for n in options.rows for loop in loops}
    tables = {n: experts_of(n) for n in {n_rows for _, n_rows in keys}}
    for loop, n_rows in keys:
        # The first use of a table, of the compiled loops and of torch is slower.
        if loop in OURS:
            _together(loops[loop], tables[n_rows], _configs(base, name, 1))
    timed: dict[Key, list[Times]] = {key: [] for key in keys}
    for _ in range(options.rounds):
        for loop, n_rows in keys:
            rows = tables[n_rows]
            if loop in OURS:
                guess = _n_epochs(rows, 2e-7 if loop == COMPILED else 2e-5)
                n_epochs = max(guess, MIN_EPOCHS if loop == COMPILED else 1)
                configs = _configs(base, name, n_epochs)
                times = _together(loops[loop], rows, configs)
            else:
                configs = _configs(base, name, 1 + _n_epochs(rows, 3e-5))
                times = _one_by_one(loops[loop], rows, configs)
            timed[loop, n_rows].append(times)
    return timed


def _n_epochs(rows: Rows, guess_s: float) -> int:
    """Epochs enough to measure, if a row takes about this long."""
    return min(max(int(MIN_S / guess_s / rows_to_train(rows)), 1), MAX_EPOCHS)


def _configs(base: Config, name: str, epochs: int) -> dict[int, Config]:
    return {
        expert: load_config(base, {"batch_size": size, "epochs": epochs})
        for expert, size in enumerate(BATCHES[name])
    }


def _together(loop: Loop, rows: Rows, configs: dict[int, Config]) -> Times:
    """Time all experts side by side."""
    works = [partial(loop, rows[k], configs[k], k, lambda _: False) for k in configs]
    return side_by_side(works, os.cpu_count()) * (1 / configs[0].epochs)


def _one_by_one(loop: Loop, rows: Rows, configs: dict[int, Config]) -> Times:
    """Time the experts one after another, without their first epoch."""
    wall_s = cpu_s = 0.0
    for expert, config in configs.items():
        ends: list[Times] = []

        def told(_: float, ends: list[Times] = ends) -> bool:
            ends.append(Times.now())
            return False

        loop(rows[expert], config, expert, told)
        wall_s += (ends[-1].wall_s - ends[0].wall_s) / (len(ends) - 1)
        cpu_s += (ends[-1].cpu_s - ends[0].cpu_s) / (len(ends) - 1)
    return Times(wall_s, cpu_s)


def _print_epochs(name: str, timed: dict[Key, list[Times]], sizes: list[int]) -> None:
    others = [loop for loop in (*OURS, *OTHERS) if loop != COMPILED]
    print(f"\nbatch {name}\n{'rows':>9}  {COMPILED:>22} {'Mrows/s':>8}", end="")
    print("".join(f"  {loop:>26}" for loop in others))
    for n_rows in sizes:
        ours = median(timed[_key(COMPILED, name, n_rows)])
        # A third of the rows are trained on, a third is validated on.
        speed = n_rows / 3 / ours.cpu_s / 1e6
        print(f"{n_rows:9,}  {_ms(ours):>22} {speed:8.2f}", end="")
        for loop in others:
            n_timed = _key(loop, name, n_rows)[1]
            times = median(timed[loop, n_timed]) * (n_rows / n_timed)
            mark = "" if n_timed == n_rows else "~"
            print(f"  {mark + _ms(times):>16} {times.over(ours, 0):>9}", end="")
        print()


def _ms(times: Times) -> str:
    return f"{times.wall_s * 1e3:,.1f} ({times.cpu_s * 1e3:,.1f})"


def _print_time_to_loss(base: Config, data: ExpertData, rounds: int) -> None:
    """Print how long each loop takes to the loss that autograd reaches."""
    config = load_config(base, {"batch_size": LOSS_BATCH, "epochs": LOSS_EPOCHS})
    goal = _until(OTHERS["DataLoader"], data, config, 0.0)[-1][0]
    print(
        f"\nexpert {LOSS_EXPERT} ({len(data.x_train):,} rows to train), batch "
        f"{LOSS_BATCH}, to the validation loss {goal:.5f} that DataLoader reaches in "
        f"{LOSS_EPOCHS} epochs with another seed"
    )
    config = load_config(config, {"epochs": LOSS_MAX_EPOCHS, "seed": config.seed + 1})
    loops = {**OURS, **OTHERS}
    works = {n: partial(_until, loop, data, config, goal) for n, loop in loops.items()}
    found = in_turn(works, rounds, warm_up=False)
    ours = median([told[-1][1] for told in found[COMPILED]])
    for name, runs in found.items():
        times, (loss, _) = median([told[-1][1] for told in runs]), runs[0][-1]
        print(
            f"{name:>14} {_ms(times):>18} ms, {len(runs[0])} epochs, loss {loss:.5f}, "
            f"{times.over(ours, 0)} times"
        )


def _until(
    loop: Loop, data: ExpertData, config: Config, goal: float
) -> list[tuple[float, Times]]:
    """Losses of the epochs to the goal, and the times since the start."""
    told: list[tuple[float, Times]] = []
    start = Times.now()

    def note(loss: float) -> bool:
        if not told or told[-1][0] > goal:
            told.append((loss, Times.since(start)))
        return loss <= goal

    loop(data, config, LOSS_EXPERT, note)
    return told
