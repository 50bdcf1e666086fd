"""Kill workers and sweeps at random and count what is lost; measure what sweeps cost.

``python -m bench sweep`` runs small sweeps through ``nnt sweep``, sends SIGKILL to a
worker or to the sweep itself at random moments, goes on by ``--resume``, and compares
every trial with that of a sweep that was left alone. ``--only overhead jobs many``
measures instead: what 20 trials of about 5 s cost beside the same trainings without a
sweep, what two jobs gain over one, and how long 200 trials of baseline_v2 on 20,000
rows take. Everything that trains has one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import psutil

from bench._frame import Times, environment, kept_where_it_fails, read_options
from bench._killing import Command, Facts, Killing
from nnt.config import load_config
from nnt.sweep import load_space
from nnt.sweep.local import THREADS
from nnt.sweep.record import RECORD, Record, Trial
from nnt.tracking import open_run

SPACE = {
    "learning_rate": {"log_uniform": [1e-3, 1e-1]},
    "seed": {"choice": [1, 2, 3, 4]},
}
SMALL = {
    "data": {"simulate": {"tracks": 1000, "seed": 1}, "split": [0.6, 0.2, 0.2]},
    "experts": [-1], "hidden": [8], "epochs": 150, "batch_size": 16,
    "early_stopping_patience": None, "split_seed": 1,
}  # fmt: skip
SECONDS = SMALL | {
    "data": {"simulate": {"tracks": 20_000, "seed": 1}, "split": [0.6, 0.2, 0.2]},
    "batch_size": 64, "epochs": 1300, "hidden": [81], "predictions": [],
}  # fmt: skip
PLAIN = """
import json, sys
import nnt
for overrides in json.load(open(sys.argv[1])):
    config = nnt.load_config("config.yaml", overrides | {"plot_every": 0})
    nnt.train(config, jobs=1)
