"""Compare many runs on the same rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnt import metrics
from nnt.errors import DataError
from nnt.evaluation.judged_rows import JudgedRows, rows_for
from nnt.evaluation.loaded_run import LoadedRun, load_run
from nnt.evaluation.network_result import (
    NetworkResult,
    SharedRows,
    results,
    short_names,
)
from nnt.evaluation.seen import rows_trained_on
from nnt.judging import Outputs, predicted_outputs
from nnt.progress import show_progress
from nnt.tracking import hide_passwords
from nnt.tracks import Tracks
from nnt.training.data import SPLITS

__all__ = [
    "Comparison",
    "Difference",
    "compare_loaded_runs",
    "compare_on",
    "direction_of",
    "load_runs",
    "shared_rows",
]

log = logging.getLogger(__name__)

SIGNIFICANT = 2.0
"""Errors by which a difference must stand out."""

SIMULATION = "data.simulate."
SIMULATION_KEYS = ("data.simulate.tracks", "data.simulate.seed")
ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of a network minus that of the first."""

    value: float
    error: float
    """Standard error, what the networks share drops out; NaN if it is not known."""
    better: bool | None
    """None where it does not stand out from its error, or has no good direction."""

    @property
    def stands_out(self) -> bool:
        """Whether it exceeds twice its error."""
        return bool(abs(self.value) > SIGNIFICANT * self.error)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "value": self.value,
            "error": self.error if math.isfinite(self.error) else None,
            "stands_out": self.stands_out,
            "better": self.better,
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """Networks on the same rows; the first is what the others are compared with."""

    rows: JudgedRows
    n_tracks: int
    filter: str
    networks: list[NetworkResult]
    differences: dict[str, dict[str, Difference]]
    """Name of the network -> figure -> difference to the first."""
    config_differences: dict[str, dict[str, str]]
    """Key of the configuration -> name of the run -> value, where they differ."""
    trained_on: dict[str, float | None]
    """Name of the run -> share of the rows that its training split holds; None if
    it is not known."""

    @property
    def source(self) -> str:
        """Where the rows come from, in words."""
        rows = self.rows
        if rows.split is None:
            return rows.source
        return f"the {rows.split} split of {self.first.name}"

    @property
    def first(self) -> NetworkResult:
        """What the others are compared with."""
        return self.networks[0]

    @property
    def scopes(self) -> list[str]:
        """``all`` and, if there are several, the experts."""
        return list(dict.fromkeys(name.split("/")[0] for name in self.first.figures))

    @property
    def hardware(self) -> dict[str, list[float | None]]:
        """Kind of cost -> that of each network, where the firmware can hold it."""
        kinds = dict.fromkeys(
            kind for network in self.networks for kind in network.hardware
        )
        return {
            kind: [network.hardware.get(kind) for network in self.networks]
            for kind in kinds
        }

    def difference(self, contender: NetworkResult, name: str) -> Difference | None:
        """Difference to the first, None where either lacks the figure."""
        return self.differences.get(contender.name, {}).get(name)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "data": self.rows.source,
            "digest": self.rows.digest,
            "n_tracks": self.n_tracks,
            "filter": self.filter,
            "reference": self.first.name,
            "runs": [self._contender(network) for network in self.networks],
            "config_differences": self.config_differences,
        }

    def _contender(self, network: NetworkResult) -> dict[str, Any]:
        run = None if network.loaded is None else network.loaded.run
        found: dict[str, Any] = {
            "name": network.name,
            "run_id": None if run is None else run.run_id,
            "store": None if run is None else hide_passwords(run.uri),
            "share_trained_on": self.trained_on.get(network.name),
            "figures": _by_scope(network.figures),
            "errors": _by_scope(network.errors),
            "hardware": dict(network.hardware),
        }
        if network is self.first:
            return found
        plain = {k: d.to_dict() for k, d in self.differences[network.name].items()}
        return found | {"differences": _by_scope(plain)}


