"""Networks by name, and their first weights."""

import numpy as np
import pytest
import torch

from nnt.errors import ConfigError
from nnt.models import ACTIVATIONS, MODELS, build_model, initialise


def test_names_of_baseline_weights() -> None:
    names = list(build_model("BaselineModel", 27, 2, "tanh").state_dict())
    assert names == ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]


def test_baseline_has_the_weights_of_the_firmware() -> None:
    model = build_model("BaselineModel", 27, 2, "tanh/2")
    assert sum(p.numel() for p in model.parameters()) == 27 * 81 + 81 + 81 * 2 + 2


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_model_maps_inputs_to_outputs(name: str, act: str) -> None:
    model = build_model(name, 27, 1, act).eval()
    assert model(torch.zeros(3, 27)).shape == (3, 1)


def test_tanh_half_is_tanh_of_half() -> None:
    x = np.linspace(-5, 5, 101)
    out = ACTIVATIONS["tanh/2"]()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(out, np.tanh(x / 2), rtol=1e-12)


def test_baseline_agrees_with_its_formula() -> None:
    model = build_model("BaselineModel", 27, 2, "tanh")
    initialise(model, np.random.default_rng(1))
    w = {n: t.double().numpy() for n, t in model.state_dict().items()}
    x = np.random.default_rng(2).uniform(-1, 1, (50, 27)).astype(np.float32)
    hidden = np.tanh(x @ w["net.0.weight"].T + w["net.0.bias"])
    expected = np.tanh(hidden @ w["net.2.weight"].T + w["net.2.bias"])
    with torch.no_grad():
        out = model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(out, expected, atol=1e-6)


def test_same_generator_same_weights_whatever_torch_seed() -> None:
    first, second = (build_model("SimpleModel", 27, 2, "relu") for _ in range(2))
    initialise(first, np.random.default_rng(3))
    torch.manual_seed(99)
    initialise(second, np.random.default_rng(3))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_first_weights_fill_their_interval() -> None:
    model = build_model("BaselineModel", 27, 2, "tanh")
    initialise(model, np.random.default_rng(4))
    weight = model.state_dict()["net.0.weight"].numpy()
    bound = 1 / np.sqrt(27)
    assert 0.99 * bound < np.abs(weight).max() <= bound
    assert weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_unknown_names_are_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="BaselineModel"):
        build_model("BaselinModel", 27, 2, "tanh")
    with pytest.raises(ConfigError, match="tanh"):
        build_model("BaselineModel", 27, 2, "tanhh")
