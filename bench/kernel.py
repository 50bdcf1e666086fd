"""Rows a second of the compiled epoch against autograd with fused Adam."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from nnt.kernel import Kernel
from nnt.networks import Form, build_module, initial_state

ROWS, ROUNDS = 13_200, 5  # one expert's training rows of a 200,000-row file


def _torch_epoch(x: np.ndarray, y: np.ndarray, batch_size: int) -> Callable[[], object]:
    model = build_module(Form())
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)

    def epoch() -> None:
        for batch in torch.split(torch.randperm(len(inputs)), batch_size):
            loss = torch.nn.functional.mse_loss(model(inputs[batch]), targets[batch])
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()

    return epoch


def _kernel_epoch(
    x: np.ndarray, y: np.ndarray, batch_size: int
) -> Callable[[], object]:
    rng = np.random.default_rng(1)
    kernel = Kernel(initial_state(Form(), rng), "tanh/2", "Adam")
    return lambda: kernel.train_epoch(x, y, rng.permutation(len(x)), batch_size, 1e-3)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Print one line for each batch size: medians of alternating rounds."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (ROWS, 27)).astype(np.float32)
    y = rng.uniform(-0.9, 0.9, (ROWS, 2)).astype(np.float32)
    print("batch   compiled Mrows/s   autograd Mrows/s   ratio")
    for batch_size in (16, 128, 2048):
        runs = [make(x, y, batch_size) for make in (_kernel_epoch, _torch_epoch)]
        for run in runs:
            run()
        rounds = [[_seconds(run) for run in runs] for _ in range(ROUNDS)]
        ours, theirs = (
            statistics.median(column) for column in zip(*rounds, strict=True)
        )
        speeds = ROWS / ours / 1e6, ROWS / theirs / 1e6
        print(
            f"{batch_size:5d} {speeds[0]:18.2f} {speeds[1]:18.3f} {theirs / ours:7.1f}"
        )


if __name__ == "__main__":
    main()
