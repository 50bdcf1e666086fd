"""Losses and their gradients, here and in the backend, against PyTorch's functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from slow_objective import activate, gradient
from torch import Tensor

from nnt.engine.torch_backend import TorchLoss
from nnt.errors import ConfigError
from nnt.networks.module import ACTIVATION_MODULES as ACTIVATIONS
from nnt.objective import (
    CLASS_KINDS,
    CLASS_OUTPUTS,
    REGRESSION_KINDS,
    Objective,
    logits_of,
    objective_of,
    value,
)
from nnt.types import F64

CUT = (0.7, 0.4)
OUTPUTS = [
    ("z",),
    ("z", "theta"),
    ("nnt",),
    ("z", "theta", "nnt"),
    ("z", "theta", "nnt", "stt"),
]
RESIDUAL_LOSSES = {
    "MSELoss": torch.nn.MSELoss(reduction="none"),
    "L1Loss": torch.nn.L1Loss(reduction="none"),
    "SmoothL1Loss": torch.nn.SmoothL1Loss(reduction="none"),
    "HuberLoss": torch.nn.HuberLoss(reduction="none"),
}


@st.composite
def objectives(draw: st.DrawFn) -> tuple[Objective, str, str]:
    """Draw an objective and the names of its losses."""
    outputs = draw(st.sampled_from(OUTPUTS))
    plain = "z" not in outputs or any(name in CLASS_OUTPUTS for name in outputs)
    losses = [n for n in REGRESSION_KINDS if n != "TriggerLoss" or not plain]
    loss, class_loss = (
        draw(st.sampled_from(losses)),
        draw(st.sampled_from([*CLASS_KINDS])),
    )
    activation = draw(st.sampled_from([*ACTIVATIONS]))
    weight = draw(st.sampled_from([0.2, 1.0]))
    made = objective_of(outputs, activation, loss, class_loss, weight)
    return made, loss, class_loss


def torch_loss(
    names: tuple[Objective, str, str], pre: Tensor, y: Tensor, w: Tensor, cut: Tensor
) -> Tensor:
    """Loss of a batch as PyTorch's own functions tell it, output by output."""
    objective, loss, class_loss = names
    out = ACTIVATIONS[objective.activation]()(pre)
    total = torch.zeros((), dtype=torch.float64)
    for c, column in enumerate(objective.columns):
        is_class = column.output in CLASS_OUTPUTS
        if is_class and class_loss == "CrossEntropyLoss":
            logits = pre[:, c] * (2 if objective.activation == "tanh" else 1)
            rows = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, (y[:, c] + 1) / 2, reduction="none"
            )
        else:
            name = class_loss if is_class else loss.replace("Trigger", "MSE")
            rows = RESIDUAL_LOSSES[name](out[:, c], y[:, c])
        total = total + column.factor * (w[:, c] * rows).mean()
    if objective.decision is not None:
        logits = torch.exp(cut[0]) * (cut[1] - torch.abs(out[:, 0]))
        rows = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, (y[:, -1] + 1) / 2, reduction="none"
        )
        total = total + objective.decision * (w[:, -1] * rows).mean()
    return total


