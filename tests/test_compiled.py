"""Compiled code is kept where there is a place for it, and runs where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import added
assert added.add(2, 3) == 5
"""
SOURCE = """
from nnt.compiled import njit

@njit()
def add(a, b):
    return a + b
"""


def use(folder: Path, numba: bool, variables: Mapping[str, Path | str]) -> None:
    """Call a compiled function; numba may find no place for it on its own."""
    folder.mkdir(exist_ok=True)
    (folder / "added.py").write_text(SOURCE)
    if not numba:
        (folder / "__pycache__").touch()  # no folder can be made of that name
        none = "/proc/none"
        variables = {**variables, "HOME": none, "XDG_CACHE_HOME": none}
    subprocess.run(
        [sys.executable, "-c", CODE, str(folder)],
        env=os.environ | {k: str(v) for k, v in variables.items()},
        check=True,
    )


@pytest.mark.parametrize(
    ("numba", "variables", "near", "in_nnt"),
    [
        (True, {}, 1, 0),
        (False, {}, 0, 1),
        (False, {"NNT_CACHE_DIR": "/dev/null"}, 0, 0),
        (True, {"NUMBA_DISABLE_JIT": "1"}, 0, 0),
    ],
    ids=["near its source", "else in NNT's cache", "else nowhere", "plain Python"],
)
def test_compiled_code_is_kept(
    tmp_path: Path, numba: bool, variables: dict[str, str], near: int, in_nnt: int
) -> None:
    for _ in range(1 + in_nnt):
        use(
            tmp_path / "source", numba, {"NNT_CACHE_DIR": tmp_path / "nnt", **variables}
        )
    kept = [len([*(tmp_path / n).rglob("added.add*.nbc")]) for n in ("source", "nnt")]
    assert kept == [near, in_nnt]