"""
"""What someone without sweeps would write."""
ONE_THREAD = dict.fromkeys(THREADS, "1")
CONFIG = "config.yaml"
SIX_TRIALS = (
    "--trials", "6", "--sampler", "random", "--pruner", "none", "--jobs", "2",
)  # fmt: skip


@dataclass
class Sweeping(Command):
    """``nnt sweep`` in a directory."""

    options: list[str] = field(default_factory=list)

    def words(self) -> list[str]:
        """What it is called with."""
        return ["sweep", *(["--resume", self.run_id] if self.run_id else self.options)]

    def workers(self) -> list[psutil.Process]:
        """Its processes that train."""
        with suppress(psutil.Error):
            found = psutil.Process(self.process.pid).children(recursive=True)
            return [p for p in found if "nnt.sweep.local" in " ".join(p.cmdline())]
        return []

    def find_run(self) -> str:
        """Run of the sweep, once it has one."""
        for place in self.home.glob(f".nnt/runs/*/{RECORD}"):
            self.run_id = place.parent.name
        return self.run_id

    def trials(self) -> list[Trial]:
        """What the record says of each trial."""
        record = Record(self.home / ".nnt" / "runs" / self.find_run() / RECORD)
        record.close()
        return record.trials

    def facts(self) -> Facts:
        """Trials, how often each was trained to its end, and runs that have no end."""
        sweep = open_run(self.find_run(), self.store)
        trainings = sweep.children()
        runs = [sweep, *trainings, *(c for run in trainings for c in run.children())]
        ended = [r.tags["nnt.trial"] for r in trainings if r.status == "FINISHED"]
        return {
            **{
                f"trial {t.number}": (t.state, t.values, t.suggested)
                for t in self.trials()
            },
            **{f"trainings of {n}": times for n, times in Counter(ended).items()},
            "left running": [run.name for run in runs if run.status == "RUNNING"],
        }


class Bench(Killing[Sweeping]):
    """Sweeps in directories of their own, below one that is new."""

    kills_of_one = 10

    def sweeping(self, name: str, config: dict[str, Any], *options: str) -> Sweeping:
        """Prepare a sweep in a directory with an empty store."""
        home = self.home(name)
        (home / "space.yaml").write_text(json.dumps(SPACE))
        (home / CONFIG).write_text(json.dumps({"extends": "baseline_v2"} | config))
        words = [CONFIG, "--space", "space.yaml", *options]
        return Sweeping(home, options=words)

    def command(self, name: str) -> Sweeping:
        """Prepare a small sweep with two workers."""
        return self.sweeping(name, SMALL, *SIX_TRIALS)

    def wait_a_while(self, command: Sweeping) -> None:
        """Wait for a random time."""
        command.wait(self.random.uniform(0.1, 0.5) * self.length_s)

    def strike(self, command: Sweeping) -> str:
        """Kill a worker or the whole sweep; say which."""
        workers = command.workers()
        if workers and self.random.random() < 0.5:
            with suppress(psutil.Error):
                self.random.choice(workers).kill()
                return "workers"
        return "sweeps" if command.kill() else ""

    def kills(self) -> bool:
        """Kill workers and sweeps; print what was lost."""
        self.leave_alone()
        row = self.kill_and_compare()
        killed = " and ".join(f"{n} {what}" for what, n in self.killed.items())
        print(f"SIGKILL to {killed}: {row.tried - row.survived} lost", *row.notes)
        return not row.notes

    def overhead(self) -> bool:
        """What trials of some seconds cost beside the same trainings alone."""
        alone, one = self.alone, self.one_job
        trials = one.sweeping.trials()
        in_trials_s = sum(trial.seconds for trial in trials)
        print(
            f"{len(trials)} trials by one job: {one}, of it {in_trials_s:.1f} s in "
            f"trials; the same trainings in a loop in one process, without a sweep and "
            f"without plots: {alone}; times as long: {one.took.over(alone.took, 3)}"
        )
        return True

    def jobs(self) -> bool:
        """The same trials by one job and by two; and what two cores can give."""
        two = self.swept("two-jobs", SECONDS, self.n_trials, "--jobs", "2")
        halves = self.looped("halves", [self.overrides[::2], self.overrides[1::2]])
        print(
            f"{self.n_trials} trials: {self.one_job} by one job, {two} by two: "
            f"{self.one_job.took.over(two.took)} times as fast; two loops without a "
            f"sweep, side by side: {halves}, {self.alone.took.over(halves.took)} times "
            "as fast as one"
        )
        return True

    def many(self) -> bool:
        """Two hundred trials of baseline_v2 on 20,000 rows."""
        config = {"data": SECONDS["data"], "predictions": []}
        n = self.arguments.trials or 200
        took = self.swept("many", config, n, "--jobs", "2", pruner="median")
        states = Counter(trial.state for trial in took.sweeping.trials())
        print(f"{n} trials of baseline_v2 by two jobs: {took}, {dict(states)}")
        return True

    @property
    def n_trials(self) -> int:
        """Trials of some seconds."""
        return self.arguments.trials or 20

    @cached_property
    def one_job(self) -> Took:
        """Trials of some seconds, one after the other."""
        return self.swept("one-job", SECONDS, self.n_trials, "--jobs", "1")

    @cached_property
    def overrides(self) -> list[dict[str, Any]]:
        """What those trials varied."""
        space = load_space(SPACE, load_config(self.one_job.sweeping.home / CONFIG))
        trials = self.one_job.sweeping.trials()
        return [space.values(trial.suggested) for trial in trials]

    @cached_property
    def alone(self) -> Took:
        """The same trainings as someone without sweeps would run them."""
        return self.looped("alone", [self.overrides])

    def looped(self, name: str, parts: list[list[dict[str, Any]]]) -> Took:
        """Train parts of the trials side by side, each by a loop in one process."""
        loops = self.sweeping(name, SECONDS)
        with timing(loops) as took, ExitStack() as stack:
            for number, overrides in enumerate(parts):
                path = loops.home / f"overrides-{number}.json"
                path.write_text(json.dumps(overrides))
                loop = subprocess.Popen(
                    [sys.executable, "-c", PLAIN, path.name], cwd=loops.home,
                    env=environment() | ONE_THREAD, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                stack.enter_context(loop)
        return took

    def swept(
        self,
        name: str,
        config: dict[str, Any],
        n: int,
        *more: str,
        pruner: str = "none",
    ) -> Took:
        """Run a sweep to its end."""
        options = ["--trials", str(n), "--pruner", pruner, *more]
        sweeping = self.sweeping(name, config, *options)
        with timing(sweeping) as took:
            sweeping.start()
            if sweeping.wait(3600) != 0:
                sys.exit(f"the sweep fails:\n{sweeping.told()}")
        return took


@dataclass
class Took:
    """A sweep, or loops, and what they took."""

    sweeping: Sweeping
    took: Times = field(default=Times(0.0, 0.0))

    def __str__(self) -> str:
        return f"{self.took.wall_s:.1f} s ({self.took.cpu_s:.1f} s of CPU)"


@contextmanager
def timing(sweeping: Sweeping) -> Iterator[Took]:
    """Measure processes that have ended at the end."""
    found, load, start = Took(sweeping), os.getloadavg()[0], Times.now()
    yield found
    found.took = Times.since(start)
    print(
        f"{sweeping.home.name}: {found}; {os.cpu_count()} cores, load was {load:.1f}",
        file=sys.stderr,
    )


def main() -> None:
    """Run what is asked for; exit with status 1 if anything was lost."""
    arguments = read_options(__doc__, kills=20, trials=int, seed=1, only=["kills"])
    with kept_where_it_fails("sweep") as work:
        bench = Bench(work, arguments)
        results = [getattr(bench, name)() for name in arguments.only]
        if not all(results):
            sys.exit(1)
