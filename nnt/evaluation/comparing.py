"""Compare many runs on the same rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnt import metrics
from nnt.errors import DataError
from nnt.evaluation.judged_rows import JudgedRows
from nnt.evaluation.loaded_run import LoadedRun
from nnt.evaluation.network_result import NetworkResult, results, short_names
from nnt.judging import Outputs
from nnt.progress import show_progress
from nnt.tracking import hide_passwords
from nnt.tracks import Tracks
from nnt.training.data import SPLITS

__all__ = [
    "Comparison",
    "Difference",
    "compare_on",
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
    direction: int
    """1 where more is better, -1 where less is, else 0."""

    @property
    def stands_out(self) -> bool:
        """Whether it exceeds twice its error."""
        return bool(abs(self.value) > SIGNIFICANT * self.error)

    @property
    def better(self) -> bool | None:
        """None where it does not stand out, or has no good direction."""
        if not self.stands_out or self.direction == 0:
            return None
        return self.value * self.direction > 0

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
    differences: dict[str, dict[str, dict[str, Difference]]]
    """Name of the network -> scope -> metric -> difference to the first."""
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
        return list(self.first.figures)

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

    def difference(
        self, network: NetworkResult, scope: str, metric: str
    ) -> Difference | None:
        """Difference to the first, None where either lacks the metric."""
        return self.differences.get(network.name, {}).get(scope, {}).get(metric)

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
            "figures": network.figures,
            "errors": network.errors,
            "hardware": dict(network.hardware),
        }
        if network is self.first:
            return found
        differences = {
            scope: {name: one.to_dict() for name, one in of_scope.items()}
            for scope, of_scope in self.differences[network.name].items()
        }
        return found | {"differences": differences}


def _differences(
    first: NetworkResult, network: NetworkResult
) -> dict[str, dict[str, Difference]]:
    found = {}
    for scope, figures in network.figures.items():
        of_first = first.figures[scope]
        errors = metrics.difference_errors(
            first.replicas[scope], network.replicas[scope]
        )
        found[scope] = {
            name: Difference(
                figures[name] - of_first[name],
                errors.get(name, math.nan),
                metrics.METRICS[name].direction,
            )
            for name in figures
            if name in of_first
        }
    return found


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
    names, judged = short_names(runs), []
    simulated = (
        rows.source in SPLITS
        and first.config is not None
        and first.config.data.simulate is not None
    )
    with show_progress("Judging", "networks") as progress:
        for result in results(tracks, runs, names, predict, simulated=simulated):
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
