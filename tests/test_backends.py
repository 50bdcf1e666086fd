"""Which backend trains an expert, and where."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import nnt
from nnt.cli import main
from nnt.config import Config
from nnt.engine import choose_backend
from nnt.errors import ConfigError
from nnt.kernel import ACTIVATION_CODES, OPTIMISER_CODES
from nnt.networks import ACTIVATIONS
from nnt.objective import OPTIMISERS


def make_config(**values: Any) -> Config:
    return nnt.load_config("baseline_v2", overrides=values)


@pytest.fixture(params=[False, True], ids=["without a GPU", "with a GPU"])
def has_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize(
    ("values", "name", "reason"),
    [
        ({}, "compiled", ""),
        ({"engine": "compiled"}, "compiled", ""),
        ({"engine": "torch"}, "torch", "engine is torch"),
        ({"loss": "L1Loss"}, "compiled", ""),
        ({"model": "BaselineModelBN"}, "torch", "BaselineModelBN"),
        ({"quantize": {}}, "quantized", "float64"),
    ],
    ids=str,
)
def test_auto_is_the_cpu_where_the_compiled_loops_apply(
    has_gpu: bool, values: dict[str, Any], name: str, reason: str
) -> None:
    choice = choose_backend(make_config(**values), "auto")
    assert choice.name == name
    assert choice.device == ("cuda" if has_gpu and name != "compiled" else "cpu")
    assert reason in choice.reason


def test_cuda_is_the_gpu_or_an_error(has_gpu: bool) -> None:
    if has_gpu:
        choice = choose_backend(make_config(), "cuda")
        assert (choice.name, choice.device) == ("torch", "cuda")
    else:
        with pytest.raises(ConfigError, match="finds none; use --device auto"):
            choose_backend(make_config(), "cuda")


def test_cpu_is_the_cpu(has_gpu: bool) -> None:
    assert choose_backend(make_config(engine="torch"), "cpu").device == "cpu"


def test_another_device_is_an_error() -> None:
    with pytest.raises(ConfigError, match="did you mean 'cuda'"):
        choose_backend(make_config(), "cud")


@pytest.mark.parametrize(
    ("values", "device", "reason"),
    [
        ({"model": "SimpleModel"}, "auto", "model is SimpleModel"),
        ({"model": "BaselineModelBN"}, "cpu", "model is BaselineModelBN"),
        ({}, "cuda", "the device is cuda"),
        ({"engine": "auto", "expert_3": {"engine": "compiled"}, "model": "SimpleModel"},
         "auto", "model is SimpleModel"),
    ],
    ids=str,
)  # fmt: skip
def test_loops_that_do_not_apply_are_refused_before_anything_is_read(
    values: dict[str, Any],
    device: str,
    reason: str,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = {"files": ["not there.gz"], "split": [0.6, 0.2, 0.2]}
    config = make_config(**{"engine": "compiled", "data": data, **values})
    with pytest.raises(ConfigError, match=f"engine: .*{reason}.*set engine to auto"):
        nnt.train(config, device=device)
    assert not list(workplace.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_command_says_that_there_is_no_gpu_before_any_work(
    workplace: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not the store of the debug mode that other versions have used.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("tmp")))
    done = CliRunner().invoke(main, ["train", "baseline_v2", "--device", "cuda"])
    assert done.exit_code == 1
    assert "PyTorch" in done.stderr
    assert not list(workplace.iterdir())


NOT_COMPILED: set[str] = set()
"""Activations and optimisers that are left to PyTorch on purpose."""


def test_the_compiled_loops_have_every_activation_but_those_left_out_on_purpose() -> (
    None
):
    assert set(ACTIVATIONS) - NOT_COMPILED == set(ACTIVATION_CODES)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_optimiser_is_compiled_or_known_not_to_be(name: str) -> None:
    assert (name in OPTIMISER_CODES) != (name in NOT_COMPILED)


def test_a_configuration_knows_every_optimiser() -> None:
    for name in OPTIMISERS:
        assert make_config(optim=name).optim == name
