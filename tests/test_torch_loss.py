"""The objective in PyTorch against its plain reference, and averages of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from slow_objective import activate, gradient
from some_fits import assert_same, backend_of, make_config, make_data

from nnt.engine.torch_backend import TorchLoss
from nnt.networks import ACTIVATIONS, OUTPUTS
from nnt.networks.module import ACTIVATION_MODULES
from nnt.objective import (
    CLASS_KINDS,
    REGRESSION_KINDS,
    Objective,
    objective_of,
    value,
)

CUT = (0.7, 0.4)


@st.composite
def objectives(draw: st.DrawFn) -> Objective:
    loss = draw(st.sampled_from(sorted(REGRESSION_KINDS)))
    chosen = draw(st.sets(st.sampled_from(OUTPUTS), min_size=1))
    if loss == "TriggerLoss":
        chosen = (chosen & {"z", "theta"}) | {"z"}
    return objective_of(
        [name for name in OUTPUTS if name in chosen],
        draw(st.sampled_from(ACTIVATIONS)),
        loss,
        draw(st.sampled_from(sorted(CLASS_KINDS))),
        draw(st.sampled_from([0.3, 1.0, 5.0])),
    )


@given(objective=objectives(), weighted=st.booleans(), seed=st.integers(0, 9))
def test_value_and_gradient_are_those_of_the_reference(
    objective: Objective, weighted: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = 12
    sums = rng.normal(0, 1.5, (n, objective.n_outputs))
    targets = rng.choice([-1.0, 0.3, 1.0], (n, objective.n_targets))
    weights = rng.choice([0.0, 0.5, 2.0], targets.shape) if weighted else None
    if weights is not None:
        targets[weights == 0] = np.nan
    loss = TorchLoss(objective).double()
    if objective.decision is not None:
        loss.decision.data = torch.tensor(CUT, dtype=torch.float64)
    pre = torch.from_numpy(sums).requires_grad_()
    outputs = ACTIVATION_MODULES[objective.activation]()(pre)
    found = loss(
        outputs,
        pre,
        torch.from_numpy(targets),
        None if weights is None else torch.from_numpy(weights),
    )
    found.backward()
    expected = value(
        objective,
        activate(objective.activation, sums),
        targets,
        weights,
        objective.steepness * sums,
        CUT,
    )
    by_sums, by_cut = gradient(objective, sums, targets, weights, CUT)
    assert found.item() == pytest.approx(expected, rel=1e-6)
    assert pre.grad is not None
    np.testing.assert_allclose(pre.grad.numpy(), by_sums, rtol=1e-6, atol=1e-9)
    if objective.decision is not None:
        found_by_cut = loss.decision.grad
        assert found_by_cut is not None
        np.testing.assert_allclose(found_by_cut.numpy(), by_cut, rtol=1e-6, atol=1e-9)
        assert loss.cut == CUT


@pytest.mark.parametrize("model", ["BaselineModel", "BaselineModelBN"])
@pytest.mark.parametrize("decay", [0.01, 0.5, 0.99])
def test_an_average_forgets_by_its_decay(model: str, decay: float) -> None:
    data = make_data()
    backend = backend_of(data, make_config(average=decay, model=model))
    assert_same(backend.averaged(), backend.parameters())
    seen = []
    for step in range(6):
        backend.train(np.arange(50 * step, 50 * step + 50), 0.01)
        seen.append(backend.parameters())
    counts = decay ** np.arange(5, -1, -1.0)
    for name, found in backend.averaged().items():
        expected = np.average([state[name] for state in seen], axis=0, weights=counts)
        if name.endswith("num_batches_tracked"):
            expected = seen[-1][name]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
