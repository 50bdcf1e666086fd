"""What a sweep varies: read, checked and turned into configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnt.config import load_config
from nnt.errors import ConfigError
from nnt.sweep import load_space

CONFIG = load_config("baseline_v2")

SPACE = """\
learning_rate: {log_uniform: [1e-4, 5e-2]}
batch_size: {int: [16, 4096], log: true}
weight_decay: {uniform: [0, 1e-3]}
act: {choice: [tanh/2, relu]}
hidden: {choice: [[81], [40, 20], []]}
expert_2.epochs: {int: [1, 9]}
"""


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    space = load_space(path, CONFIG)
    suggested = {
        "learning_rate": 0.01, "batch_size": 64, "weight_decay": 0.0,
        "act": '"relu"', "hidden": "[40, 20]", "expert_2.epochs": 3,
    }  # fmt: skip
    config = load_config(CONFIG, space.values(suggested))
    assert config.hidden == (40, 20)
    assert config.act == "relu"
    assert config.for_expert(2).epochs == 3
    assert config.for_expert(1).epochs == CONFIG.for_expert(1).epochs
    assert load_space(space.to_dict(), CONFIG) == space


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("learning_rat", {"uniform": [1e-4, 1]}, "did you mean 'learning_rate'?"),
        ("learning_rate", {"log_unifrom": [1e-4, 1]}, "did you mean 'log_uniform'?"),
        ("learning_rate", {"uniform": [0, 1]}, "learning_rate: expected"),
        ("learning_rate", {"log_uniform": [0, 1]}, "starts above 0"),
        ("learning_rate", {"uniform": [1, 1e-4]}, "smaller end first"),
        ("learning_rate", {"uniform": [1e-4, True]}, "expected two numbers"),
        ("learning_rate", 0.1, "expected a range or a choice"),
        ("learning_rate", {}, "expected one of"),
        (
            "learning_rate",
            {"uniform": [1e-4, 1], "log": True},
            "log can be used with int",
        ),
        ("batch_size", {"int": [0.5, 4]}, "expected two whole numbers"),
        ("batch_size", {"int": [-3, 4]}, "batch_size: expected"),
        ("act", {"choice": ["relu", "tahn"]}, "did you mean 'tanh'?"),
        ("act", {"choice": []}, "expected a list of values"),
        ("act", {"choice": ["relu", "relu"]}, "each value once"),
        ("expert_2.epochs", {"int": [-1, 3]}, "expert_2.epochs"),
        ("expert_2.workers", {"int": [1, 3]}, "applies to the whole run"),
        ("name", {"choice": ["a", "b"]}, "names the configuration"),
    ],
)
def test_a_mistake_is_named(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_space({key: value}, CONFIG)
    assert words in str(caught.value)
    assert str(caught.value).startswith("<space>: ")
    assert len(str(caught.value).splitlines()) == 1


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_space(
            {
                "lerning_rate": {"uniform": [0.1, 1]},
                "batch_size": {"int": [0, 4]},
                "act": {"choise": ["relu"]},
            },
            CONFIG,
        )
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[1] for line in sorted(lines)] == [
        "act", "batch_size", "lerning_rate",
    ]  # fmt: skip


plain = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())


@given(st.lists(plain, min_size=1, max_size=5))
def test_choices_come_back_as_they_are(values: list[Any]) -> None:
    from nnt.sweep.space import Dimension

    dimension = Dimension("choice", choices=tuple(values))
    assert [dimension.value(label) for label in dimension.labels] == values
