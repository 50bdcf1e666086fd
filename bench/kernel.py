"""The compiled epoch beside a DataLoader loop, for networks of five forms.

``python -m bench kernel`` prints, for each form and batch size, what a row takes in
the compiled loops, the share of the peak of one core that its products reach, and how
many times as long a plain DataLoader loop takes. One thread each, without validation;
the least of several rounds, in turn.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch

from bench._forms import FORMS, dataloader_epoch, flop, kernel_epoch, rows
from bench._timing import in_turn
from bench.limit import peak_rates

__all__ = ["main", "print_forms"]

BATCHES = {16: 2_000, 128: 8_000, 2048: 16_000}
"""Rows of an epoch by batch size: enough to measure a DataLoader loop."""


def main() -> None:
    """Print one line for each form and batch size."""
    parser = argparse.ArgumentParser(prog="python -m bench kernel")
    parser.add_argument("--rounds", type=int, default=7)
    torch.set_num_threads(1)
    print_forms(parser.parse_args().rounds)


def print_forms(rounds: int) -> None:
    """Print the table."""
    peak = max(peak_rates(rounds).values())
    print(
        f"peak {peak:.0f} GFLOP/s of one core; CPU time of an epoch, without validation"
    )
    print(f"{'form':>15} {'batch':>6} {'ns/row':>7} {'of peak':>8} {'DataLoader':>11}")
    for name, form in FORMS.items():
        for batch_size, n_rows in BATCHES.items():
            data = rows(form, n_rows)
            works = {
                make.__name__: partial(make, form, data, batch_size)()
                for make in (kernel_epoch, dataloader_epoch)
            }
            ours, theirs = in_turn(works, rounds).values()
            share = flop(form)[1] * n_rows / ours / 1e9 / peak
            print(
                f"{name:>15} {batch_size:6} {ours / n_rows * 1e9:7.0f} {share:8.0%} "
                f"{theirs / ours:9.0f} x"
            )


if __name__ == "__main__":
    main()
