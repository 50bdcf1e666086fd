"""What the run of a sweep holds: trials, best configuration, pictures, description."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from nnt import plots
from nnt.config import load_config
from nnt.markdown import table
from nnt.metrics import METRICS
from nnt.sweep.record import Trial
from nnt.sweep.settings import Settings
from nnt.sweep.space import SEED, Dimension
from nnt.sweep.study import Search
from nnt.tracking import Run, hide_passwords

Shares = Mapping[str, Mapping[str, float]]
"""Metric to key to its importance."""

MAX_ROWS = 10
MAX_KEYS = 8
STATES = ("complete", "pruned", "failed", "running")
CLEAR = 2 * math.sqrt(2)
"""Two trials of one configuration differ by less in 95 of 100 cases, in units of the
spread of one."""
WIDEST = 14
"""Characters of a choice; more would reach the next axis."""


def write_report(
    run: Run, settings: Settings, trials: Sequence[Trial], search: Search
) -> None:
    """Log the table of trials, the best configuration, pictures and the description."""
    best = search.best()
    run.log_text(_csv(settings, trials), "trials.csv")
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


def _csv(settings: Settings, trials: Sequence[Trial]) -> str:
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


def describe_sweep(
    settings: Settings,
    trials: Sequence[Trial],
    best: Sequence[int],
    shares: Shares,
    run_id: str,
    pictures: Iterable[str],
) -> str:
    """Write what was tried, what is best, and how far it can be believed.

    MLflow shows five lines or so before a click: the best trial comes first.
    """
    parts = [
        settings.description,
        _best(settings, trials, best),
        f"{_counts(settings, trials)}  \n{_search(settings)}",
    ]
    if best:
        parts.append(_trials(settings, trials, best))
        if SEED in settings.space.dimensions:
            numbers = range(len(settings.metrics))
            parts += [_seeds(settings, trials, best, number) for number in numbers]
        parts.append(_importances(shares))
    parts.append(
        "\n".join(
            f"![{name}](get-artifact?path=plots/{name}.png&run_uuid={run_id})"
            for name in pictures
        )
    )
    repeat = "nnt train best.yaml -p\n" if best else ""
    parts.append(
        "To go on (`best.yaml` is among the artifacts):\n\n"
        f"```\n{repeat}nnt sweep --resume {run_id} --trials N\n```"
    )
    return "\n\n".join(part for part in parts if part)


def _best(settings: Settings, trials: Sequence[Trial], best: Sequence[int]) -> str:
    if not best:
        return "**No trial is complete.**"
    metrics, first = settings.metrics, trials[best[0]]
    if len(metrics) > 1:
        return (
            f"**{len(best)} trials are on the front of {' and '.join(metrics)}**: no "
            "other one is better in all of them."
        )
    values = settings.space.values(first.suggested)
    chosen = ", ".join(f"`{k}={_shown(v)}`" for k, v in values.items())
    return (
        f"**Best: trial {_link(first)} with {metrics[0]} {first.values[0]:.5g}**, "
        f"{chosen}."
    )


def _counts(settings: Settings, trials: Sequence[Trial]) -> str:
    states = [trial.state for trial in trials]
    counted = [f"{states.count(s)} {s}" for s in STATES if s in states]
    missing = settings.trials - len(trials)
    left = f"; {missing} were not started" if missing > 0 else ""
    return f"{len(trials)} trials: {', '.join(counted) or 'none yet'}{left}."


def _search(settings: Settings) -> str:
    pairs = zip(settings.directions, settings.metrics, strict=True)
    goals = ", ".join(f"{direction} {metric}" for direction, metric in pairs)
    return (
        f"Configuration `{settings.config.name}`; {goals}; sampler {settings.sampler}, "
        f"pruner {settings.pruner}, seed {settings.seed}."
    )


def _trials(settings: Settings, trials: Sequence[Trial], best: Sequence[int]) -> str:
    """The best trials: those of the front, or the first ten by their metric."""
    chosen = [trials[number] for number in best]
    if len(settings.metrics) == 1:
        chosen = _ranked(settings, trials, 0)
    keys = list(settings.space.dimensions)[:MAX_KEYS]
    rows = []
    for trial in chosen[:MAX_ROWS]:
        values = settings.space.values(trial.suggested)
        metrics = [f"{value:.5g}" for value in trial.values]
        shown = [_shown(values[key]) for key in keys]
        rows.append([_link(trial), *metrics, *shown, f"{trial.seconds:.0f} s"])
    return table(["trial", *settings.metrics, *keys, "time"], rows)


def _ranked(settings: Settings, trials: Iterable[Trial], metric: int) -> list[Trial]:
    sign = -1 if settings.directions[metric] == "maximize" else 1
    complete = [trial for trial in trials if trial.state == "complete"]
    return sorted(complete, key=lambda trial: sign * trial.values[metric])


def by_configuration(trials: Iterable[Trial]) -> list[list[Trial]]:
    """Put complete trials together that differ in their seed alone."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        if trial.state == "complete":
            key = repr(sorted((trial.suggested | {SEED: None}).items()))
            groups.setdefault(key, []).append(trial)
    return list(groups.values())


