"""The compiled epoch against PyTorch's autograd and optimisers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from llvmlite import binding
from torch import nn

from nnt.errors import TrainingError
from nnt.kernel import ACTIVATION_CODES, OPTIMISER_CODES, Kernel, NonFiniteLossError
from nnt.kernel.lanes import LANES
from nnt.networks import OUTPUTS, Form, build_module, initial_state

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
MakeOptimiser = Callable[[Iterable[nn.Parameter], float, float], torch.optim.Optimizer]

OPTIMISERS: dict[str, MakeOptimiser] = {
    "Adam": lambda p, lr, wd: torch.optim.Adam(p, lr=lr, weight_decay=wd),
    "AdamW": lambda p, lr, wd: torch.optim.AdamW(p, lr=lr, weight_decay=wd),
    "SGD": lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd, momentum=0.9),
    "Rprop": lambda p, lr, wd: torch.optim.Rprop(p, lr=lr),
}
RATES = {"Adam": 1e-3, "AdamW": 1e-3, "SGD": 1e-2, "Rprop": 1e-4}


def network(act: str, out_size: int = 2, in_size: int = 27) -> nn.Module:
    form = Form(in_size, outputs=OUTPUTS[:out_size], activation=act)
    return build_module(form, initial_state(form, np.random.default_rng(3)))


def weights(model: nn.Module) -> dict[str, F32]:
    return {n: v.detach().numpy().copy() for n, v in model.state_dict().items()}


def rows(n: int = 150, out_size: int = 2, in_size: int = 27) -> tuple[F32, F32, I64]:
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, (n, in_size)).astype(np.float32)
    y = rng.uniform(-0.9, 0.9, (n, out_size)).astype(np.float32)
    return x, y, rng.permutation(n)


def torch_epoch(
    model: nn.Module, optimiser: torch.optim.Optimizer,
    x: F32, y: F32, order: I64, batch_size: int, clip: float | None = None,
) -> float:  # fmt: skip
    total = 0.0
    for batch in torch.split(torch.from_numpy(order), batch_size):
        loss = torch.nn.functional.mse_loss(
            model(torch.from_numpy(x)[batch]), torch.from_numpy(y)[batch]
        )
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        total += float(loss.detach()) * len(batch)
    return total / len(order)


def assert_same(
    kernel: Kernel, model: nn.Module, rtol: float = 1e-4, atol: float = 2e-6
) -> None:
    for name, value in weights(model).items():
        np.testing.assert_allclose(
            kernel.parameters()[name], value, rtol=rtol, atol=atol, err_msg=name
        )


@pytest.mark.parametrize("act", ACTIVATION_CODES)
@pytest.mark.parametrize("n", [1, 35])
def test_predicts_and_differentiates_as_torch(act: str, n: int) -> None:
    model = network(act)
    x, y, order = rows(n)
    x *= 20 if n == 1 else 1  # far out on the activation
    kernel = Kernel(weights(model), act, "SGD")
    expected = model(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(kernel.predict(x), expected, rtol=2e-5, atol=1e-6)
    kernel.train_epoch(x, y, order, n, 0.0)
    torch.autograd.backward(
        torch.nn.functional.mse_loss(model(torch.from_numpy(x)), torch.from_numpy(y))
    )
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        grad = parameter.grad.numpy()
        np.testing.assert_allclose(
            kernel.gradients()[name], grad, rtol=1e-4, atol=2e-6 * abs(grad).max()
        )


@pytest.mark.parametrize("act", ACTIVATION_CODES)
@pytest.mark.parametrize("optim", OPTIMISER_CODES)
@pytest.mark.parametrize("n", [16, 150])
def test_one_step_and_an_epoch_are_those_of_torch(act: str, optim: str, n: int) -> None:
    model = network(act)
    x, y, order = rows()
    kernel = Kernel(weights(model), act, optim, weight_decay=0.01)
    optimiser = OPTIMISERS[optim](model.parameters(), RATES[optim], 0.01)
    expected = torch_epoch(model, optimiser, x, y, order[:n], 16)
    found = kernel.train_epoch(x, y, order[:n], 16, RATES[optim])
    assert found == pytest.approx(expected, rel=1e-5)
    # A gradient that is rounding may turn a step of Adam or Rprop
    assert_same(kernel, model, atol=2e-5)


@pytest.mark.parametrize("optim", OPTIMISER_CODES)
@pytest.mark.parametrize("clip", [1e-3, 1e3])
def test_clips_as_torch(optim: str, clip: float) -> None:
    model = network("tanh/2", 1)
    x, y, order = rows(out_size=1)
    kernel = Kernel(weights(model), "tanh/2", optim, gradient_clip=clip)
    optimiser = OPTIMISERS[optim](model.parameters(), RATES[optim], 0.0)
    torch_epoch(model, optimiser, x, y, order, 40, clip)
    kernel.train_epoch(x, y, order, 40, RATES[optim])
    assert_same(kernel, model, atol=2e-5)


def test_any_number_of_inputs() -> None:
    for in_size in (1, 3, 4, 30):
        model = network("relu", 3, in_size)
        x, y, order = rows(33, 3, in_size)
        kernel = Kernel(weights(model), "relu", "SGD")
        torch_epoch(
            model, OPTIMISERS["SGD"](model.parameters(), 0.01, 0), x, y, order, 7
        )
        kernel.train_epoch(x, y, order, 7, 0.01)
        assert_same(kernel, model)


@pytest.mark.parametrize("optim", OPTIMISER_CODES)
def test_goes_on_from_a_state_to_the_same_bits(optim: str) -> None:
    x, y, order = rows()
    start = weights(network("sigmoid"))
    through, first = (Kernel(start, "sigmoid", optim) for _ in range(2))
    for _ in range(2):
        through.train_epoch(x, y, order, 16, 1e-3)
    first.train_epoch(x, y, order, 16, 1e-3)
    second = Kernel(start, "sigmoid", optim)
    second.load_state(first.state())
    second.train_epoch(x, y, order, 16, 1e-3)
    for name, value in through.state().items():
        np.testing.assert_array_equal(second.state()[name], value)


@pytest.mark.parametrize("act", ACTIVATION_CODES)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_stops_before_a_batch_without_a_finite_loss(act: str, bad: float) -> None:
    x, y, _ = rows()
    order = np.arange(150)
    y[50] = bad
    kernel = Kernel(weights(network(act)), act, "Adam")
    with pytest.raises(NonFiniteLossError) as caught:
        kernel.train_epoch(x, y, order, 16, 1e-3)
    assert caught.value.batch == 3
    assert int(kernel.state()["step"]) == 3
    assert all(np.isfinite(v).all() for v in kernel.parameters().values())


@pytest.mark.parametrize("act", ACTIVATION_CODES)
def test_a_nan_input_is_seen(act: str) -> None:
    x, y, order = rows()
    x[7, 3] = np.nan
    with pytest.raises(NonFiniteLossError):
        Kernel(weights(network(act)), act, "Adam").train_epoch(x, y, order, 16, 1e-3)


def test_refuses_what_does_not_fit() -> None:
    x, y, order = rows()
    kernel = Kernel(weights(network("tanh")), "tanh", "Adam")
    with pytest.raises(TrainingError, match="order"):
        kernel.train_epoch(x, y, order + 1, 16, 1e-3)
    with pytest.raises(TrainingError, match="inputs"):
        kernel.predict(x[:, 1:])
    with pytest.raises(TrainingError, match="targets"):
        kernel.train_epoch(x, y[:, :1], order, 16, 1e-3)
    with pytest.raises(TrainingError, match="batch_size"):
        kernel.train_epoch(x, y, order, 0, 1e-3)
    with pytest.raises(TrainingError, match="no compiled loops"):
        Kernel(weights(network("tanh")), "sine", "Adam")


def test_narrower_registers_of_an_older_machine_do_as_well() -> None:
    features = binding.get_host_cpu_features()
    if not (features.get("avx512f") and features.get("avx2") and LANES == 32):
        pytest.skip("this machine has no wider registers")
    chosen = "predicts_and_differentiates or (one_step and tanh)"
    code = (
        "import sys, pytest; from nnt.kernel.lanes import LANES; assert LANES == 16;"
        f"sys.exit(pytest.main([{__file__!r}, '-q', '-k', {chosen!r}]))"
    )
    older = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **older}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
