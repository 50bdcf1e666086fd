"""Parts of the compiled loops, each against the plain way to do it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from slow_objective import activate as plain_activation

from nnt.kernel.lanes import (
    OPTIONS,
    SQUARE,
    newton_quotient,
    newton_root,
    turn_square,
)
from nnt.kernel.plan import TILE, plan_of
from nnt.kernel.slopes import ACTIVATION_CODES, activate, by_output, target_of
from nnt.objective import objective_of
from nnt.types import F32


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _quotients(over: F32, under: F32, result: F32) -> None:
    for k in range(over.size):
        result[k] = newton_quotient(over[k], under[k])


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _roots(numbers: F32, result: F32) -> None:
    for k in range(numbers.size):
        result[k] = newton_root(numbers[k])


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def _turn(source: F32, result: F32, place: int, step: int) -> None:
    turn_square(source, place, step, result, 2 * place, step + 3)


def numbers(seed: int, n: int = 1 << 20) -> F32:
    """Of any size from 2^-40 to 2^40, evenly in their logarithms."""
    rng = np.random.default_rng(seed)
    return np.ldexp(rng.uniform(1, 2, n), rng.integers(-40, 40, n)).astype(np.float32)


def test_quotients_without_the_divider_are_rounded_as_by_it() -> None:
    over, under = numbers(1), numbers(2)
    found = np.empty_like(over)
    _quotients(over * np.float32(-1), under, found)
    assert np.count_nonzero(found != -over / under) <= 1


def test_roots_without_the_divider_are_rounded_as_by_it() -> None:
    squares = np.append(numbers(3), np.float32(np.nan))
    found = np.empty_like(squares)
    _roots(squares, found)
    np.testing.assert_array_equal(found, np.sqrt(squares))
    _roots(np.array([0, 1e-45, 1e-38], np.float32), found[:3])
    assert (found[:3] < 1e-18).all()


@given(st.integers(0, 9), st.integers(SQUARE, 50))
def test_a_square_is_turned(place: int, step: int) -> None:
    source = np.arange(1000, dtype=np.float32)
    result = np.zeros(1200, np.float32)
    _turn(source, result, place, step)
    expected = np.zeros_like(result)
    for row in range(SQUARE):
        for column in range(SQUARE):
            at = 2 * place + column * (step + 3) + row
            expected[at] = source[place + row * step + column]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", ACTIVATION_CODES)
def test_activations_are_exact_to_rounding(name: str) -> None:
    values = np.linspace(-12, 12, 100_001, dtype=np.float32)
    found = values.copy()
    activate(ACTIVATION_CODES[name], found)
    expected = plain_activation(name, values.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=2e-7)


@given(
    st.integers(1, 130),
    st.lists(st.integers(1, 200), max_size=5),
    st.integers(1, 4),
)
def test_no_two_weights_share_a_place(
    inputs: int, hidden: list[int], outputs: int
) -> None:
    nodes = (inputs, *hidden, outputs)
    plan = plan_of(nodes)
    flat = np.zeros(plan.n_weights, np.float32)
    for name in plan.views:
        plan.view(flat, name)[...] += 1
    n_weights = sum((a + 1) * b for a, b in itertools.pairwise(nodes))
    assert flat.max() == 1
    assert flat.sum() == n_weights


def test_slopes_are_products_in_the_order_in_which_they_are_written() -> None:
    # Otherwise a training rounds differently where the loops have just been compiled.
    rng = np.random.default_rng(0)
    out, y, w = rng.uniform(-1, 1, (3, TILE, 2)).astype(np.float32)
    objective = objective_of(("z", "theta"), "tanh/2")
    n_batch, err = 96, np.empty_like(out)
    by_output(target_of(objective, 0), y, w, (n_batch, np.arange(TILE)), out, err)
    slope = np.float32(2 * objective.columns[0].factor / n_batch)
    np.testing.assert_array_equal(err, (out - y) * slope * w)
