"""What the run of a sweep holds: table of trials, best configuration, a report."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from nnt.config import load_config
from nnt.sweep.record import Record, Trial
from nnt.sweep.space import Space
from nnt.sweep.study import Search
from nnt.tracking import Run, hide_passwords


def write_report(run: Run, record: Record, search: Search, best: Sequence[int]) -> None:
    """Log the table of trials, the best configuration, pictures and the description.

    Parameters
    ----------
    run : Run
        Of the sweep.
    record : Record
        Its trials.
    search : Search
        What Optuna knows of them.
    best : sequence of int
        Numbers of the best trials.
    """
    # Here, as elsewhere: pages and pictures would delay the first trial.
    from nnt.sweep.note import describe_sweep
    from nnt.sweep.pictures import draw_sweep

    metrics: list[str] = record.settings["metrics"]
    space = search.space
    run.log_text(table(record.trials, space, metrics), "trials.csv")
    config = load_config(record.settings["config"])
    for number in best:
        trial = record.trials[number]
        chosen = load_config(config, space.values(trial.suggested))
        name = "best.yaml" if number == best[0] else f"front/trial_{number:03d}.yaml"
        run.log_text(hide_passwords(chosen.to_yaml()), name)
    shares, pictures = {}, {}
    if best:
        found = {name: search.importances(i) for i, name in enumerate(metrics)}
        shares = {name: by_key for name, by_key in found.items() if by_key}
        directions = dict(zip(metrics, search.directions, strict=True))
        title = f"sweep of {config.name} {run.run_id[:6]}"
        pictures = draw_sweep(record.trials, space, directions, shares, best, title)
    for name, data in pictures.items():
        run.log_bytes(data, f"plots/{name}.png")
    note = describe_sweep(record, space, best, shares, run.run_id, pictures)
    run.set_tags({"mlflow.note.content": hide_passwords(note)})


def table(trials: Sequence[Trial], space: Space, metrics: Sequence[str]) -> str:
    """Write one line for each trial, as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(
        ["trial", "state", *metrics, *space.dimensions, "seconds", "run_id", "reason"]
    )
    for trial in trials:
        values = [repr(value) for value in trial.values] or [""] * len(metrics)
        writer.writerow(
            [
                trial.number, trial.state, *values,
                *space.values(trial.suggested).values(),
                f"{trial.seconds:.1f}", trial.run_id, trial.reason,
            ]
        )  # fmt: skip
    return text.getvalue()
