"""Small trainings that tests share, and commands on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from click.testing import CliRunner

from nnt.cli import main

SMALL: dict[str, Any] = {
    "data": {"simulate": {"tracks": 1500, "seed": 1}, "split": [0.6, 0.2, 0.2]},
    "experts": [0, 3],
    "epochs": 2,
    "plot_every": 0,
}

TINY: dict[str, Any] = {
    "data": {"simulate": {"tracks": 200, "seed": 1}, "split": [0.6, 0.2, 0.2]},
    "experts": [-1],
    "epochs": 2,
    "hidden": [4],
}
"""What each of many trainings is."""


def invoke(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def overrides_of(values: Mapping[str, Any]) -> list[str]:
    """Options that set keys of a configuration."""
    texts = {k: "null" if value is None else value for k, value in values.items()}
    return [word for key, text in texts.items() for word in ("-m", f"{key}={text}")]
