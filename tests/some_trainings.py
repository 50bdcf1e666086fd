"""Small trainings that tests share, and commands on them."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from nnt.cli import main

__all__ = ["SMALL", "TINY", "invoke"]

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
