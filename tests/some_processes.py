"""Processes that tests start, wait for, and kill."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import nnt

__all__ = ["start", "wait_for_checkpoint"]


def start(
    *words: str,
    output: int = subprocess.PIPE,
    errors: int = subprocess.DEVNULL,
    cwd: Path | None = None,
    new_session: bool = False,
    **variables: str,
) -> subprocess.Popen[str]:
    """Start Python with the NNT of the tests; its words are those of a command line."""
    paths = [str(Path(nnt.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        text=True,
        start_new_session=new_session,
    )


def wait_for_checkpoint(
    process: subprocess.Popen[str], project: Path, after_s: float = 0.0
) -> None:
    """Wait until a training below a directory has kept one since a time."""
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        kept = project.glob(".nnt/runs/*/checkpoints/last.safetensors")
        if any(path.stat().st_mtime > after_s for path in kept):
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint; exit status {process.poll()}")
