"""The compiled epoch beside a DataLoader loop, for networks of five forms.

``python -m bench kernel`` prints, for each form and batch size, what a row takes in
the compiled loops, the share of the peak of one core that its products reach, and how
many times as long a plain DataLoader loop takes: compared with ours; with loops that
did nothing but these products, at the peak (more is out of reach); and with ours, both
with validation of as many rows. One thread each; the least CPU time of several rounds,
in turn. The last column is wall time: five experts in DataLoader loops, one after
another, compared with ours on all cores.
"""

from __future__ import annotations

import torch

from bench._forms import (
    FORMS,
    Rows,
    Tutorial,
    flop,
    kernel_epoch,
    kernel_validation,
    rows,
)
from bench._frame import Work, in_turn, least_cpu_s, read_options, side_by_side
from bench.limit import peak_rates
from nnt.detector import EXPERTS
from nnt.machine import usable_cores
from nnt.networks import Form

BATCHES = {16: 2_000, 128: 8_000, 2048: 16_000}
"""Rows of an epoch by batch size: enough to measure a DataLoader loop."""
EPOCHS = 5


def main() -> None:
    """Print one line for each form and batch size."""
    rounds = read_options(__doc__, rounds=7).rounds
    torch.set_num_threads(1)
    print_forms(rounds)


def print_forms(rounds: int) -> None:
    """Print the table."""
    peak = max(peak_rates(rounds).values())
    print(
        f"of peak: {peak:.0f} GFLOP/s of one core; x: time of a DataLoader loop over "
        "ours, over that of\nloops at the peak, over ours with validation, and of five "
        f"experts on {usable_cores()} cores by wall time\n"
        f"{'form':>15} {'batch':>6} {'ns/row':>7} {'of peak':>8} {'ours':>7} "
        f"{'at peak':>8} {'with val':>9} {'5 experts':>10}"
    )
    for name, form in FORMS.items():
        for batch_size, n_rows in BATCHES.items():
            data = rows(form, n_rows)
            tutorial = Tutorial(form, data, batch_size)
            works = {
                "ours": kernel_epoch(form, data, batch_size),
                "our validation": kernel_validation(form, data),
                "theirs": tutorial.train,
                "their validation": tutorial.validate,
            }
            ours, our_val, theirs, their_val = least_cpu_s(works, rounds).values()
            at_peak = flop(form)[1] * n_rows / peak / 1e9
            whole = (theirs + their_val) / (ours + our_val)
            five = _five_experts(form, data, batch_size, rounds)
            print(
                f"{name:>15} {batch_size:6} {ours / n_rows * 1e9:7.0f} "
                f"{at_peak / ours:8.0%} {theirs / ours:5.0f} x {theirs / at_peak:6.0f} "
                f"x {whole:7.0f} x {five:8.0f} x"
            )


def _five_experts(form: Form, data: Rows, batch_size: int, rounds: int) -> float:
    """Wall time of DataLoader loops one after another over ours side by side."""
    ours = [_epochs(kernel_epoch(form, data, batch_size)) for _ in EXPERTS]
    theirs = Tutorial(form, data, batch_size).train
    works = {
        "theirs": lambda: side_by_side([theirs], 1).wall_s,
        "ours": lambda: side_by_side(ours, usable_cores()).wall_s,
    }
    walls = in_turn(works, rounds, warm_up=False)
    return min(walls["theirs"]) * len(EXPERTS) * EPOCHS / min(walls["ours"])


def _epochs(epoch: Work) -> Work:
    """Do several, so that starting threads does not count."""
    return lambda: [epoch() for _ in range(EPOCHS)]