def rows_for(objective: Objective, seed: int, n: int = 9) -> tuple[F64, F64, F64]:
    """Pre-activations, targets (classes are -1 or 1) and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    pre = rng.normal(size=(n, objective.n_outputs))
    y = rng.normal(size=(n, objective.n_targets))
    outputs = [column.output for column in objective.columns] + ["decision"]
    for c, name in enumerate(outputs[: objective.n_targets]):
        if name not in ("z", "theta"):
            y[:, c] = rng.choice([-1, 1], n)
    w = rng.uniform(0, 2, y.shape) * rng.choice([0, 1], y.shape, p=(0.3, 0.7))
    return pre, y, w


@given(objectives(), st.integers(0, 99), st.booleans())
def test_value_and_gradient_are_those_of_torch(
    names: tuple[Objective, str, str], seed: int, is_weighted: bool
) -> None:
    objective = names[0]
    pre, y, w = rows_for(objective, seed)
    rows = torch.from_numpy(y), torch.from_numpy(w if is_weighted else np.ones_like(w))
    a, cut = torch.from_numpy(pre), torch.tensor(CUT, dtype=torch.float64)
    a.requires_grad_(), cut.requires_grad_()
    expected = torch_loss(names, a, *rows, cut)
    torch.autograd.backward(expected)
    assert a.grad is not None
    weights, logits = w if is_weighted else None, objective.steepness * pre
    outputs = activate(objective.activation, pre)
    found = value(objective, outputs, y, weights, logits, CUT)
    assert found == pytest.approx(expected.item(), rel=1e-12)
    by_pre, by_cut = gradient(objective, pre, y, weights, CUT)
    np.testing.assert_allclose(by_pre, a.grad.numpy(), rtol=1e-10, atol=1e-15)
    if cut.grad is not None:
        np.testing.assert_allclose(by_cut, cut.grad.numpy(), rtol=1e-10, atol=1e-15)
    # The loss of the backend is the same; there, what does not count may be no number.
    if weights is not None:
        y[w == 0] = np.nan
    loss, sums = TorchLoss(objective).double(), torch.from_numpy(pre).requires_grad_()
    if objective.decision is not None:
        loss.decision.data = torch.tensor(CUT, dtype=torch.float64)
        assert loss.cut == CUT
    of_torch = ACTIVATIONS[objective.activation]()(sums)
    same = loss(of_torch, sums, rows[0], None if weights is None else rows[1])
    same.backward()
    assert same.item() == pytest.approx(expected.item(), rel=1e-6)
    assert sums.grad is not None
    np.testing.assert_allclose(sums.grad.numpy(), by_pre, rtol=1e-6, atol=1e-9)
    if cut.grad is not None:
        assert loss.decision.grad is not None
        found_by_cut = loss.decision.grad.numpy()
        np.testing.assert_allclose(found_by_cut, by_cut, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_logits_come_back_from_outputs(activation: str) -> None:
    objective = objective_of(["nnt"], activation)
    pre = np.linspace(0 if activation == "relu" else -6, 6, 25)
    found = logits_of(objective, activate(activation, pre))
    np.testing.assert_allclose(found, objective.steepness * pre, rtol=1e-6)
    saturated = activate(activation, np.array([-100, 100], np.float32))
    assert np.isfinite(logits_of(objective, saturated.astype(np.float32))).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_of_weight_0_may_hold_anything(bad: float) -> None:
    objective = objective_of(["z", "theta"], "tanh/2", "TriggerLoss")
    pre, y, w = rows_for(objective, 1)
    w[4] = 0
    found = (
        value(objective, activate("tanh/2", pre), y, w),
        gradient(objective, pre, y, w),
    )
    y[4] = bad
    assert value(objective, activate("tanh/2", pre), y, w) == found[0]
    for before, after in zip(found[1], gradient(objective, pre, y, w), strict=True):
        np.testing.assert_array_equal(after, before)


def test_mse_of_z_and_theta_is_the_mean_over_all() -> None:
    objective = objective_of(["z", "theta"], "tanh/2")
    pre, y, _ = rows_for(objective, 2)
    out = activate("tanh/2", pre)
    assert value(objective, out, y) == pytest.approx(np.mean((out - y) ** 2), rel=1e-14)


@pytest.mark.parametrize(
    ("outputs", "loss", "class_loss", "message"),
    [
        (["z"], "MSE", "MSELoss", "loss: unknown 'MSE'; did you mean 'MSELoss'"),
        (["nnt"], "MSELoss", "L1Loss", "class_loss: unknown 'L1Loss'"),
        (["z", "nnt"], "TriggerLoss", "MSELoss", "TriggerLoss is for networks"),
        (["theta"], "TriggerLoss", "MSELoss", "TriggerLoss is for networks"),
    ],
)
def test_refuses_what_there_is_not(
    outputs: list[str], loss: str, class_loss: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        objective_of(outputs, "tanh/2", loss, class_loss)
