"""Modules of the user: named by the user alone, and known to every command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnt.config import load_config
from nnt.errors import ConfigError
from nnt.plugins import load_plugins

FILTER = """
from dataclasses import dataclass
import numpy as np
from nnt.filters import FILTERS, Filter

@dataclass(frozen=True)
class EveryOther(Filter):
    def __call__(self, tracks):
        return np.arange(len(tracks)) % 2 == 0

FILTERS["EveryOther"] = EveryOther
"""
COMMAND = ["config", "show", "base", "-m", "filter=EveryOther()"]


@pytest.fixture
def nnt_command(tmp_path: Path) -> dict[str, str]:
    """Environment of a process in which a module of the user is importable."""
    (tmp_path / "my_filters.py").write_text(FILTER)
    paths = [str(Path(__file__).parents[1]), str(tmp_path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@pytest.mark.parametrize(
    ("variable", "option", "told"),
    [
        ("", [], "no filter 'EveryOther'"),
        ("my_filters", [], "filter: dataset_filters.EveryOther()"),
        ("", ["--plugin", "my_filters"], "filter: dataset_filters.EveryOther()"),
    ],
)
def test_by_variable_and_by_option(
    nnt_command: dict[str, str], variable: str, option: list[str], told: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nnt", *option, *COMMAND],
        env={**nnt_command, "NNT_PLUGINS": variable},
        capture_output=True,
        text=True,
        check=False,
    )
    is_known = bool(variable or option)
    assert done.returncode == (0 if is_known else 1), done.stderr
    assert told in (done.stdout if is_known else done.stderr)


def test_a_configuration_of_python_knows_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nnt.filters import FILTERS

    (tmp_path / "filters_of_mine.py").write_text(FILTER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NNT_PLUGINS", "filters_of_mine")
    try:
        assert "EveryOther" in str(load_config({"filter": "EveryOther()"}).filter)
    finally:
        FILTERS.pop("EveryOther", None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere_to_be_found", None, "no module 'nowhere_to_be_found'; install it"),
        ("package.missing", None, "no module 'package.missing'"),
        ("../evil", None, "expected names of modules"),
        ("my file", None, "no module 'my'"),
        ("needs_more", "import nowhere_to_be_found", "No module named"),
        ("falls", "1 / 0", "ZeroDivisionError: division by zero"),
        ("unreadable", "def", "SyntaxError"),
    ],
)
def test_a_module_that_cannot_be_imported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: str | None,
    message: str,
) -> None:
    if content is not None:
        (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NNT_PLUGINS", name)
    with pytest.raises(ConfigError, match="NNT_PLUGINS") as err:
        load_plugins()
    assert message in str(err.value)


def test_an_empty_variable_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNT_PLUGINS", " , ")
    assert load_plugins() == ()
