"""``nnt sweep``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import (
    ABSENT,
    Shown,
    UserPath,
    changes,
    overrides_option,
    print_table,
    reports,
    resume_option,
    training_data_option,
)
from nnt.cli.process import Stopper

if TYPE_CHECKING:
    from nnt.sweep import SweepResult


MAX_SHOWN = 10


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
def command(
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
        command=shlex.join(["nnt", "sweep"]),
        stop=stopper.event,
        on_start=stopper.begin,
        **settings,
    )
    has_failed = result.outcome != "FINISHED"
    return Shown(result.to_dict(), lambda: _show(result), has_failed)


def _show(result: SweepResult) -> None:
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
