"""``nnt train`` and ``nnt sweep``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import (
    ABSENT,
    Shown,
    UserPath,
    changes,
    flag,
    overrides_option,
    print_table,
    reports,
    resume_option,
    training_data_option,
)
from nnt.cli.process import Stopper
from nnt.errors import TrackingError

if TYPE_CHECKING:
    from nnt.sweep import SweepResult
    from nnt.training import TrainingResult

MAX_SHOWN = 10
"""Trials that a sweep names."""
SOLO_OVERRIDES = ("experts=[-1]",)
DEBUG_OVERRIDES = (*SOLO_OVERRIDES, "epochs=10")


@click.command("train")
@click.argument("config")
@flag(
    "-p",
    "--production",
    help="Full training: all experts, logged to the tracking store.",
)
@flag("-s", "--solo-expert", help="Train one network on all data.")
@click.option("-d", "--description", help="What this training is for.")
@overrides_option
@training_data_option
@resume_option("Continue a run that was interrupted.")
@flag("--force", help="Resume even though the code or the configuration has changed.")
@flag("--offline", help="Train without the tracking store; upload later with nnt sync.")
@click.option(
    "--jobs", type=click.IntRange(min=1),
    help="Number of experts trained in parallel.  [default: as many as there are "
    "cores]",
)  # fmt: skip
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto",
    show_default=True,
    help="Where to train; auto: on the CPU where the compiled loops apply, else on a "
    "GPU if there is one.",
)  # fmt: skip
@reports
def train_command(
    config: str,
    production: bool,
    solo_expert: bool,
    description: str | None,
    overrides: tuple[str, ...],
    data: list[str],
    resume: str,
    force: bool,
    offline: bool,
    jobs: int | None,
    device: str,
) -> Shown:
    """Train the experts of a configuration.

    CONFIG is a name in configs/ or a path to a YAML file. Without --production
    it is a quick look: one network on all data for 10 epochs, tracked under the
    temporary directory.

    \b
    Examples:
      nnt train baseline_v2
      nnt train baseline_v2 -p -d "first try" -m epochs=100
      nnt train baseline_v2 -p -m 'data={files: [tracks.gz], split: [0.6, 0.2, 0.2]}'
      nnt train baseline_v2 -p -d "first try" -m epochs=100 --resume RUN
    """
    from nnt.config import load_config
    from nnt.tracking import MlflowTracker
    from nnt.training import Caller, Resume, train

    if offline and (resume or not production):
        raise click.UsageError(
            "--offline is for new trainings with --production; to continue one that "
            "was started offline, upload it with nnt sync first"
        )
    production = production or (bool(resume) and not _is_debug_run(resume))
    given = DEBUG_OVERRIDES * (not production) + SOLO_OVERRIDES * solo_expert
    resolved = load_config(config, [*given, *changes(overrides, data)])
    stopper = Stopper()
    stopper.watch()
    result = train(
        resolved,
        description=_description(description, production and not resume),
        jobs=jobs,
        device=device,
        tracker=MlflowTracker(
            debug=not production, offline=offline, must_exist=bool(resume)
        ),
        stop=stopper.event,
        resume=Resume(resume, force) if resume else None,
        caller=Caller(
            command=_command(config, production, solo_expert, overrides, data, device),
            on_start=stopper.begin,
        ),
    )
    return Shown(
        result.to_dict(),
        lambda: _show(result, offline=offline, debug=not production),
        has_failed=result.outcome != "FINISHED",
    )


def _is_debug_run(text: str) -> bool:
    """Whether a run is among those under the temporary directory."""
    from nnt.tracking import base_directory, default_uri, open_run

    if not (base_directory(debug=True) / "mlflow.db").is_file():
        return False
    try:
        open_run(text, default_uri(debug=True))
    except TrackingError:
        return False
    return True


def _command(
    config: str,
    production: bool,
    solo_expert: bool,
    overrides: tuple[str, ...],
    data: list[str],
    device: str,
) -> str:
    """The shell command that does the same, but for how fast and what it is for."""
    words = ["nnt", "train", config]
    words += ["-p"] * production + ["-s"] * solo_expert
    for text in overrides:
        words += ["-m", text] if text not in ABSENT else []
    for file in data:
        words += ["--data", file]
    if device != "auto":
        words += ["--device", device]
    return shlex.join(words)


def _description(description: str | None, production: bool) -> str:
    if description is None and production and sys.stdin.isatty():
        text: str = click.prompt("What is this training for?", default="", err=True)
        return text
    return "" if description is None or description in ABSENT else description


def _show(result: TrainingResult, *, offline: bool, debug: bool) -> None:
    names = ("loss", "loss_vs_reference", "z_std_cm", "z_trimmed_std_cm")
    rows = [
        [
            f"expert {k}",
            f"{expert.best_epoch}/{expert.epochs}",
            *(_number(expert.val, name) for name in names),
            expert.ending,
        ]
        for k, expert in result.experts.items()
    ]
    rows.append(["all", "", *(_number(result.val, name) for name in names), ""])
    columns = ["", "best epoch", *(f"val/{name}" for name in names), "end"]
    print_table(f"run {result.run_id} ({result.outcome})", columns, rows)
    if offline:
        click.echo(f"upload it to {result.tracking_uri} with: nnt sync")
    else:
        click.echo(f"tracked at {result.tracking_uri}")
    if result.outcome == "KILLED":
        click.echo(f"continue: the same command with --resume {result.run_id}")
    elif result.outcome == "FINISHED" and debug:
        click.echo(
            "next: nnt ui --debug, or the real training: the same command with -p"
        )
    elif result.outcome == "FINISHED" and not offline:
        run = result.run_id
        click.echo(
            f"next: nnt ui, nnt evaluate {run}, nnt export {run} --to basf2 -o DIR"
        )


def _number(figures: dict[str, float], name: str) -> str:
    return f"{figures[name]:.4g}" if name in figures else "–"


@click.command("sweep")
@click.argument("config", required=False)
@click.option(
    "--space", type=UserPath(path_type=Path), metavar="FILE",
    help="YAML file that names the keys of the configuration to vary, and their "
    "ranges.",
)  # fmt: skip
@click.option("--trials", type=click.IntRange(min=1), help="Total number of trials.")
@overrides_option
@training_data_option
@click.option(
    "--metric", "metrics", multiple=True, default=["val/loss"], show_default=True,
    help="Metric to optimize. Given several times, the result is the Pareto front.",
)  # fmt: skip
@click.option(
    "--direction", "directions", multiple=True,
    type=click.Choice(["minimize", "maximize"]),
    help="Once for each metric; default: whichever is better for it.",
)  # fmt: skip
@click.option(
    "--sampler", type=click.Choice(["tpe", "random", "grid", "qmc", "nsga2"]),
    default="tpe", show_default=True, help="How trials are chosen.",
)  # fmt: skip
@click.option(
    "--pruner", type=click.Choice(["median", "hyperband", "none"]),
    help=(
        "How poor trials are stopped early; default: median where every epoch has "
        "the metric."
    ),
)  # fmt: skip
@click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True,
    help="Number of trials that run in parallel, each in one process with one thread.",
)  # fmt: skip
@click.option(
    "--scheduler", default="", metavar="ADDRESS",
    help="Address of a Dask scheduler whose workers run the trials.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0),
    help="Seconds after which no further trial begins.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True,
    help="Random seed of the search.",
)  # fmt: skip
@resume_option(
    "Continue this sweep; all options but --trials, --jobs, --scheduler and "
    "--timeout are ignored."
)
@click.option("-d", "--description", default="", help="What this sweep is for.")
@reports
def sweep_command(
    config: str | None,
    space: Path | None,
    trials: int | None,
    overrides: tuple[str, ...],
    data: list[str],
    resume: str,
    scheduler: str,
    **settings: Any,
) -> Shown:
    """Search for a better configuration by many trainings.

    CONFIG is a name in configs/ or a path to a YAML file.

    \b
    Examples:
      nnt sweep baseline_v2 --space space.yaml --trials 50 --jobs 4
      nnt sweep --resume RUN --trials 100
    """
    from nnt.config import load_config
    from nnt.sweep import sweep

    if not resume and (config is None or space is None or trials is None):
        raise click.UsageError("a new sweep needs CONFIG, --space and --trials")
    given = changes(overrides, data)
    resolved = load_config(config, given) if config and not resume else None
    stopper = Stopper()
    stopper.watch()
    result = sweep(
        resolved,
        None if resume else space,
        trials,
        resume=resume or None,
        scheduler="" if scheduler in ABSENT else scheduler,
        stop=stopper.event,
        on_start=stopper.begin,
        **settings,
    )
    has_failed = result.outcome != "FINISHED"
    return Shown(result.to_dict(), lambda: _show_sweep(result), has_failed)


def _show_sweep(result: SweepResult) -> None:
    rows = []
    for number in result.best[:MAX_SHOWN]:
        trial = result.trials[number]
        chosen = result.space.values(trial.suggested).values()
        values = [f"{value:.5g}" for value in trial.values]
        values += [f"{v:.4g}" if isinstance(v, float) else str(v) for v in chosen]
        rows.append([str(number), *values, trial.run_id])
    states = [trial.state for trial in result.trials]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    columns = ["best trial", *result.metrics, *result.space.dimensions, "run"]
    print_table(f"sweep {result.run_id} ({result.outcome}): {counts}", columns, rows)
    if result.is_exhausted:
        click.echo("the space is exhausted: every point of it has been tried")
    click.echo(f"tracked at {result.tracking_uri}; best configuration: best.yaml")
    if result.outcome == "KILLED":
        click.echo(f"continue with: nnt sweep --resume {result.run_id}")
