"""The compiled epoch beside a DataLoader loop, for networks of five forms.

``python -m bench kernel`` prints, for each form and batch size, what a row takes in
the compiled loops, the share of the peak of one core that its products reach, and how
many times as long a plain DataLoader loop takes, without validation and with that of as
many rows. One thread each; the least CPU time of several rounds, in turn.
"""

from __future__ import annotations

import argparse

import torch

from bench._forms import (
    FORMS,
    dataloader_epoch,
    dataloader_validation,
    flop,
    kernel_epoch,
    kernel_validation,
    rows,
)
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
    print(f"of the peak: {peak:.0f} GFLOP/s of one core; times over those of our loops")
    print(
        f"{'form':>15} {'batch':>6} {'ns/row':>7} {'of peak':>8} {'DataLoader':>11} "
        f"{'with validation':>16}"
    )
    makers = kernel_epoch, kernel_validation, dataloader_epoch, dataloader_validation
    for name, form in FORMS.items():
        for batch_size, n_rows in BATCHES.items():
            data = rows(form, n_rows)
            works = {make.__name__: make(form, data, batch_size) for make in makers}
            ours, our_val, theirs, their_val = in_turn(works, rounds).values()
            share = flop(form)[1] * n_rows / ours / 1e9 / peak
            whole = (theirs + their_val) / (ours + our_val)
            print(
                f"{name:>15} {batch_size:6} {ours / n_rows * 1e9:7.0f} {share:8.0%} "
                f"{theirs / ours:9.0f} x {whole:14.0f} x"
            )


if __name__ == "__main__":
    main()
