"""The command line as a whole: names, help, and what a slip of the pen leads to."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from nnt.cli import main


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["trian", "baseline_v2"], "train"),
        (["evalaute"], "evaluate"),
        (["config", "lsit"], "list"),
        (["data", "describ", "x.gz"], "describe"),
    ],
)
def test_a_misspelt_command_is_answered_by_the_nearest(
    words: list[str], meant: str
) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert f"did you mean '{meant}'?" in done.stderr


def test_a_command_like_no_other_is_answered_by_all() -> None:
    done = CliRunner().invoke(main, ["config", "xyz"])
    assert done.exit_code == 2
    assert "valid: check, list, show" in done.stderr
