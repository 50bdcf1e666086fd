"""Values of keys: what goes together and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from nnt.config import load_config
from nnt.errors import ConfigError

GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"outputs": ("z", "theta"), "out_size": 2, "hidden": (81,)}),
    ({"out_size": 1}, {"outputs": ("z",)}),
    ({"outputs": ["z"]}, {"out_size": 1}),
    ({"outputs": ["nnt", "z", "theta"]}, {"outputs": ("z", "theta", "nnt")}),
    ({"outputs": ["z", "theta", "nnt", "stt"], "out_size": 4}, {"out_size": 4}),
    ({"extends": "baseline_v1_only_z"}, {"outputs": ("z",), "out_size": 1}),
    ({"extends": "baseline_v1_only_z", "outputs": ["z", "nnt"]}, {"out_size": 2}),
    ({"hidden": []}, {"hidden": ()}),
    ({"hidden": [64, 32.0]}, {"hidden": (64, 32)}),
    ({"chain": "3dh", "experts": [-1], "in_size": 126}, {"in_size": 126}),
    ({"chain": "3dh", "experts": [-1]}, {"in_size": 27}),
    ({"loss": "TriggerLoss", "class_weight": 2}, {"class_weight": 2.0}),
    ({"average": 0.999}, {"average": 0.999}),
    ({"split_seed": 7, "seed": 3}, {"seed_of_split": 7}),
    ({"seed": 3}, {"seed_of_split": 3, "split_seed": None}),
    ({"teach_from": "12e7"}, {"teach_from": ("12e7",)}),
    ({"teach_from": ["a", "b"]}, {"teach_from": ("a", "b")}),
    ({"whiten": 2, "expert_1": {"whiten": None}}, {"whiten": 2.0}),
    ({"predictions": ["test", "val"]}, {"predictions": ("val", "test")}),
    ({"predictions": []}, {"predictions": ()}),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "values"), GOOD, ids=[str(keys) for keys, _ in GOOD])
def test_what_goes_together(keys: dict[str, Any], values: dict[str, Any]) -> None:
    config = load_config(keys)
    assert {key: getattr(config, key) for key in values} == values
    assert load_config(config.to_dict()) == config
    assert config.form.outputs == config.outputs


@pytest.mark.parametrize(
    ("chain", "quantize", "largest"),
    [
        ("classic", {}, 63), ("3dh", {}, 4), ("3dh", {"largest_weight": 8}, 8),
        ("3dh", None, None),
    ],
)  # fmt: skip
def test_the_largest_weight_follows_from_the_chain(
    chain: str, quantize: dict[str, Any] | None, largest: float | None
) -> None:
    experts = [-1] if chain == "3dh" else [0]
    config = load_config(
        {"chain": chain, "experts": experts, "act": "tanh", "quantize": quantize}
    )
    own = config.for_expert(experts[0]).quantize
    assert (None if own is None else own.largest_weight) == largest
    assert load_config(config.to_dict()) == config


NORM = {"mean": 0, "std": 1}
BAD: list[tuple[dict[str, Any], str]] = [
    ({"whiten": 0}, "whiten: expected a number > 0 or null, got 0"),
    ({"whiten": 2, "quantize": {}, "act": "tanh"}, "whiten: expected null with quant"),
    ({"predictions": "val"}, "predictions: expected a list of names out of train, val"),
    ({"predictions": ["vel"]}, "unknown split 'vel'; did you mean 'val'?"),
    ({"predictions": ["val", "val"]}, "predictions: expected each split once"),
    ({"expert_1": {"predictions": []}}, "expert_1.predictions: "),
    ({"outputs": ["z", "thet"]}, "unknown output 'thet'; did you mean 'theta'?"),
    ({"outputs": []}, "outputs: expected a list of names out of z, theta, nnt, stt"),
    ({"outputs": "z"}, "outputs: expected a list of names"),
    ({"outputs": ["z", "z"]}, "outputs: expected each output once"),
    ({"outputs": ["z"], "out_size": 2}, "out_size: expected 1, the number"),
    ({"out_size": 3}, "out_size: expected 2"),
    ({"out_size": 0}, "out_size: expected a whole number >= 1 and <= 4, got 0"),
    ({"hidden": [0]}, "hidden: expected a list of widths from 1 to 4096"),
    ({"hidden": 81}, "hidden: expected a list of widths from 1 to 4096"),
    ({"hidden": [1] * 33}, "hidden: expected at most 32 layers, got 33"),
    ({"hidden": [64], "model": "SimpleModel"}, "hidden: "),
    ({"chain": "3hd"}, "chain: unknown chain '3hd'; did you mean '3dh'?"),
    ({"chain": "3dh"}, "experts: expected [-1] with chain: 3dh"),
    ({"in_size": 126}, "expected 27, got 126; 126 inputs go with chain"),
    ({"loss": "TriggerLoss", "out_size": 1}, "needs outputs: [z, theta], got [z]"),
    ({"loss": "TriggerLoss", "outputs": ["z", "nnt"]}, "loss: TriggerLoss needs"),
    ({"expert_1": {"loss": "TriggerLoss"}, "out_size": 1}, "expert_1.loss: Trig"),
    ({"expert_1": {"model": "SimpleModel"}, "hidden": [64]}, "expert_1.model: "),
    ({"class_loss": "MSE"}, "unknown loss 'MSE'; did you mean 'MSELoss'?"),
    ({"classes": {"signal_cm": 2}}, "background_cm: expected at least signal_cm (2)"),
    ({"classes": {"balance": ["chrge"]}}, "unknown quantity 'chrge'; did you"),
    ({"classes": {"signal": 1}}, "signal: unknown key; did you mean 'signal_cm'?"),
    ({"classes": {"signal_cm": 0}}, "classes.signal_cm: expected a number > 0, got 0"),
    ({"average": 1.0}, "average: expected a number > 0 and < 1 or null, got 1.0"),
    ({"teach_from": []}, "teach_from: expected a run, a list of runs or null"),
    ({"dist": {"n_buckets": 3}}, "needs either norm or uniform, got neither"),
    ({"dist": {"n_buckets": 3, "norm": NORM, "uniform": {"lower": 0, "upper": 1}}},
     "needs either norm or uniform, got both"),
    ({"dist": {"n_buckets": 3, "norm": {"mean": 0}}}, "dist.norm.std: is missing"),
    ({"experts": [-1, 0]}, "experts: expected"),
    ({"experts": []}, "experts: expected"),
    ({"in_size": 26}, "in_size: expected 27 or 126, got 26"),
    ({"expert_2": {"out_size": 1}}, "expert_2.out_size: applies to the whole run"),
    ({"epochs": True}, "epochs: expected a whole number"),
    ({"learning_rate": "1e-3"}, "learning_rate: expected a number"),
    ({"filter": "__import__('os').system('true')"}, "filter: "),
    ({"filter": [{"RangeFilter": {"largest_z": 3}}]}, "got RangeFilter(largest_z=3)"),
    ({"data": {"files": ["a"]}}, "data.split: is missing"),
    ({"data": {"files": dict.fromkeys(["train", "val"], "a")}}, "files.test: is mis"),
    ({"data": {"files": ["a"], "split": [1, 1, 1]}}, "data.split: expected"),
    ({"data": {"simulate": {"collision_stiff_share": [0.1, "x", 0.2]}}},
     "collision_stiff_share: expected a list of 3 numbers, got [0.1, 'x', 0.2]"),
    ({"data": {"simulate": {"background_share": 0.5}}}, "a list of numbers, got 0.5"),
    ({"lr_schedule": {"name": "cosin"}}, "did you mean 'cosine'"),
    ({"lr_schedule": {"name": "step", "final": 1}}, "lr_schedule.final: unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "message"), BAD, ids=[str(keys) for keys, _ in BAD])
def test_what_does_not(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as err:
        load_config(keys)
    assert message in str(err.value)
    assert len(str(err.value).splitlines()) == 1


def test_either_key_of_the_outputs_replaces_the_inherited_other() -> None:
    whole = load_config({"outputs": ["z", "theta", "nnt"]})
    assert load_config(whole.to_dict(), ["out_size=1"]).outputs == ("z",)
    assert load_config(whole.to_dict(), ["outputs=[z, stt]"]).out_size == 2


def test_a_conflict_is_reported_beside_other_mistakes() -> None:
    with pytest.raises(ConfigError) as err:
        load_config({"in_size": 126, "epochs": -1, "expert_2": {"optim": "Adm"}})
    assert [line.split(": ")[1] for line in str(err.value).splitlines()] == [
        "epochs",
        "in_size",
        "expert_2.optim",
    ]


@pytest.mark.parametrize("hidden", [[], [9], [9, 8, 7]])
def test_networks_of_any_depth_train_through_the_rounding(hidden: list[int]) -> None:
    own = load_config(
        {"extends": "baseline_v2", "quantize": {"weights": 6}, "hidden": hidden}
    )
    assert own.quantize is not None
    assert own.form.hidden == tuple(hidden)
