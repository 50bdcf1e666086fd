"""How near the compiled epoch comes to what the machine can do, and what is between.

``python -m bench limit`` prints, for one core: the peak rate of fused multiply-adds,
the rate of matrix products, large and of the shapes of the firmware's network; for
networks of five forms what the compiled epoch reaches at every batch size; and what
each part of the loops takes in the firmware's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from numba import njit

from bench._forms import FORMS, flop, kernel_epoch, kernel_of, rows
from bench._frame import Work, least_cpu_s, read_options
from nnt.detector import N_HIDDEN, N_INPUTS
from nnt.kernel import loops, plan, slopes
from nnt.kernel.lanes import LANES, add_product, load, store
from nnt.kernel.plan import TILE
from nnt.networks import Form
from nnt.objective import objective_of
from nnt.types import F32

BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
SOME_BATCHES = (16, 128, 2048)
FIRMWARE = "27-81-2"
ROWS = 13_200
REPEATS = 100


def main() -> None:
    """Print the tables."""
    rounds = read_options(__doc__, rounds=15).rounds
    torch.set_num_threads(1)
    rates = peak_rates(rounds)
    print("GFLOP/s of one core")
    for name, rate in rates.items():
        print(f"  {name:28} {rate:6.1f}")
    peak = max(rates.values())
    for name, form in FORMS.items():
        _print_epochs(name, form, rounds, peak)
    _print_parts(rounds, peak)


@njit(nogil=True)
def _multiply_add(times: int, kept: F32) -> None:
    # Sums in registers alone, more of them than it takes to hide the latency.
    u = load(kept, 0)
    s0, s1, s2, s3, s4, s5 = u, u, u, u, u, u
    for _ in range(times):
        s0, s1 = add_product(s0, u, u), add_product(s1, u, u)
        s2, s3 = add_product(s2, u, u), add_product(s3, u, u)
        s4, s5 = add_product(s4, u, u), add_product(s5, u, u)
    s0, s1 = add_product(s0, s1, s2), add_product(s3, s4, s5)
    store(kept, 0, add_product(s0, s1, u))


def peak_rates(rounds: int) -> dict[str, float]:
    """GFLOP/s of one core: of multiply-adds alone, and of matrix products in torch."""
    kept = np.zeros(LANES, np.float32)
    works: dict[str, Work] = {"FMA": partial(_multiply_add, 1000, kept)}
    flops = {"FMA": 2.0 * 6 * LANES * 1000}
    shapes = {"1024 x 1024 x 1024": (1024, 1024, 1024)}
    for size in SOME_BATCHES:
        shapes[f"forward, batch {size}"] = (size, N_INPUTS, N_HIDDEN)
        shapes[f"weight gradient, batch {size}"] = (N_INPUTS, size, N_HIDDEN)
    for name, (n, k, m) in shapes.items():
        a, b, out = torch.rand(n, k), torch.rand(k, m), torch.empty(n, m)
        works[name] = partial(torch.mm, a, b, out=out)
        flops[name] = 2.0 * n * k * m
    return {n: flops[n] / s / 1e9 for n, s in least_cpu_s(works, rounds).items()}


def _print_epochs(name: str, form: Form, rounds: int, peak: float) -> None:
    """Print what whole epochs reach, without validation, and validation."""
    data = rows(form, ROWS)
    works: dict[str, Work] = {
        str(size): kernel_epoch(form, data, size)
        for size in (BATCHES if name == FIRMWARE else SOME_BATCHES)
    }
    works["validation"] = partial(kernel_of(form).predict, data[0])
    print(f"\n{name:>15} {'Mrows/s':>8} {'ns/row':>7} {'GFLOP/s':>8} {'of peak':>8}")
    for batch, seconds in least_cpu_s(works, rounds).items():
        rate = flop(form)[batch != "validation"] * ROWS / seconds / 1e9
        print(
            f"{batch:>15} {ROWS / seconds / 1e6:8.2f} {seconds / ROWS * 1e9:7.0f} "
            f"{rate:8.1f} {rate / peak:8.0%}"
        )


def _print_parts(rounds: int, peak: float) -> None:
    """Print what the parts of the loops take, each alone on a tile in the cache."""
    times = {n: s / REPEATS * 1e9 for n, s in least_cpu_s(_parts(), rounds).items()}
    update = times.pop("update")
    large = 2 * N_INPUTS * N_HIDDEN
    least = {"product": large, "gradient of the first layer": large}
    print(f"\n{'each part alone, ns a row':30} {'takes':>7} {'at peak':>9}")
    for name, found in times.items():
        at_peak = f"{least[name] / peak:9.0f}" if name in least else ""
        print(f"{name:30} {found / TILE:7.1f} {at_peak}")
    print(f"update of the weights: {update:,.0f} ns a batch")


def _repeated(part: Any, *values: Any) -> Work:
    """Call one of the compiled functions often, from a compiled loop."""

    @njit
    def run(values: tuple[Any, ...]) -> None:
        for _ in range(REPEATS):
            part(*values)

    return partial(run, values)


def _parts() -> dict[str, Work]:
    rng = np.random.default_rng(3)

    def numbers(size: int) -> F32:
        made: F32 = loops.aligned_zeros(size)
        made[:] = rng.uniform(-0.1, 0.1, size)
        return made

    form = FORMS[FIRMWARE]
    x, y, _ = rows(form, ROWS)
    no_weights = np.zeros((0, 0), np.float32)
    here = rng.permutation(ROWS)[:TILE]
    places = plan.plan_of(form.nodes)
    forward, _, gradients, _, last = places.tables
    target = slopes.target_of(objective_of(form.outputs, form.activation), 0)
    p, g = (numbers(places.n_weights) for _ in range(2))
    tile = numbers(places.n_tile)
    inputs = tile[: TILE * places.inputs_step].reshape(TILE, -1)
    out, err = (numbers(TILE * 2).reshape(TILE, 2) for _ in range(2))
    hidden = int(forward[0]["width"]) * TILE
    first, second = (np.abs(numbers(places.n_weights)) for _ in range(2))
    act, index = target.act, (2048, here)
    return {
        "gather": _repeated(loops.gather, x, here, TILE, inputs),
        "product": _repeated(plan.multiply, forward[0], tile, p, TILE),
        "activation": _repeated(slopes.activate, act, numbers(hidden)),
        "outputs": _repeated(plan.last_sums, last[0], tile, p, out, TILE),
        "loss": _repeated(slopes.by_output, target, y, no_weights, index, out, err),
        "gradient of the last layer": _repeated(
            plan.add_last_gradient, last[0], tile, err, g, TILE, False
        ),
        "slopes of the hidden layer": _repeated(
            plan.slopes_before_last, last[0], tile, err, p, TILE
        ),
        "slope of the activation": _repeated(
            slopes.times_slope, act, numbers(hidden), numbers(hidden)
        ),
        "gradient of the first layer": _repeated(
            plan.add_gradient, gradients[0], tile, g, TILE, False
        ),
        "update": _repeated(loops.adam, p, g, first, second, 1000, 1e-3, 1e-6, False),
    }
