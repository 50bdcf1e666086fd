"""A network as data: names, shapes, first weights and the module that computes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnt.errors import ConfigError
from nnt.networks import ACTIVATIONS, MODELS, OUTPUTS, Form, initial_state
from nnt.networks.module import ACTIVATION_MODULES, build_module
from nnt.networks.predicting import ACTIVATION_FUNCTIONS, outputs_of

NAMED_OUTPUTS = st.lists(
    st.sampled_from(OUTPUTS), min_size=1, max_size=4, unique=True
).map(lambda names: tuple(sorted(names, key=OUTPUTS.index)))


@st.composite
def forms(draw: st.DrawFn) -> Form:
    """Any network that can be trained."""
    model = draw(st.sampled_from(MODELS))
    hidden = draw(st.lists(st.integers(1, 20), max_size=5)) if model == MODELS[0] else 0
    return Form(
        inputs=draw(st.integers(1, 126)),
        outputs=draw(NAMED_OUTPUTS),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        model=model,
        **({"hidden": tuple(hidden)} if isinstance(hidden, list) else {}),
    )


@given(forms())
def test_a_form_says_what_its_module_holds(form: Form) -> None:
    state = build_module(form).state_dict()
    expected = {name: tuple(value.shape) for name, value in state.items()}
    assert form.shapes == expected
    assert list(form.shapes) == list(expected)


@given(forms())
def test_a_form_comes_back_from_its_shapes(form: Form) -> None:
    turned = dict(reversed(form.shapes.items()))
    again = Form.of_shapes(
        turned, outputs=form.outputs, activation=form.activation, model=form.model
    )
    assert again == form


def test_layers_are_numbered_as_in_a_sequential() -> None:
    form = Form(hidden=(64, 64), outputs=("z", "theta", "nnt"))
    assert form.shapes == {
        "net.0.weight": (64, 27), "net.0.bias": (64,),
        "net.2.weight": (64, 64), "net.2.bias": (64,),
        "net.4.weight": (3, 64), "net.4.bias": (3,),
    }  # fmt: skip


def test_the_default_has_the_weights_of_the_firmware() -> None:
    n_weights = sum(int(np.prod(shape)) for shape in Form().shapes.values())
    assert n_weights == 27 * 81 + 81 + 81 * 2 + 2


def test_every_activation_has_a_module_and_a_function() -> None:
    assert tuple(ACTIVATION_MODULES) == tuple(ACTIVATION_FUNCTIONS) == ACTIVATIONS


@given(forms(), st.integers(0, 99))
def test_networks_predict_what_pytorch_computes(form: Form, seed: int) -> None:
    rng = np.random.default_rng(seed)
    state = initial_state(form, rng)
    for name, value in state.items():
        if value.ndim == 1:
            state[name] = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
    x = rng.uniform(-1, 1, (100, form.inputs)).astype(np.float32)
    module = build_module(form, state).double().eval()
    with torch.no_grad():
        expected = module(torch.from_numpy(x).double()).numpy()
    found = outputs_of(form, state, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    # A row alone has the same bits as among others.
    np.testing.assert_array_equal(outputs_of(form, state, x[70:71]), found[70:71])


def test_first_weights_are_those_of_a_fixed_seed() -> None:
    """A training with the same seed must begin as it did a year ago."""
    rng, plain = np.random.default_rng(3), np.random.default_rng(3)
    found = initial_state(Form(model="SimpleModel"), rng)
    bound = 1 / np.sqrt(27)
    first = plain.uniform(-bound, bound, (50, 27)).astype(np.float32)
    np.testing.assert_array_equal(found["net.0.weight"], first)
    bias = plain.uniform(-bound, bound, 50).astype(np.float32)
    np.testing.assert_array_equal(found["net.0.bias"], bias)
    second = plain.uniform(-1 / np.sqrt(50), 1 / np.sqrt(50), (100, 50))
    np.testing.assert_array_equal(found["net.3.weight"], second.astype(np.float32))


def test_batch_normalisation_begins_as_pytorch_does() -> None:
    form = Form(model="BaselineModelBN")
    found = initial_state(form, np.random.default_rng(0))
    for name, value in build_module(form).state_dict().items():
        if name.startswith("net.1."):
            np.testing.assert_array_equal(found[name], value.numpy())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": "BaselinModel"}, "model: .* did you mean 'BaselineModel"),
        ({"activation": "tanhh"}, "act: .* did you mean 'tanh"),
        ({"outputs": ()}, "outputs: expected names out of z, theta, nnt, stt"),
        ({"outputs": ("theta", "z")}, "in this order, found"),
        ({"outputs": ("z", "phi")}, "expected names out of"),
        ({"inputs": 0}, "expected 1 to 4096 nodes, found 0"),
        ({"hidden": (9, 5000)}, "expected 1 to 4096 nodes, found 5000"),
        ({"model": "SimpleModel", "hidden": (9,)}, r"layers of \[50, 100, 50, 10\]"),
    ],
)
def test_what_is_no_network_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Form(**keys)  # type: ignore[arg-type]
