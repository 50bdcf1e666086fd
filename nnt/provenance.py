"""The state of the code that a training ran with: commit, dirty or not, diff."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

CHECKOUT = Path(__file__).resolve().parents[1]
ITSELF = "nnt/provenance.py"
"""A file that every checkout of NNT tracks."""
SKIPPED = "S"
"""How `git ls-files -v` marks a file that git does not look at; small letters too."""
UNKNOWN = "unknown"
TIMEOUT_S = 30

# Plumbing, and nothing that the settings of a user change.
DIFF = (
    "diff-index", "-p", "--binary", "--full-index", "--no-ext-diff", "--no-textconv",
    "--no-color", "--no-renames", "--src-prefix=a/",
    "--dst-prefix=b/", "--submodule=short", "--ignore-submodules=none", "HEAD", "--",
)  # fmt: skip
SETTINGS = (
    "safe.directory=*",  # this code runs already, whoever owns it
    "core.fsmonitor=false",
    "core.quotePath=true",
)
KEPT_VARIABLES = ("GIT_CONFIG_", "GIT_EXEC_PATH")
"""Where git and its settings are; the others name a repository or ways to show it."""


@dataclass(frozen=True, slots=True)
class CodeState:
    """What git says of the checkout that NNT runs from."""

    commit: str
    """Full hash; ``"unknown"`` where git cannot say."""
    branch: str
    diff: str
    """Changes against the commit, files that git does not track left out."""

    @property
    def is_dirty(self) -> bool | None:
        """Whether the code differs from the commit; None where git cannot say."""
        return None if self.commit == UNKNOWN else bool(self.diff)

    @property
    def dirty_tag(self) -> str:
        """``"true"``, ``"false"``, or ``"unknown"`` where git cannot say."""
        return UNKNOWN if self.is_dirty is None else str(self.is_dirty).lower()

    @property
    def diff_digest(self) -> str:
        """A short sha256 of the changes; ``"none"`` where there are none."""
        if self.is_dirty:
            return hashlib.sha256(self.diff.encode()).hexdigest()[:12]
        return UNKNOWN if self.is_dirty is None else "none"


class _GitError(Exception):
    """Git cannot say; the message is the reason, and what to do."""


def code_state(checkout: Path = CHECKOUT) -> CodeState:
    """Ask git for the state of the code; never fails, for git may be absent.

    Neither the settings of the user nor variables such as ``GIT_DIR`` have an
    influence, and a repository around an installed NNT does not count. Where git
    cannot say, a warning names the reason and what to do.
    """
    try:
        _check_own(checkout)
        commit = _git(checkout, "rev-parse", "--verify", "HEAD^{commit}").strip()
        branch = _git(checkout, "rev-parse", "--abbrev-ref", "HEAD").strip()
        diff = _git(checkout, *DIFF)
    except _GitError as err:
        log.warning("the commit of the code is unknown: %s", err)
        return CodeState(commit=UNKNOWN, branch="", diff="")
    return CodeState(commit=commit, branch=branch, diff=diff)


def _check_own(checkout: Path) -> None:
    """Raise `_GitError` unless this is a checkout of NNT that git looks at."""
    is_root = (checkout / ".git").exists()
    listed = _git(checkout, "ls-files", "-v", "-z") if is_root else ""
    names = {entry[2:]: entry[:1] for entry in listed.split("\0")}
    if ITSELF not in names:
        raise _GitError(
            f"{checkout} is not a git checkout of NNT; install it from a clone (pip "
            "install --editable) to record commit and changes with each training"
        )
    for name, flag in names.items():
        # A sparse checkout leaves files out.
        if (flag.islower() or flag == SKIPPED) and (checkout / name).exists():
            raise _GitError(
                f"git is set not to look for changes in {name}; undo that by "
                f"`git update-index --no-assume-unchanged --no-skip-worktree {name}`"
            )


def _git(checkout: Path, *arguments: str) -> str:
    settings = [word for setting in SETTINGS for word in ("-c", setting)]
    try:
        done = subprocess.run(
            ["git", *settings, "-C", str(checkout), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=TIMEOUT_S,
            env=_environment(),
        )
    except FileNotFoundError as err:
        raise _GitError("git is not on the PATH; install it") from err
    except (OSError, subprocess.SubprocessError) as err:
        raise _GitError(f"git does not answer ({err}); try `git status`") from err
    if done.returncode:
        raise _GitError(_reason(checkout, done.stderr.decode(errors="replace")))
    return done.stdout.decode("utf-8", errors="replace")


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith(KEPT_VARIABLES)
    }
    # Messages that can be compared, and no attempt to write to the checkout.
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def _reason(checkout: Path, message: str) -> str:
    if "dubious ownership" in message or "safe.directory" in message:
        return (
            f"{checkout} belongs to another user; allow git to read it by "
            f"`git config --global --add safe.directory {checkout}`"
        )
    first = message.strip().partition("\n")[0] or "no message"
    return f"{checkout}: git says {first!r}; try `git status` there"