def _by_scope(flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    nested: dict[str, dict[str, Any]] = {}
    for name, value in flat.items():
        scope, _, metric = name.partition("/")
        nested.setdefault(scope, {})[metric] = value
    return nested


def _differences(first: NetworkResult, network: NetworkResult) -> dict[str, Difference]:
    errors = {
        f"{scope}/{metric}": error
        for scope, drawn in network.replicas.items()
        for metric, error in metrics.difference_errors(
            first.replicas[scope], drawn
        ).items()
    }
    differences = {}
    for name in network.figures:
        if name in first.figures:
            value = network.figures[name] - first.figures[name]
            error = errors.get(name, math.nan)
            differences[name] = Difference(value, error, _is_better(name, value, error))
    return differences


def _is_better(name: str, value: float, error: float) -> bool | None:
    direction = direction_of(name)
    if not abs(value) > SIGNIFICANT * error or direction == 0:
        return None
    return value * direction > 0


def direction_of(name: str) -> int:
    """1 where more of ``<scope>/<metric>`` is better, -1 where less is, else 0."""
    return metrics.METRICS[name.rpartition("/")[2]].direction


def load_runs(names: Sequence[str]) -> list[LoadedRun]:
    """Load the networks of all runs, or fail before anything long.

    Raises
    ------
    TrackingError, DataError, ConfigError
        One of them cannot be used.
    """
    runs = []
    with show_progress("Loading runs", "runs") as progress:
        for i, text in enumerate(names, start=1):
            runs.append(load_run(text))
            progress(i, len(names))
    return runs


def compare_loaded_runs(
    runs: Sequence[LoadedRun],
    data: str | Path | Sequence[str | Path],
    split: str | None,
) -> Comparison:
    """Judge all networks on the rows given, or on a split of the first run's data.

    Raises
    ------
    DataError
        The rows cannot be used, or there are none that all networks serve.
    """
    rows = rows_for(runs[0], data, split)
    tracks = shared_rows(runs, rows)
    seen = rows_trained_on(runs, rows, tracks, runs[0].config)
    return compare_on(runs, rows, tracks, [one.share for one in seen], in_floats)


def in_floats(loaded: LoadedRun, tracks: Tracks) -> Outputs:
    """What networks predict as they were trained."""
    return predicted_outputs(loaded.networks, tracks)


def compare_on(
    runs: Sequence[LoadedRun],
    rows: JudgedRows,
    tracks: Tracks,
    shares: Sequence[float | None],
    predict: Callable[[LoadedRun, Tracks], Outputs],
) -> Comparison:
    """Judge all networks on the same rows.

    Parameters
    ----------
    runs : sequence of LoadedRun
        The first is what the others are compared with.
    rows : JudgedRows
        Where the rows come from.
    tracks : Tracks
        Those that all networks serve, as `shared_rows` gives them.
    shares : sequence of float or None
        Share of them that each run was trained on.
    predict : callable
        Gives the outputs of the networks of a run for the rows.
    """
    first = runs[0]
    outputs = set.intersection(*(set(one.networks.outputs) for one in runs))
    shared = SharedRows(tracks, first.losses[None], sorted(outputs))
    names, judged = short_names(runs), []
    simulated = (
        rows.source in SPLITS
        and first.config is not None
        and first.config.data.simulate is not None
    )
    with show_progress("Judging", "networks") as progress:
        for result in results(shared, runs, names, predict, simulated=simulated):
            judged.append(result)
            progress(min(len(judged), len(runs)), len(runs))
    return Comparison(
        rows=rows,
        n_tracks=len(tracks),
        filter="" if first.config is None else str(first.config.filter),
        networks=judged,
        differences={
            network.name: _differences(judged[0], network) for network in judged[1:]
        },
        config_differences=_config_differences(runs, names),
        trained_on=dict(zip(names, shares, strict=True)),
    )


def shared_rows(runs: Sequence[LoadedRun], rows: JudgedRows) -> Tracks:
    """Choose the rows that the first run's filter keeps and that all runs serve.

    Raises
    ------
    DataError
        There are none.
    """
    served = runs[0].kept(rows.tracks)
    n_kept = int(served.sum())
    for loaded in runs:
        experts = loaded.networks.experts
        if -1 not in experts:
            served &= np.isin(rows.tracks.expert, sorted(experts))
    if not served.any():
        raise DataError(
            f"{rows.source}: no row passes the filter of {runs[0].text} and "
            "belongs to an expert that all runs hold; compare runs of the same experts"
        )
    if n_kept > served.sum():
        log.warning(
            "%s of %s rows left out: not all runs hold their experts",
            f"{n_kept - served.sum():,}",
            f"{n_kept:,}",
        )
    return rows.tracks[served]


def _config_differences(
    runs: Sequence[LoadedRun], names: Sequence[str]
) -> dict[str, dict[str, str]]:
    flat = {
        name: {k: str(v) for k, v in loaded.config.flat().items()}
        for name, loaded in zip(names, runs, strict=True)
        if loaded.config is not None
    }
    keys = sorted({key for values in flat.values() for key in values})
    values_of = {
        key: {name: values.get(key, ABSENT) for name, values in flat.items()}
        for key in keys
    }
    return {key: values for key, values in values_of.items() if _differ(key, values)}


def _differ(key: str, values: Mapping[str, str]) -> bool:
    there = set(values.values())
    # Dozens of parameters of a simulation tell nothing where another run has files.
    if key.startswith(SIMULATION) and key not in SIMULATION_KEYS:
        there.discard(ABSENT)
    return len(there) > 1
