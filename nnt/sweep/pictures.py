"""The pictures of a sweep: what its trials say, put into arrays and drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from nnt import plots
from nnt.metrics import METRICS
from nnt.sweep.note import Shares
from nnt.sweep.record import Trial
from nnt.sweep.space import Dimension, Space

WIDEST = 14
"""Characters of a choice; more would reach the next axis."""


def draw_sweep(
    trials: Sequence[Trial],
    space: Space,
    directions: Mapping[str, str],
    shares: Shares,
    best: Sequence[int],
    title: str,
) -> dict[str, bytes]:
    """Draw the pictures of a sweep; one that fails is left out.

    Parameters
    ----------
    trials : sequence of Trial
        Of the sweep; at least one is complete.
    space : Space
        What was varied.
    directions : mapping of str to str
        Metric of the search to ``"minimize"`` or ``"maximize"``.
    shares : mapping
        Importances.
    best : sequence of int
        Trials that no other one beats.
    title : str
        Which sweep it is, below the title of each picture.

    Returns
    -------
    dict of str to bytes
        Name of the picture to its PNG.
    """
    metrics = [
        _metric(i, name, direction, trials)
        for i, (name, direction) in enumerate(directions.items())
    ]
    coordinates = [
        _coordinate(key, dimension, [t.suggested[key] for t in trials])
        for key, dimension in space.dimensions.items()
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
    return plots.SweptMetric(
        name=name,
        unit=_unit(name),
        sign=1 if direction == "maximize" else -1,
        values=np.array(values, np.float64),
        pruned=np.array(pruned, np.float64),
    )


def _unit(name: str) -> str:
    base = name.partition("/")[2]
    if base == "loss":
        return "network units"
    known = METRICS.get(base)
    return known.unit if known else ""


def _coordinate(
    key: str, dimension: Dimension, suggested: Sequence[object]
) -> plots.Coordinate:
    labels = dimension.labels
    if dimension.kind != "choice":
        values = np.array([dimension.value(s) for s in suggested], np.float64)
        return plots.Coordinate(name=key, values=values, is_log=dimension.is_log)
    places = np.array([labels.index(str(s)) for s in suggested], np.float64)
    names = tuple(_short(choice, dimension.choices) for choice in dimension.choices)
    return plots.Coordinate(name=key, values=places, names=names)


def _short(choice: object, choices: Sequence[object]) -> str:
    """Write a choice in few characters; a mapping by its name, if no other has it."""
    if isinstance(choice, Mapping):
        names = [other.get("name") for other in choices if isinstance(other, Mapping)]
        if choice.get("name") and names.count(choice["name"]) == 1:
            choice = choice["name"]
    text = choice if isinstance(choice, str) else json.dumps(choice)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"
