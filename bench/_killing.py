"""Commands of NNT that are killed again and again, and what comes of them."""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from bench._frame import WAIT_S, environment, kill_group, nnt_command
from nnt.tracking import MlflowTracker

Facts = dict[str, Any]
"""What must not depend on kills."""


@dataclass
class Command(ABC):
    """A command of NNT in a directory, with its log in a file, that can be resumed."""

    home: Path
    uri: str | None = None
    """Tracking store; None for the default one."""
    logs: Path | None = None
    """Where its log goes; None for its directory."""
    run_id: str = ""
    """What it goes on in."""
    starts: int = field(default=0, init=False)
    begun_s: float = field(default=0.0, init=False)
    """Time of its last start."""
    process: subprocess.Popen[bytes] = field(init=False)
    """That of its last start."""

    @abstractmethod
    def words(self) -> Sequence[str]:
        """What it is called with, to begin or to go on."""

    @abstractmethod
    def find_run(self) -> str:
        """Find the run that it has begun, and note it."""

    @abstractmethod
    def facts(self) -> Facts:
        """What it leaves behind."""

    def start(self) -> None:
        """Start it, or go on."""
        self.starts += 1
        self.begun_s = time.time()
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                nnt_command(*self.words()), cwd=self.home, env=environment(self.uri),
                stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    @property
    def store(self) -> str:
        """URI of its tracking store."""
        return self.uri or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def log(self) -> Path:
        """What its last start has said."""
        return (self.logs or self.home) / f"log-{self.starts}.txt"

    def told(self) -> str:
        """The end of what it has said."""
        return self.log.read_text(errors="replace")[-2000:]

    def wait(self, seconds: float = WAIT_S) -> int | None:
        """Exit status; None if it has not ended in time."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None

    def kill(self) -> bool:
        """End it and its children without warning; whether it was still there."""
        lives = self.process.poll() is None
        kill_group(self.process)
        return lives


@dataclass
class Row:
    """A line of a table of cases."""

    what: str
    tried: int = 0
    survived: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, lost: list[str], times: int = 1) -> None:
        """Count cases with one end: nothing lost, or what was."""
        self.tried += times
        self.survived += 0 if lost else times
        self.notes += lost[:3]


C = TypeVar("C", bound=Command)


class Killing(ABC, Generic[C]):
    """Commands in directories of their own, one left alone and others killed."""

    kills_of_one: int
    """After so many kills a command may come to its end."""

    def __init__(self, work: Path, arguments: argparse.Namespace) -> None:
        self.work, self.arguments = work, arguments
        self.random = random.Random(arguments.seed)
        self.killed = Counter[str]()
        """How often what was killed."""
        self.whole: Facts = {}
        """Facts of a command that was left alone."""
        self.length_s = 0.0
        # To make the tables of a store takes seconds.
        with contextlib.chdir(work):
            MlflowTracker(f"sqlite:///{work / 'empty.db'}").close()

    def home(self, name: str) -> Path:
        """Make a directory with an empty store."""
        home = self.work / name
        home.mkdir()
        shutil.copy(self.work / "empty.db", home / "mlflow.db")
        return home

    @abstractmethod
    def command(self, name: str) -> C:
        """Prepare a command in a new directory."""

    @abstractmethod
    def wait_a_while(self, command: C) -> None:
        """Wait for the moment of a kill, or the end."""

    @abstractmethod
    def strike(self, command: C) -> str:
        """Kill a command or a part of it; say what, or nothing if it had ended."""

    def leave_alone(self, times: int = 1) -> None:
        """Run a command without any interruption, to compare with."""
        command = self.command("alone")
        for _ in range(times):
            begin = time.monotonic()
            command.start()
            if command.wait() != 0:
                sys.exit(f"the command fails by itself:\n{command.told()}")
            self.length_s = time.monotonic() - begin
        self.whole = command.facts()
        print(f"left alone: {self.length_s:.1f} s", file=sys.stderr)

    def kill_and_compare(self, seconds: float = math.inf) -> Row:
        """Kill commands again and again, and compare their ends."""
        row, number = Row("SIGKILL at a random moment, resumed"), 0
        end = time.monotonic() + seconds
        while (left := self.arguments.kills - row.tried) and time.monotonic() < end:
            number += 1
            command = self.command(f"killed-{number}")
            kills = self._kill_one(command, min(self.kills_of_one, left))
            row.add(self.lost(command), kills)
            print(f"{dict(self.killed)}, lost: {row.notes}", file=sys.stderr)
        return row

    def _kill_one(self, command: C, most: int) -> int:
        """Kill a command again and again, then let it end; how often it was killed."""
        command.start()
        for kills in range(most):
            self.wait_a_while(command)
            if not (killed := self.strike(command)):
                return kills
            self.killed[killed] += 1
            if command.process.poll() is not None:
                command.find_run()
                command.start()
        if command.wait() is None:
            command.kill()
        return most

    def lost(self, command: C) -> list[str]:
        """Name what differs from the command that was left alone."""
        try:
            found = command.facts()
            every = sorted(self.whole.keys() | found.keys())
            names = [n for n in every if self.whole.get(n) != found.get(n)]
        except Exception as err:  # noqa: BLE001 (a store that lacks something)
            names = [str(err)]
        if not names:
            return []
        shown = f"{', '.join(names[:3])} of {len(names)} differ"
        return [f"{command.home}: {shown}; {command.told()[-300:]}"]
