"""What a network costs in hardware, against networks counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnt import fixedpoint
from nnt.errors import DataError
from nnt.networks import Form, initial_state


def test_the_cost_of_a_network_counted_by_hand() -> None:
    """2-2-1 at 2 fractional bits: first layer 4 0 -3 1 with biases 8 0, then 2 -2."""
    form = Form(2, (2,), ("z",))
    layers = [
        (np.array([[1.0, 0.0], [-0.75, 0.25]]), np.array([2.0, 0.1])),
        (np.array([[0.5, -0.5]]), np.array([0.0])),
    ]
    found = fixedpoint.hardware_cost(form, layers, (12, 8, 8, 3, 2, 4))
    # Integers 4, 0, -3, 1; 2, -2 have 3, -, 2, 1; 2, 2 digits and a sign; nodes 3 + 1.
    operations = 4 * (4 + 3 + 2) + 4 * (3 + 3)
    # The largest of 9 numbers is 8: four digits and a sign. The table ends where
    # tanh(x / 2) rounds to 8 of 8: 2 * atanh(15 / 16) * 16.
    assert found == {
        "hardware/multiplications": 5,
        "hardware/weight_bits": 9 * 5,
        "hardware/bit_operations": operations,
        "hardware/table_entries": math.ceil(2 * math.atanh(15 / 16) * 16),
    }


def test_the_cost_of_a_3d_hough_network_counted_by_hand() -> None:
    """1-1-1: the largest weight, 4, leaves 15 fractional bits."""
    form = Form(1, (1,), ("nnt",), "tanh")
    layers = [
        (np.array([[4.0]]), np.array([0.0])),
        (np.array([[2.0**-15]]), np.array([2.0**-17])),
    ]
    found = fixedpoint.hardware_cost(form, layers)
    assert found == {
        "hardware/multiplications": 2,
        "hardware/weight_bits": 4 * 19,
        "hardware/bit_operations": 14 * 19 + 13 * 2,
        "hardware/table_entries": 4096,
    }


def test_the_cost_of_the_network_of_today() -> None:
    form = Form()
    state = initial_state(form, np.random.default_rng(0))
    arrays = [abs(value) + np.float32(0.001) for value in state.values()]
    layers = list(zip(arrays[::2], arrays[1::2], strict=True))
    found = fixedpoint.hardware_cost(form, layers)
    assert found["hardware/multiplications"] == 27 * 81 + 81 * 2
    assert found["hardware/table_entries"] == 9937
    assert found["hardware/weight_bits"] % 2432 == 0


def test_other_activations_have_no_cost_in_hardware() -> None:
    with pytest.raises(DataError, match="the firmware has no relu"):
        fixedpoint.hardware_cost(Form(activation="relu"), [(np.ones((1, 1)), [0.0])])
