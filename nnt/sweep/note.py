"""The description of a sweep: a short report in Markdown, for the MLflow UI."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnt.markdown import table
from nnt.sweep.record import Record, Trial
from nnt.sweep.seeds import SEED, same_but_for_seed, spread
from nnt.sweep.space import Space

Shares = Mapping[str, Mapping[str, float]]
"""Metric to key to its importance."""

MAX_ROWS = 10
MAX_KEYS = 8
STATES = ("complete", "pruned", "failed", "running")
CLEAR = 2 * math.sqrt(2)
"""Two trials of one configuration differ by less in 95 of 100 cases, in units of the
spread of one."""


def describe_sweep(
    record: Record,
    space: Space,
    best: Sequence[int],
    shares: Shares,
    run_id: str,
    pictures: Iterable[str],
) -> str:
    """Write what was tried, what is best, and how far it can be believed.

    MLflow shows five lines or so before a click: the best trial comes first.

    Parameters
    ----------
    record : Record
        Settings and trials of the sweep.
    space : Space
        What was varied.
    best : sequence of int
        Number of the best trial; of several metrics, of all on the front.
    shares : mapping
        Importances.
    run_id : str
        Of the sweep.
    pictures : iterable of str
        Names of its pictures.
    """
    settings, trials = record.settings, record.trials
    metrics: list[str] = settings["metrics"]
    parts = [
        str(settings.get("description", "")),
        _best(trials, best, metrics, space),
        f"{_counts(trials, settings)}  \n{_search(settings)}",
    ]
    if best:
        parts += [
            _trials(trials, best, settings, space),
            *(_seeds(trials, i, settings, space, best) for i in range(len(metrics))),
            _importances(shares, trials),
        ]
    parts += [_pictures(pictures, run_id), _going_on(run_id, bool(best))]
    return "\n\n".join(part for part in parts if part)


def _best(
    trials: Sequence[Trial], best: Sequence[int], metrics: Sequence[str], space: Space
) -> str:
    if not best:
        return "**No trial is complete.**"
    first = trials[best[0]]
    if len(metrics) > 1:
        return (
            f"**{len(best)} trials are on the front of {' and '.join(metrics)}**: no "
            "other one is better in all of them."
        )
    values = space.values(first.suggested)
    chosen = ", ".join(f"`{k}={_shown(v)}`" for k, v in values.items())
    return (
        f"**Best: trial {_link(first)} with {metrics[0]} {first.values[0]:.5g}**, "
        f"{chosen}."
    )


def _counts(trials: Sequence[Trial], settings: Mapping[str, Any]) -> str:
    states = [trial.state for trial in trials]
    counted = [f"{states.count(s)} {s}" for s in STATES if s in states]
    missing = settings["trials"] - len(trials)
    left = f"; {missing} were not started" if missing > 0 else ""
    return f"{len(trials)} trials: {', '.join(counted) or 'none yet'}{left}."


def _search(settings: Mapping[str, Any]) -> str:
    goals = zip(settings["directions"], settings["metrics"], strict=True)
    return (
        f"Configuration `{settings['config']['name']}`; "
        f"{', '.join(f'{direction} {metric}' for direction, metric in goals)}; "
        f"sampler {settings['sampler']}, pruner {settings['pruner']}, seed "
        f"{settings['seed']}."
    )


def _trials(
    trials: Sequence[Trial],
    best: Sequence[int],
    settings: Mapping[str, Any],
    space: Space,
) -> str:
    """The best trials: those of the front, or the first ten by their metric."""
    if len(settings["metrics"]) > 1:
        chosen = [trials[number] for number in best[:MAX_ROWS]]
    else:
        chosen = _ranked(trials, 0, settings["directions"][0])[:MAX_ROWS]
    keys = list(space.dimensions)[:MAX_KEYS]
    rows = []
    for trial in chosen:
        values = space.values(trial.suggested)
        rows.append(
            [
                _link(trial),
                *(f"{value:.5g}" for value in trial.values),
                *(_shown(values[key]) for key in keys),
                f"{trial.seconds:.0f} s",
            ]
        )
    return table(["trial", *settings["metrics"], *keys, "time"], rows)


def _ranked(trials: Sequence[Trial], metric: int, direction: str) -> list[Trial]:
    sign = -1 if direction == "maximize" else 1
    complete = [trial for trial in trials if trial.state == "complete"]
    return sorted(complete, key=lambda trial: sign * trial.values[metric])


def _seeds(
    trials: Sequence[Trial],
    metric: int,
    settings: Mapping[str, Any],
    space: Space,
    best: Sequence[int],
) -> str:
    """Say whether the best trial is better than another seed would make it."""
    if SEED not in space.dimensions:
        return ""
    name, direction = settings["metrics"][metric], settings["directions"][metric]
    found = spread(trials, space, metric)
    if found is None:
        return (
            "**Seeds:** no two complete trials differ in their seed alone, so that the "
            f"spread of {name} over seeds is not known; with 10 trials or more, the "
            "last ones repeat the best."
        )
    several = "s" if found.n_configurations > 1 else ""
    text = (
        f"**Seeds:** the spread of {name} over seeds is {found.std:.2g} (standard "
        f"deviation; {found.n_trials} trials of {found.n_configurations} "
        f"configuration{several})."
    )
    if len(best) > 1 or len(settings["metrics"]) > 1:
        return text
    first = trials[best[0]]
    same = [t for t in same_but_for_seed(first, trials) if t.state == "complete"]
    if len(same) > 1:
        mean = sum(t.values[metric] for t in same) / len(same)
        text += (
            f" The configuration of the best trial has {mean:.5g} on average over "
            f"{len(same)} seeds."
        )
    numbers = {trial.number for trial in same}
    others = [t for t in trials if t.number not in numbers]
    ranked = _ranked(others, metric, direction)
    if not ranked:
        return text
    difference = abs(first.values[metric] - ranked[0].values[metric])
    return f"{text} {_next_best(ranked[0], difference, found.std)}"


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


def _importances(shares: Shares, trials: Sequence[Trial]) -> str:
    if not shares:
        return ""
    keys = list(next(iter(shares.values())))
    rows = [
        [f"`{k}`", *(f"{by_key[k]:.0%}" for by_key in shares.values())] for k in keys
    ]
    headings = ["key", *(f"importance for {name}" for name in shares)]
    return table(headings, rows)


def _pictures(names: Iterable[str], run_id: str) -> str:
    return "\n".join(
        f"![{name}](get-artifact?path=plots/{name}.png&run_uuid={run_id})"
        for name in names
    )


def _going_on(run_id: str, has_best: bool) -> str:
    lines = [f"nnt sweep --resume {run_id} --trials N"]
    if has_best:
        lines.insert(0, "nnt train best.yaml -p")
    return "To go on (`best.yaml` is among the artifacts):\n\n```\n" + "\n".join(
        [*lines, "```"]
    )


def _link(trial: Trial) -> str:
    return f"[{trial.number}](#/runs/{trial.run_id})"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
