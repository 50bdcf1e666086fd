"""The compiled epoch against PyTorch's autograd and optimisers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import binding
from slow_kernel import (
    DEEP,
    FIRMWARE,
    OPTIMISERS,
    OUTPUTS,
    RATES,
    Slow,
    kernel_of,
    objective_for,
    rows,
)

from nnt.errors import TrainingError
from nnt.kernel import OPTIMISER_CODES, Kernel, NonFiniteLossError, why_not
from nnt.kernel.lanes import LANES
from nnt.networks import ACTIVATIONS, Form, initial_state
from nnt.networks.module import build_module
from nnt.objective import CUT_START, Objective, objective_of
from nnt.types import F32


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # such networks are too small for more
    yield
    torch.set_num_threads(before)


widths = st.one_of(st.integers(1, 70), st.sampled_from([81, 100, 128, 256, 512]))


@st.composite
def networks(draw: st.DrawFn) -> tuple[Form, Objective]:
    """Draw a network of any form, with any objective that it can have."""
    outputs = draw(st.sampled_from(OUTPUTS))
    form = Form(
        inputs=draw(st.one_of(st.integers(1, 40), st.sampled_from([27, 126]))),
        hidden=tuple(draw(st.lists(widths, max_size=5))),
        outputs=outputs,
        activation=draw(st.sampled_from(ACTIVATIONS)),
    )
    losses = ["MSELoss", "L1Loss", "HuberLoss"]
    if outputs in (("z",), ("z", "theta")):
        losses.append("TriggerLoss")
    objective = objective_of(
        outputs,
        form.activation,
        draw(st.sampled_from(losses)),
        draw(st.sampled_from(["CrossEntropyLoss", "MSELoss"])),
        draw(st.sampled_from([0.2, 1.0])),
    )
    return form, objective


# Not at random: a node of relu within rounding of 0 has either slope.
@settings(derandomize=True, max_examples=50)
@given(networks(), st.integers(1, 80), st.booleans(), st.integers(0, 99))
def test_any_network_predicts_and_differentiates_as_torch(
    network: tuple[Form, Objective], n: int, weighted: bool, seed: int
) -> None:
    form, objective = network
    x, y, w, order = rows(objective, form.inputs, n, seed)
    w = w if weighted else None
    slow = Slow(form, objective)
    expected = slow.backward(x, y, w)
    state = initial_state(form, np.random.default_rng(3))
    kernel = Kernel(state, form, objective, "SGD")
    outputs = slow.network(torch.from_numpy(x).double()).detach().numpy()
    np.testing.assert_allclose(kernel.predict(x), outputs, rtol=1e-4, atol=2e-6)
    found = kernel.train_epoch(x, y, w, order, n, 0.0)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-7)
    largest = max(float(p.grad.abs().max()) for p in slow.network.parameters())  # type: ignore[union-attr]
    for name, parameter in slow.network.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(
            kernel.gradients()[name], parameter.grad.numpy(), rtol=1e-3,
            atol=1e-5 * largest + 1e-12, err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_predicts_far_out_on_the_activation(act: str) -> None:
    form = Form(activation=act)
    x = 20 * rows(objective_for(form))[0]
    slow = Slow(form, objective_for(form))
    expected = slow.network(torch.from_numpy(x).double()).detach().numpy()
    found = kernel_of(form).predict(x)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)


EPOCHS: list[tuple[Form, str, int, float | None]] = [
    *(
        (Form(activation=act), "MSELoss", n, None)
        for act in ACTIVATIONS
        for n in (16, 150)
    ),
    *((DEEP, "MSELoss", 150, clip) for clip in (None, 1e-3, 1e3)),
    *((FIRMWARE, "TriggerLoss", 150, clip) for clip in (None, 1e-2)),
]
"""Network, loss, rows and largest gradient; 16 rows are one step."""


@pytest.mark.parametrize("optimiser", OPTIMISER_CODES)
@pytest.mark.parametrize(("form", "loss", "n", "clip"), EPOCHS)
def test_an_epoch_is_that_of_torch(
    form: Form, loss: str, n: int, clip: float | None, optimiser: str
) -> None:
    objective, rate, decay = objective_for(form, loss), RATES[optimiser], 0.01
    x, y, w, order = rows(objective)
    weighted = form is DEEP or loss == "TriggerLoss"
    data = x, y, w if weighted else None, order[:n]
    kernel = kernel_of(form, optimiser, loss, weight_decay=decay, gradient_clip=clip)
    slow = Slow(form, objective)
    theirs = OPTIMISERS[optimiser](slow.network.parameters(), rate, decay)
    if objective.decision is not None:
        # Its cut is learned, and does not decay.
        more = {} if optimiser == "Rprop" else {"weight_decay": 0.0}
        theirs.add_param_group({"params": [slow.cut], **more})
    expected = slow.train_epoch(data, 16, theirs, clip)
    assert kernel.train_epoch(*data, 16, rate) == pytest.approx(expected, rel=1e-5)
    if objective.decision is not None:
        assert kernel.cut == pytest.approx(slow.cut.tolist(), rel=1e-5, abs=1e-6)
        assert kernel.cut != pytest.approx(CUT_START, rel=1e-6)
    # A gradient that is rounding may turn a step of Adam or Rprop
    for name, parameter in slow.network.named_parameters():
        np.testing.assert_allclose(
            kernel.parameters()[name], parameter.detach().numpy(), rtol=1e-4,
            atol=2e-5, err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("keep", [0.0, 0.9])
def test_the_average_forgets_by_its_decay(keep: float) -> None:
    x, y, w, order = rows(objective_for(DEEP), n=60)
    kernel = kernel_of(DEEP, average=keep)
    np.testing.assert_equal(kernel.averaged(), kernel.parameters())
    seen = []
    for batch in order.reshape(6, 10):
        kernel.train_epoch(x, y, w, batch, 10, 1e-2)
        seen.append(kernel.parameters())
    counts = keep ** np.arange(5, -1, -1.0)
    for name, found in kernel.averaged().items():
        expected = np.average([s[name] for s in seen], axis=0, weights=counts)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    mean = build_module(DEEP, kernel.averaged())
    expected = mean(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(kernel.predict(x), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(kernel.frozen()(x), kernel.predict(x))


def test_the_average_changes_no_weights() -> None:
    data = rows(objective_for(DEEP))
    with_one, without = kernel_of(DEEP, average=0.9), kernel_of(DEEP)
    for kernel in (with_one, without):
        kernel.train_epoch(*data, 16, 1e-3)
    np.testing.assert_equal(with_one.parameters(), without.parameters())


@pytest.mark.parametrize("optimiser", OPTIMISER_CODES)
@pytest.mark.parametrize(
    ("form", "loss"), [(FIRMWARE, "TriggerLoss"), (DEEP, "MSELoss")]
)
def test_goes_on_from_a_state_to_the_same_bits(
    optimiser: str, form: Form, loss: str
) -> None:
    data = rows(objective_for(form, loss))
    through, first, second = (
        kernel_of(form, optimiser, loss, average=0.99) for _ in range(3)
    )
    for _ in range(2):
        through.train_epoch(*data, 16, 1e-3)
    first.train_epoch(*data, 16, 1e-3)
    second.load_state(first.state())
    second.train_epoch(*data, 16, 1e-3)
    np.testing.assert_equal(second.state(), through.state())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("form", "loss"), [(DEEP, "L1Loss"), (DEEP, "MSELoss"), (FIRMWARE, "TriggerLoss")]
)
def test_rows_of_weight_0_have_no_influence(form: Form, loss: str, bad: float) -> None:
    x, y, w, order = rows(objective_for(form, loss))
    assert w is not None
    clean, dirty = (kernel_of(form, "Adam", loss) for _ in range(2))
    expected = clean.train_epoch(x, y, w, order, 16, 1e-3)
    y[w == 0] = bad
    assert dirty.train_epoch(x, y, w, order, 16, 1e-3) == expected
    np.testing.assert_equal(dirty.state(), clean.state())


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_stops_before_a_batch_without_a_finite_loss(act: str, bad: float) -> None:
    form = Form(activation=act)
    x, y, _, _ = rows(objective_for(form))
    y[50] = bad
    kernel = kernel_of(form)
    with pytest.raises(NonFiniteLossError) as caught:
        kernel.train_epoch(x, y, None, np.arange(150), 16, 1e-3)
    assert caught.value.batch == 3
    assert int(kernel.state()["step"]) == 3
    assert not kernel.bad_weights()


@pytest.mark.parametrize("form", [FIRMWARE, DEEP, Form(hidden=())])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_a_nan_input_is_seen(form: Form, act: str) -> None:
    form = Form(hidden=form.hidden, outputs=form.outputs, activation=act)
    x, y, _, order = rows(objective_for(form))
    x[7, 3] = np.nan
    with pytest.raises(NonFiniteLossError):
        kernel_of(form).train_epoch(x, y, None, order, 16, 1e-3)


def test_weights_that_are_not_finite_are_named() -> None:
    kernel = kernel_of(DEEP)
    state = kernel.parameters()
    state["net.2.bias"][3] = np.nan
    kernel.set_parameters(state)
    assert kernel.bad_weights() == "net.2.bias"


def test_bits_do_not_depend_on_other_threads() -> None:
    forms = [FIRMWARE, DEEP, Form(hidden=(128, 64)), Form(hidden=())]

    def trained(form: Form) -> dict[str, F32]:
        data = rows(objective_for(form), n=2000)
        kernel = kernel_of(form)
        for _ in range(3):
            kernel.train_epoch(*data, 16, 1e-3)
        return kernel.parameters()

    alone = [trained(form) for form in forms]
    with ThreadPoolExecutor(4) as pool:
        together = [*pool.map(trained, forms)]
    np.testing.assert_equal(together, alone)


@pytest.mark.parametrize(
    ("form", "optimiser", "message"),
    [
        (FIRMWARE, "Adam", ""),
        (DEEP, "Rprop", ""),
        (Form(model="BaselineModelBN"), "Adam", "model is BaselineModelBN"),
        (FIRMWARE, "LBFGS", "optim is LBFGS"),
    ],
)
def test_says_what_it_does_not_know(form: Form, optimiser: str, message: str) -> None:
    assert why_not(form, objective_for(form), optimiser).startswith(message)
    assert bool(why_not(form, objective_for(form), optimiser)) == bool(message)


def test_refuses_what_does_not_fit() -> None:
    x, y, w, order = rows(objective_for(FIRMWARE))
    assert w is not None
    kernel = kernel_of(FIRMWARE)
    for message, arguments in {
        "order": (x, y, None, order + 1, 16),
        "targets": (x, y[:, :1], None, order, 16),
        "weights of rows": (x, y, w[1:], order, 16),
        "batch_size": (x, y, None, order, 0),
    }.items():
        with pytest.raises(TrainingError, match=message):
            kernel.train_epoch(*arguments, 1e-3)
    with pytest.raises(TrainingError, match="inputs"):
        kernel.predict(x[:, 1:])
    with pytest.raises(TrainingError, match="no compiled loops"):
        kernel_of(FIRMWARE, "LBFGS")
    with pytest.raises(TrainingError, match="average"):
        kernel_of(FIRMWARE, average=1.0)
    state = kernel.state()
    with pytest.raises(TrainingError, match="decision"):
        kernel_of(FIRMWARE, "Adam", "TriggerLoss").load_state(state)
    with pytest.raises(TrainingError, match=r"net\.0\.weight"):
        kernel_of(DEEP).load_state(state)


def test_narrower_registers_of_an_older_machine_do_as_well() -> None:
    features = binding.get_host_cpu_features()
    if not (features.get("avx512f") and features.get("avx2") and LANES == 32):
        pytest.skip("this machine has no wider registers")
    chosen = "epoch_is_that_of_torch and form1"
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
