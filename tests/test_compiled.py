"""Compiled code is kept where there is a place for it, and runs where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def use(folder: Path, *, numba: bool, **variables: Path | str) -> None:
    """Call a compiled function; numba may find no place for it on its own."""
    folder.mkdir(exist_ok=True)
    (folder / "added.py").write_text(SOURCE)
    if not numba:
        (folder / "__pycache__").touch()  # no folder can be made of that name
        variables |= {"HOME": "/proc/none", "XDG_CACHE_HOME": "/proc/none"}
    subprocess.run(
        [sys.executable, "-c", CODE, str(folder)],
        env=os.environ | {k: str(v) for k, v in variables.items()},
        check=True,
    )


def kept(folder: Path) -> int:
    return len(list(folder.rglob("added.add*.nbc")))


def test_compiled_code_is_kept_near_its_source(tmp_path: Path) -> None:
    use(tmp_path / "source", numba=True, NNT_CACHE_DIR=tmp_path / "nnt")
    assert (kept(tmp_path / "source"), kept(tmp_path / "nnt")) == (1, 0)


def test_else_it_is_kept_in_the_cache_of_nnt(tmp_path: Path) -> None:
    for _ in range(2):
        use(tmp_path / "source", numba=False, NNT_CACHE_DIR=tmp_path / "nnt")
        assert (kept(tmp_path / "source"), kept(tmp_path / "nnt")) == (0, 1)


def test_else_it_is_compiled_in_every_process(tmp_path: Path) -> None:
    use(tmp_path / "source", numba=False, NNT_CACHE_DIR="/dev/null")
    assert kept(tmp_path) == 0


def test_without_compiled_code_functions_are_plain_python(tmp_path: Path) -> None:
    use(tmp_path / "source", numba=True, NUMBA_DISABLE_JIT="1")
    assert kept(tmp_path) == 0
