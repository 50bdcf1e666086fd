"""One network among those that are compared on the same rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnt import plots
from nnt.errors import DataError, ExportError
from nnt.evaluation.loaded_run import LoadedRun
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import (
    Losses,
    Outputs,
    ScoredTable,
    outputs_in_data,
)
from nnt.metrics import Predictions, Replicas
from nnt.tracks import Tracks

__all__ = [
    "DATA_TAKING",
    "STAND_IN",
    "NetworkResult",
    "SharedRows",
    "results",
    "short_names",
]

log = logging.getLogger(__name__)

DATA_TAKING = "data taking"
"""The network that ran when the data were taken."""
STAND_IN = "stand-in of the simulation"
"""The network whose outputs simulated rows hold, fitted to that of the trigger."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NetworkResult:
    """One network: its metrics with what is needed for their errors."""

    name: str
    loaded: LoadedRun | None
    """None for the network of the data taking."""
    figures: Mapping[str, float]
    """``<scope>/<metric>``, a scope being ``all`` or ``expert_k``."""
    errors: Mapping[str, float]
    """Standard errors under the same names, where they are known."""
    replicas: Mapping[str, Replicas]
    """By scope, for errors of differences to another network."""
    curves: Mapping[str, Any]
    """What plots draw of it, by their names."""
    hardware: Mapping[str, float] = field(default_factory=dict)
    """What all experts together cost in the firmware; empty where it has no form."""


def short_names(runs: Sequence[LoadedRun]) -> list[str]:
    """Name each run so that a person can distinguish it from the others."""
    named = [
        one.name if one.run is None else f"{one.name} {one.run.run_id[:6]}"
        for one in runs
    ]
    seen: dict[str, int] = {}
    result = []
    for name in named:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


class SharedRows:
    """Rows that all networks serve, on which each is judged in the same way.

    Parameters
    ----------
    tracks : Tracks
        The rows.
    loss : str
        Name of the loss.
    outputs : sequence of str
        Outputs that all networks have; the loss is over them.
    """

    def __init__(self, tracks: Tracks, loss: str, outputs: Sequence[str]) -> None:
        self.tracks = tracks
        self.losses: Losses = {None: loss}
        self.outputs = outputs
        self.first: Predictions | None = None
        """What the first network predicts, with which the others are compared."""
        experts = np.unique(tracks.expert).tolist()
        self.scopes: dict[str, int | None] = {"all": None}
        if len(experts) > 1:
            self.scopes |= {f"expert_{k}": k for k in experts}

    def judge(
        self, name: str, loaded: LoadedRun | None, outputs: Outputs
    ) -> NetworkResult:
        """Compute metrics, their errors and the curves of one network.

        Parameters
        ----------
        name : str
            For tables and legends.
        loaded : LoadedRun or None
            None for the network of the data taking.
        outputs : Outputs
            What it predicts for the rows.
        """
        kept = np.ones(len(self.tracks), dtype=np.bool_)
        table = ScoredTable(
            self.tracks, kept, {name: outputs}, self.losses, self.outputs
        )
        figures: dict[str, float] = {}
        errors: dict[str, float] = {}
        replicas: dict[str, Replicas] = {}
        for scope, expert in self.scopes.items():
            found = table.metrics_of(name, expert)
            of_scope, drawn = table.errors(expert)
            figures |= {f"{scope}/{k}": v for k, v in found.items()}
            errors |= {f"{scope}/{k}": v for k, v in of_scope[name].items()}
            replicas[scope] = drawn[name]
        return NetworkResult(
            name=name,
            loaded=loaded,
            figures=figures,
            errors=errors,
            replicas=replicas,
            curves=self._curves(table.predictions(kept)),
            hardware={} if loaded is None else _hardware(loaded),
        )

    def _curves(self, predicted: Predictions) -> dict[str, Any]:
        role = plots.REFERENCE if self.first is None else plots.NETWORK
        curves = plots.curves(predicted, plots.COMPARISON, role, self.first)
        self.first = self.first or predicted
        return curves


def _hardware(loaded: LoadedRun) -> dict[str, float]:
    try:
        return FixedPointNetworks(loaded.networks).total_hardware_cost()
    except (DataError, ExportError) as err:
        log.info("%s: no hardware cost: %s", loaded.name, err)
        return {}


def results(
    rows: SharedRows,
    runs: Sequence[LoadedRun],
    names: Sequence[str],
    predict: Callable[[LoadedRun, Tracks], Outputs],
    *,
    simulated: bool = False,
) -> Iterator[NetworkResult]:
    """Judge one network after the other, the one that the rows come with last.

    Parameters
    ----------
    rows : SharedRows
        The rows.
    runs : sequence of LoadedRun
        The networks.
    names : sequence of str
        Of each.
    predict : callable
        Gives the outputs of the networks of a run for the rows.
    simulated : bool
        Whether the rows are simulated, and not of a data taking.
    """
    tracks = rows.tracks
    for name, loaded in zip(names, runs, strict=True):
        yield rows.judge(name, loaded, predict(loaded, tracks))
    in_data = outputs_in_data(tracks)
    if in_data is not None:
        yield rows.judge(STAND_IN if simulated else DATA_TAKING, None, in_data)
