"""How near the compiled epoch comes to what the machine can do, and what is between.

``python -m bench limit`` prints, for one core: the peak rate of fused multiply-adds,
the rate of matrix products, large and of the shapes of the network, what the compiled
epoch reaches at every batch size, and what each of its parts takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit

from bench._timing import in_turn
from nnt.detector import N_HIDDEN, N_INPUTS
from nnt.kernel import ACTIVATION_CODES, OPTIMISER_CODES, Kernel, loops
from nnt.kernel.lanes import LANES, add_product, load, store
from nnt.networks import Form, initial_state

OUTPUTS = 2
FORWARD = 2 * (N_INPUTS * N_HIDDEN + N_HIDDEN * OUTPUTS)
BACKWARD = 2 * (N_INPUTS * N_HIDDEN + 2 * N_HIDDEN * OUTPUTS)
FLOP = FORWARD + BACKWARD
"""Floating-point operations of the products of one row."""
BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
ROWS = 13_200
TILE, WIDTH = loops.TILE, loops.WIDTH
REPEATS = 100
ACT, OPTIM = "tanh/2", "Adam"

Work = Callable[[], object]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench limit")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    peak = _print_peaks(rounds)
    _print_epochs(rounds, peak)
    _print_parts(rounds, peak)


@njit(nogil=True)
def _multiply_add(times: int, kept: npt.NDArray[np.float32]) -> None:
    # Sums in registers alone, more of them than it takes to hide the latency.
    u = load(kept, 0, 0)
    s0, s1, s2, s3, s4, s5 = u, u, u, u, u, u
    for _ in range(times):
        s0, s1 = add_product(s0, u, u), add_product(s1, u, u)
        s2, s3 = add_product(s2, u, u), add_product(s3, u, u)
        s4, s5 = add_product(s4, u, u), add_product(s5, u, u)
    s0, s1 = add_product(s0, s1, s2), add_product(s3, s4, s5)
    store(kept, 0, 0, add_product(s0, s1, u))


def _print_peaks(rounds: int) -> float:
    """Print rates of one core; return the peak in GFLOP/s."""
    kept = np.zeros((1, LANES), np.float32)
    works: dict[str, Work] = {"FMA": partial(_multiply_add, 1000, kept)}
    flops = {"FMA": 2.0 * 6 * LANES * 1000}
    products = {"1024 x 1024 x 1024": (1024, 1024, 1024)}
    for size in (16, 128, 2048):
        products[f"forward, batch {size}"] = (size, N_INPUTS, N_HIDDEN)
        products[f"weight gradient, batch {size}"] = (N_INPUTS, size, N_HIDDEN)
    for name, (n, k, m) in products.items():
        a, b, out = torch.rand(n, k), torch.rand(k, m), torch.empty(n, m)
        works[name] = partial(torch.mm, a, b, out=out)
        flops[name] = 2.0 * n * k * m
    rates = {n: flops[n] / s / 1e9 for n, s in in_turn(works, rounds).items()}
    print("GFLOP/s of one core")
    for name, rate in rates.items():
        print(f"  {name:28} {rate:6.1f}")
    return max(rates.values())


def _rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (ROWS, N_INPUTS)).astype(np.float32)
    return x, rng.uniform(-0.9, 0.9, (ROWS, OUTPUTS)).astype(np.float32)


def _kernel() -> Kernel:
    state = initial_state(Form(activation=ACT), np.random.default_rng(1))
    return Kernel(state, ACT, OPTIM)


def _print_epochs(rounds: int, peak: float) -> None:
    """Print what whole epochs reach, without validation, and validation."""
    x, y = _rows()
    order = np.random.default_rng(2).permutation(ROWS)
    works: dict[str, Work] = {
        str(size): partial(_kernel().train_epoch, x, y, order, size, 1e-3)
        for size in BATCHES
    }
    works["validation"] = partial(_kernel().predict, x)
    print(f"\n{'batch':>10} {'Mrows/s':>8} {'ns/row':>7} {'GFLOP/s':>8} {'of peak':>8}")
    for name, seconds in in_turn(works, rounds).items():
        rate = (FORWARD if name == "validation" else FLOP) * ROWS / seconds / 1e9
        print(
            f"{name:>10} {ROWS / seconds / 1e6:8.2f} {seconds / ROWS * 1e9:7.0f} "
            f"{rate:8.1f} {rate / peak:8.0%}"
        )


def _print_parts(rounds: int, peak: float) -> None:
    """Print what the parts of the loops take, each alone on a tile in the cache."""
    times = {n: s / REPEATS * 1e9 for n, s in in_turn(_parts(), rounds).items()}
    update = times.pop("update")
    products = {"forward": FORWARD, "backward": BACKWARD}
    print(f"\n{'each part alone, ns a row':26} {'takes':>7} {'products at peak':>18}")
    for name, found in times.items():
        least = f"{products[name] / peak:18.0f}" if name in products else ""
        print(f"{name:26} {found / TILE:7.1f} {least}")
    print(f"update of the weights: {update:,.0f} ns a batch")


def _repeated(part: Any, *values: Any) -> Work:
    """Call one of the compiled loops often, from a compiled loop."""

    @njit
    def run(values: tuple[Any, ...]) -> None:
        for _ in range(REPEATS):
            part(*values)

    return partial(run, values)


def _parts() -> dict[str, Work]:
    x, y = _rows()
    order = np.random.default_rng(2).permutation(ROWS)
    act, optim = ACTIVATION_CODES[ACT], OPTIMISER_CODES[OPTIM]
    rng = np.random.default_rng(3)

    def numbers(rows: int, columns: int) -> np.ndarray:
        made: np.ndarray = loops.aligned_zeros(rows, columns)
        made[:] = rng.uniform(-0.1, 0.1, made.shape)
        return made

    n_inputs = -(-(N_INPUTS + 1) // loops.BLOCK) * loops.BLOCK
    w1, w2, b2 = numbers(n_inputs, WIDTH), numbers(OUTPUTS, WIDTH), numbers(1, OUTPUTS)
    g1, g2, gb = numbers(n_inputs, WIDTH), numbers(OUTPUTS, WIDTH), numbers(1, OUTPUTS)
    xt, hid, d = numbers(TILE, n_inputs), numbers(TILE, WIDTH), numbers(TILE, WIDTH)
    out, err = numbers(TILE, OUTPUTS), numbers(TILE, OUTPUTS)
    flat = [np.abs(numbers(1, w1.size + w2.size + 2)[0]) for _ in range(4)]
    scale = np.float32(1e-3)
    return {
        "gather": _repeated(loops._gather, x, order, 64, TILE, TILE, xt),
        "forward": _repeated(loops._forward, act, xt, w1, w2, b2[0], hid, out, TILE),
        "  activation within": _repeated(loops._activate, act, hid.reshape(-1)),
        "errors": _repeated(loops._errors, y, order, 64, TILE, TILE, scale, out, err),
        "backward": _repeated(
            loops._backward, act, xt, w2, hid, err, d, g1, g2, gb[0], TILE
        ),
        "  slope within": _repeated(
            loops._times_slope, act, hid.reshape(-1), d.reshape(-1)
        ),
        "update": _repeated(loops._update, optim, *flat, 1000, 1e-3, 1e-6),
    }


if __name__ == "__main__":
    main()