def spread(groups: Iterable[Sequence[float]]) -> float:
    """Standard deviation within groups of values, all groups together."""
    squares = sum(len(group) * np.var(group) for group in groups)
    return math.sqrt(squares / sum(len(group) - 1 for group in groups))


def _seeds(
    settings: Settings, trials: Sequence[Trial], best: Sequence[int], metric: int
) -> str:
    """Say whether the best trial is better than another seed would make it."""
    name, configurations = settings.metrics[metric], by_configuration(trials)
    repeated = [group for group in configurations if len(group) > 1]
    if not repeated:
        return (
            "**Seeds:** no two complete trials differ in their seed alone, so that the "
            f"spread of {name} over seeds is not known; with 10 trials or more, the "
            "last ones repeat the best."
        )
    std = spread([[trial.values[metric] for trial in group] for group in repeated])
    several = "s" if len(repeated) > 1 else ""
    text = (
        f"**Seeds:** the spread of {name} over seeds is {std:.2g} (standard deviation; "
        f"{sum(map(len, repeated))} trials of {len(repeated)} configuration{several})."
    )
    if len(settings.metrics) > 1:
        return text
    first = trials[best[0]]
    (same,) = (group for group in configurations if first in group)
    if len(same) > 1:
        mean = sum(trial.values[metric] for trial in same) / len(same)
        text += (
            f" The configuration of the best trial has {mean:.5g} on average over "
            f"{len(same)} seeds."
        )
    others = _ranked(settings, (t for t in trials if t not in same), metric)
    if not others:
        return text
    difference = abs(first.values[metric] - others[0].values[metric])
    return f"{text} {_next_best(others[0], difference, std)}"


def _next_best(other: Trial, difference: float, std: float) -> str:
    """Compare the best trial with that of another configuration."""
    in_spreads = difference / std if std else math.inf
    verdict = (
        "so that it is better than the spread over seeds"
        if in_spreads > CLEAR
        else "so that it is not better than the spread over seeds: another seed could "
        "reverse their order"
    )
    return (
        f"The best trial of another configuration, {_link(other)}, differs "
        f"from the best by {difference:.2g}, {in_spreads:.1f} times that spread, "
        f"{verdict}."
    )


def _importances(shares: Shares) -> str:
    if not shares:
        return ""
    keys = next(iter(shares.values()))
    rows = [
        [f"`{k}`", *(f"{by_key[k]:.0%}" for by_key in shares.values())] for k in keys
    ]
    return table(["key", *(f"importance for {name}" for name in shares)], rows)


def _link(trial: Trial) -> str:
    return f"[{trial.number}](#/runs/{trial.run_id})"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
