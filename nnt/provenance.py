"""The state of the code that a training ran with: commit, dirty or not, diff."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nnt as _nnt

__all__ = ["CodeState", "code_state"]

CHECKOUT = Path(_nnt.__file__).parents[1]


@dataclass(frozen=True, slots=True)
class CodeState:
    """What git says of the checkout that NNT runs from."""

    commit: str
    """Full hash, or ``"unknown"`` outside a git checkout."""
    branch: str
    diff: str
    """Changes against the commit, files that git does not track left out."""

    @property
    def is_dirty(self) -> bool:
        """Whether the code differs from the commit."""
        return bool(self.diff)

    @property
    def diff_digest(self) -> str:
        """A short sha256 of the changes; ``"none"`` where there are none."""
        if not self.diff:
            return "none"
        return hashlib.sha256(self.diff.encode()).hexdigest()[:12]


def code_state(checkout: Path = CHECKOUT) -> CodeState:
    """Ask git for the state of the code; never fails, for git may be absent."""
    commit = _git(checkout, "rev-parse", "HEAD")
    if commit is None:
        return CodeState(commit="unknown", branch="", diff="")
    branch = _git(checkout, "rev-parse", "--abbrev-ref", "HEAD") or ""
    diff = _git(checkout, "diff", "HEAD", "--binary") or ""
    return CodeState(commit=commit.strip(), branch=branch.strip(), diff=diff)


def _git(checkout: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments],
            capture_output=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace")
