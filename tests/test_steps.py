"""Steps of many networks at once against those of PyTorch for one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nnt.config import Config, load_config
from nnt.engine import ExpertData, make_ensembles
from nnt.engine.batched_gear import BatchedGear
from nnt.engine.resident import Resident
from nnt.engine.stacked import Form, Stack
from nnt.engine.steps import Member, Moving, Steps
from nnt.engine.torch_gear import LOSSES, OPTIMISERS, TorchGear
from nnt.errors import TrainingError
from nnt.models import ACTIVATIONS, build_model, initialise
from nnt.sampling import generator

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = {"Adam": 1e-3, "AdamW": 1e-3, "SGD": 1e-2, "Rprop": 1e-4}
SIZES, ROWS = (16, 40, 7), (100, 35, 64)
"""Batch sizes and rows of three experts."""


def make_data(n: int, seed: int = 0) -> ExpertData:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n + 30, 27)).astype(np.float32)
    y = rng.uniform(-0.9, 0.9, (n + 30, 2)).astype(np.float32)
    return ExpertData(x_train=x[:n], y_train=y[:n], x_val=x[n:], y_val=y[n:])


def make_config(**values: Any) -> Config:
    quick = {
        "data": {"files": ["unread.gz"], "split": [0.6, 0.2, 0.2]},
        "act": "tanh/2",
        "weight_decay": 0.01,
    }
    return load_config({**quick, **values})


def make_gears(
    device: str = "cpu", datas: list[ExpertData] | None = None, **values: Any
) -> list[BatchedGear]:
    """Three experts in one ensemble."""
    datas = datas or [make_data(n, seed) for seed, n in enumerate(ROWS)]
    configs = {
        k: make_config(batch_size=size, **values) for k, size in enumerate(SIZES)
    }
    n_rows = {k: len(data.x_train) for k, data in enumerate(datas)}
    ensembles = make_ensembles(configs, n_rows, device)
    assert len(set(ensembles.values())) == 1
    return [
        BatchedGear(datas[k], own, k, generator(1, k, "weights 0"), None, ensembles[k])
        for k, own in configs.items()
    ]


def torch_gear(expert: int, **values: Any) -> TorchGear:
    config = make_config(batch_size=SIZES[expert], **values)
    rng = generator(1, expert, "weights 0")
    return TorchGear(make_data(ROWS[expert], expert), config, rng, None, "cpu")


def order_of(expert: int) -> np.ndarray:
    return np.random.default_rng(expert).permutation(ROWS[expert])


def assert_close(batched: BatchedGear, generic: TorchGear, atol: float) -> None:
    for name, value in generic.weights().items():
        np.testing.assert_allclose(
            batched.weights()[name], value, rtol=1e-4, atol=atol, err_msg=name
        )


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Equal to the last bit."""
    assert list(first) == list(second)
    for name, value in first.items():
        assert value.tobytes() == second[name].tobytes(), name


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_gradients_are_those_of_autograd_for_each_network(act: str, loss: str) -> None:
    rng = np.random.default_rng(3)
    stack = Stack(Form(act, loss, "Adam", 27, 2))
    models = [build_model("BaselineModel", 27, 2, act) for _ in range(2)]
    for model in models:
        initialise(model, rng)
    states = [{n: v.numpy() for n, v in m.state_dict().items()} for m in models]
    flat = torch.stack([stack.join(state) for state in states])
    x, y = torch.rand(2, 9, 27) * 4 - 2, torch.rand(2, 9, 2) * 4 - 2
    n_rows = torch.tensor([9, 4])
    is_blank = torch.arange(9) >= n_rows[:, None]
    losses, gradient = stack.gradients(flat, x, y, is_blank, n_rows)
    for k, model in enumerate(models):
        n = int(n_rows[k])
        value = LOSSES[loss]()(model(x[k, :n]), y[k, :n])
        torch.autograd.backward(value)
        assert float(losses[k]) == pytest.approx(float(value.detach()), rel=1e-5)
        for name, found in stack.named(gradient[k]).items():
            expected = dict(model.named_parameters())[name].grad
            assert expected is not None
            np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("optim", OPTIMISERS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_one_step_and_epochs_are_those_of_torch(act: str, optim: str) -> None:
    gears = make_gears(act=act, optim=optim)
    for expert, gear in enumerate(gears):
        generic = torch_gear(expert, act=act, optim=optim)
        order = order_of(expert)
        for rows in (order[:5], order, order):
            expected = generic.train_epoch(rows, RATES[optim])
            found = gear.train_epoch(rows, RATES[optim])
            assert found == pytest.approx(expected, rel=1e-5)
            # A gradient that is rounding may turn a step of Adam or Rprop.
            assert_close(gear, generic, 2e-5)


@pytest.mark.parametrize("optim", OPTIMISERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_that_of_torch(loss: str, optim: str) -> None:
    gear, generic = (
        make_gears(loss=loss, optim=optim)[1],
        torch_gear(1, loss=loss, optim=optim),
    )
    expected = generic.train_epoch(order_of(1), RATES[optim])
    assert gear.train_epoch(order_of(1), RATES[optim]) == pytest.approx(expected)
    assert_close(gear, generic, 2e-5)


@pytest.mark.parametrize("optim", OPTIMISERS)
@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_clips_as_torch(optim: str, limit: float) -> None:
    values: dict[str, Any] = {"optim": optim, "gradient_clip": limit}
    gear, generic = make_gears(**values)[0], torch_gear(0, **values)
    gear.train_epoch(order_of(0), RATES[optim])
    generic.train_epoch(order_of(0), RATES[optim])
    assert_close(gear, generic, 2e-5)


def test_outputs_are_those_of_torch() -> None:
    data = make_data(ROWS[0])
    gear, generic = make_gears()[0], torch_gear(0)
    for inputs in (data.x_val, data.x_train, np.zeros((0, 27), np.float32)):
        np.testing.assert_allclose(
            gear.predict(inputs), generic.predict(inputs), atol=1e-6
        )


def members(n: int = 3, clip: float | None = None) -> list[Member]:
    return [
        Member(n_rows=20, batch_size=8, weight_decay=0.1, gradient_clip=clip)
        for _ in range(n)
    ]


def drawn(steps: Steps, seed: int) -> Moving:
    random = torch.Generator().manual_seed(seed)
    values = torch.rand(3, steps.stack.n_weights, generator=random)
    values[:2] -= 0.5  # but the mean of squares is none below zero
    return Moving(values, 3)


def filled(optim: str) -> Steps:
    steps = Steps(Form("tanh", "MSELoss", optim, 27, 2), members(), "cpu")
    for slot in range(3):
        data = make_data(20, slot)
        steps.put_rows(slot, data.x_train, data.y_train)
    return steps


@pytest.mark.parametrize("optim", OPTIMISERS)
def test_a_slot_without_work_keeps_every_bit(optim: str) -> None:
    steps = filled(optim)
    idle = drawn(steps, 1)
    idle.values[0, 5], idle.values[1, 6] = math.nan, -math.inf
    steps.begin(1, idle, np.arange(0), 0.1)
    steps.begin(0, drawn(steps, 0), np.arange(20), 0.1)
    steps.run(4)
    moved = steps.read(1)
    assert moved.moving.values.numpy().tobytes() == idle.values.numpy().tobytes()
    assert (moved.moving.step, moved.loss_sum, moved.bad_batch) == (3, 0.0, None)
    assert steps.read(0).moving.step == 6


@pytest.mark.parametrize("optim", OPTIMISERS)
def test_bits_of_a_slot_do_not_depend_on_the_others(optim: str) -> None:
    alone, together = filled(optim), filled(optim)
    order = np.random.default_rng(0).permutation(20)
    alone.begin(2, drawn(alone, 2), order, 0.01)
    alone.run(3)
    broken = drawn(together, 0)
    broken.values[0] = math.nan
    together.begin(0, broken, order, 0.5)
    together.run(1)
    together.begin(2, drawn(together, 2), order, 0.01)
    together.run(2)
    together.begin(1, drawn(together, 1), order, 0.5)
    together.run(3)
    first, second = alone.read(2), together.read(2)
    assert first.loss_sum == second.loss_sum
    assert torch.equal(first.moving.values, second.moving.values)


class Record(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation, and whether one takes tensors of the host."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []
        self.devices: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = torch.utils._pytree.tree_leaves((args, kwargs))
        self.devices |= {a.device.type for a in given if isinstance(a, torch.Tensor)}
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("optim", OPTIMISERS)
def test_a_step_asks_nothing_and_brings_nothing(
    act: str, loss: str, optim: str
) -> None:
    # Tensors of the device "meta" have shapes, but no values that could be read.
    steps = Steps(Form(act, loss, optim, 27, 2), members(clip=1.0), "meta")
    with Record() as record:
        steps._step()
    assert record.devices == {"meta"}
    asking = ("_local_scalar_dense", "nonzero", "item", "masked_select", "unique")
    assert not [n for n in record.names if n.split(".")[1] in asking]


def test_all_experts_share_one_step() -> None:
    with Record() as record:
        gears = make_gears()
    record.names.clear()
    with record:
        gears[0].train_epoch(order_of(0)[:16], 0.01)
    assert sum("baddbmm" in name for name in record.names) == 2


def test_a_bad_batch_is_named_and_others_go_on() -> None:
    datas = [make_data(n, seed) for seed, n in enumerate(ROWS)]
    datas[0].y_train[40] = np.inf
    gears, healthy = make_gears(datas=datas), make_gears()
    message = r"batch 3 of 7.*not finite \(of the batch before: 0\.\d+\); lower"
    with pytest.raises(TrainingError, match=message):
        gears[0].train_epoch(np.arange(100), 0.01)
    assert int(gears[0].state()["step"]) == 2
    assert not gears[0].bad_weights()
    healthy[0].train_epoch(np.arange(32), 0.01)
    assert_same(gears[0].state(), healthy[0].state())
    gears[2].train_epoch(order_of(2), 0.01)
    healthy[2].train_epoch(order_of(2), 0.01)
    assert_same(gears[2].state(), healthy[2].state())


def test_a_bad_first_batch_has_none_before() -> None:
    datas = [make_data(n, seed) for seed, n in enumerate(ROWS)]
    datas[1].x_train[:] = np.nan
    with pytest.raises(TrainingError, match=r"batch 1 of 1.*before: none"):
        make_gears(datas=datas)[1].train_epoch(np.arange(35), 0.01)


def test_bad_weights_are_named_and_a_snapshot_leads_back() -> None:
    gear = make_gears(act="relu", optim="SGD")[0]
    before = gear.state()
    go_back = gear.snapshot()
    with pytest.raises(TrainingError):
        gear.train_epoch(np.arange(100), 1e30)
    gear.load_state({**gear.state(), "net.2.bias": np.full(2, np.nan, np.float32)})
    assert gear.bad_weights() == "net.2.bias"
    go_back()
    assert gear.bad_weights() == ""
    assert_same(gear.state(), before)


def test_rows_to_validate_are_brought_to_the_device_once() -> None:
    rows = make_data(10).x_val
    resident = Resident(rows, torch.device("meta"))
    assert resident.on_device(rows) is resident.on_device(rows)
    assert resident.on_device(rows[:5]).shape == (5, 27)


def test_a_frozen_network_does_not_move() -> None:
    gear, x = make_gears()[0], make_data(ROWS[0]).x_val
    frozen, before = gear.frozen(), gear.predict(x)
    gear.train_epoch(order_of(0), 0.1)
    assert (gear.predict(x) != before).any()
    np.testing.assert_array_equal(frozen(x), before)


@pytest.mark.parametrize("optim", OPTIMISERS)
def test_goes_on_from_a_state_to_the_same_bits(optim: str) -> None:
    through, first, second = (make_gears(optim=optim)[1] for _ in range(3))
    for gear in (through, through, first):
        gear.train_epoch(order_of(1), 1e-3)
    second.load_state(first.state())
    second.train_epoch(order_of(1), 1e-3)
    assert_same(second.state(), through.state())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("net.0.weight", np.zeros(3, np.float32)),
        ("first.net.2.bias", np.zeros(2, np.float64)),
        ("second.net.2.weight", None),
        ("step", np.array(-1)),
        ("step", np.array(1.5)),
        ("optimiser.0.exp_avg", np.zeros(3, np.float32)),
    ],
)
def test_the_state_of_something_else_is_refused(name: str, value: Any) -> None:
    gear = make_gears()[0]
    state = {**gear.state(), name: value}
    if value is None:
        del state[name]
    with pytest.raises(TrainingError, match="expected"):
        gear.load_state(state)


def test_an_order_beyond_the_rows_is_refused() -> None:
    gear = make_gears()[1]
    for order in (np.array([35]), np.array([-1]), np.zeros(36, np.int64)):
        with pytest.raises(TrainingError, match="at most 35 rows from 0 to 34"):
            gear.train_epoch(order, 0.01)


def test_an_epoch_without_rows_does_nothing() -> None:
    gear = make_gears()[0]
    before = gear.state()
    assert gear.train_epoch(np.arange(0), 0.01) == 0.0
    assert_same(gear.state(), before)


def test_a_capture_follows_steps_on_its_own_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A stand-in for CUDA, which shows the order of the calls and nothing more.
    told: list[str] = []
    stream, graph = Mock(), Mock(replay=lambda: None)

    @contextmanager
    def noted(*given: object, **named: object) -> Iterator[None]:
        assert stream in (*given, *named.values())
        told.append(f"begin {sorted(named)}")
        yield
        told.append("end")

    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Mock())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "stream", noted)
    monkeypatch.setattr(torch.cuda, "graph", noted)
    steps = filled("Adam")
    before = steps.read(0).moving.values

    def step() -> None:
        told.append("step")
        Steps._step(steps)

    monkeypatch.setattr(steps, "_step", step)
    assert steps._captured(stream) is graph.replay
    assert told == [
        "begin []", *["step"] * 3, "end",
        "begin ['capture_error_mode', 'stream']", "step", "end",
    ]  # fmt: skip
    assert torch.equal(steps.read(0).moving.values, before)
    assert stream.wait_stream.called


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optim", OPTIMISERS)
def test_a_graph_on_the_gpu_does_what_the_cpu_does(optim: str) -> None:
    for expert in range(3):
        there, here = (make_gears(device, optim=optim) for device in ("cuda", "cpu"))
        for _ in range(3):
            losses = [
                gears[expert].train_epoch(order_of(expert), RATES[optim])
                for gears in (there, here)
            ]
            assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        for name, value in here[expert].weights().items():
            np.testing.assert_allclose(
                there[expert].weights()[name], value, rtol=1e-3, atol=5e-5
            )
        x = make_data(ROWS[expert]).x_val
        np.testing.assert_allclose(
            there[expert].predict(x), here[expert].predict(x), atol=1e-4
        )
