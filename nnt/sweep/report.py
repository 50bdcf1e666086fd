"""What the run of a sweep holds: table of trials, best configuration, pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from nnt import plots
from nnt.config import load_config
from nnt.metrics import METRICS
from nnt.sweep.note import Shares, describe_sweep
from nnt.sweep.record import Trial
from nnt.sweep.settings import Settings
from nnt.sweep.space import Dimension
from nnt.sweep.study import Search
from nnt.tracking import Run, hide_passwords

WIDEST = 14
"""Characters of a choice; more would reach the next axis."""


def write_report(
    run: Run, settings: Settings, trials: Sequence[Trial], search: Search
) -> None:
    """Log the table of trials, the best configuration, pictures and the description."""
    best = search.best()
    run.log_text(_table(settings, trials), "trials.csv")
    for number in best:
        values = settings.space.values(trials[number].suggested)
        chosen = load_config(settings.config, values)
        name = "best.yaml" if number == best[0] else f"front/trial_{number:03d}.yaml"
        run.log_text(hide_passwords(chosen.to_yaml()), name)
    shares: Shares = {}
    pictures: dict[str, bytes] = {}
    if best:
        found = {n: search.importances(i) for i, n in enumerate(settings.metrics)}
        shares = {name: by_key for name, by_key in found.items() if by_key}
        title = f"sweep of {settings.config.name} {run.run_id[:6]}"
        pictures = draw_sweep(settings, trials, best, shares, title)
    for name, data in pictures.items():
        run.log_bytes(data, f"plots/{name}.png")
    note = describe_sweep(settings, trials, best, shares, run.run_id, pictures)
    run.set_tags({"mlflow.note.content": hide_passwords(note)})


def _table(settings: Settings, trials: Sequence[Trial]) -> str:
    """Write one line for each trial, as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    metrics, keys = settings.metrics, settings.space.dimensions
    writer.writerow(["trial", "state", *metrics, *keys, "seconds", "run_id", "reason"])
    for trial in trials:
        values = [repr(value) for value in trial.values] or [""] * len(metrics)
        chosen = settings.space.values(trial.suggested).values()
        ending = (f"{trial.seconds:.1f}", trial.run_id, trial.reason)
        writer.writerow([trial.number, trial.state, *values, *chosen, *ending])
    return text.getvalue()


def draw_sweep(
    settings: Settings,
    trials: Sequence[Trial],
    best: Sequence[int],
    shares: Shares,
    title: str,
) -> dict[str, bytes]:
    """Draw the pictures of a sweep with a complete trial; one that fails is left out.

    Returns
    -------
    dict of str to bytes
        Name of the picture to its PNG.
    """
    pairs = zip(settings.metrics, settings.directions, strict=True)
    metrics = [_metric(i, *pair, trials) for i, pair in enumerate(pairs)]
    coordinates = [
        _coordinate(key, dimension, [t.suggested[key] for t in trials])
        for key, dimension in settings.space.dimensions.items()
    ]
    figures = {"history": partial(plots.sweep_history, metrics)}
    for metric in metrics:
        ending = f"_{metric.name.replace('/', '_')}" if len(metrics) > 1 else ""
        figures[f"parallel_coordinates{ending}"] = partial(
            plots.parallel_coordinates, coordinates, metric
        )
    if shares:
        n_complete = sum(trial.state == "complete" for trial in trials)
        figures["importances"] = partial(plots.importances, shares, n_complete)
    if len(metrics) == 2:
        is_best = np.isin(np.arange(len(trials)), best)
        figures["front"] = partial(plots.front, metrics[0], metrics[1], is_best)
    drawn = {name: plots.picture(name, draw, title) for name, draw in figures.items()}
    return {name: data for name, data in drawn.items() if data is not None}


def _metric(
    number: int, name: str, direction: str, trials: Sequence[Trial]
) -> plots.SweptMetric:
    values = [t.values[number] if t.state == "complete" else np.nan for t in trials]
    # What was reported of a trial that was cut is the first metric.
    pruned = [
        t.epochs[max(t.epochs)]
        if t.state == "pruned" and t.epochs and number == 0
        else np.nan
        for t in trials
    ]
    base = name.partition("/")[2]
    unit = METRICS[base].unit if base in METRICS else ""
    return plots.SweptMetric(
        name=name,
        unit="network units" if base == "loss" else unit,
        sign=1 if direction == "maximize" else -1,
        values=np.array(values, np.float64),
        pruned=np.array(pruned, np.float64),
    )


def _coordinate(
    key: str, dimension: Dimension, suggested: Sequence[object]
) -> plots.Coordinate:
    if dimension.kind != "choice":
        values = np.array([dimension.value(s) for s in suggested], np.float64)
        return plots.Coordinate(name=key, values=values, is_log=dimension.is_log)
    places = [dimension.labels.index(str(s)) for s in suggested]
    names = tuple(_short(choice, dimension.choices) for choice in dimension.choices)
    return plots.Coordinate(name=key, values=np.array(places, np.float64), names=names)


def _short(choice: object, choices: Sequence[object]) -> str:
    """Write a choice in few characters; a mapping by its name, if no other has it."""
    if isinstance(choice, Mapping):
        names = [other.get("name") for other in choices if isinstance(other, Mapping)]
        if choice.get("name") and names.count(choice["name"]) == 1:
            choice = choice["name"]
    text = choice if isinstance(choice, str) else json.dumps(choice)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
