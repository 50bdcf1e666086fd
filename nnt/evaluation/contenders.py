"""Networks side by side on the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt import metrics, plots
from nnt.evaluation.subject import Subject
from nnt.metrics import Predictions, Replicas
from nnt.tracks import Tracks
from nnt.types import F32

__all__ = ["DATA_TAKING", "STAND_IN", "Arena", "Contender", "contenders", "short_names"]


DATA_TAKING = "data taking"
"""The network that ran when the data were taken."""
STAND_IN = "stand-in of the simulation"
"""The network whose outputs simulated rows hold, fitted to that of the trigger."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Contender:
    """One network: its figures with what is needed for their errors."""

    name: str
    subject: Subject | None
    """None for the network of the data taking."""
    figures: Mapping[str, float]
    """``<scope>/<metric>``, a scope being ``all`` or ``expert_k``."""
    replicas: Replicas
    curves: Mapping[str, Any]
    """What plots draw of it, by their names."""


def short_names(subjects: Sequence[Subject]) -> list[str]:
    """Name each run so that a person tells it from the others."""
    named = [
        s.name if s.run is None else f"{s.name} {s.run.run_id[:6]}" for s in subjects
    ]
    seen: dict[str, int] = {}
    result = []
    for name in named:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


class Arena:
    """Rows that all networks serve, told in the same way.

    Parameters
    ----------
    tracks : Tracks
        The rows.
    loss : str
        Name of the loss.
    n_outputs : int
        Outputs that all networks have: 1, z; or 2, theta as well.
    """

    def __init__(self, tracks: Tracks, loss: str, n_outputs: int) -> None:
        self.tracks = tracks
        self.loss = loss
        self.n_outputs = n_outputs
        self.first: Predictions | None = None
        """What the first network says, with which the others are compared."""
        self.experts = sorted(set(np.unique(tracks.expert).tolist()))

    def judge(self, name: str, subject: Subject | None, output: F32) -> Contender:
        """Compute figures, their replicas and the curves of one network.

        Parameters
        ----------
        name : str
            For tables and legends.
        subject : Subject or None
            None for the network of the data taking.
        output : float32 array, shape (N, 1) or (N, 2)
            What it says of the rows, in network units.
        """
        predicted = metrics.predictions(self.tracks, output)
        role = plots.REFERENCE if self.first is None else plots.NETWORK
        curves = plots.curves(predicted, plots.COMPARISON, role, self.first)
        self.first = self.first or predicted
        told = output[:, : self.n_outputs]
        targets = self.tracks.targets[:, : self.n_outputs]
        losses = {"loss": metrics.loss_of_rows(self.loss, told, targets)}
        return Contender(
            name=name,
            subject=subject,
            figures=self._figures(predicted, told, targets),
            replicas=metrics.figure_replicas(
                predicted, predicted.z_cm, predicted.theta_deg, losses
            ),
            curves=curves,
        )

    def _figures(
        self, predicted: Predictions, output: F32, targets: F32
    ) -> dict[str, float]:
        figures: dict[str, float] = {}
        scopes: dict[str, npt.NDArray[np.bool_] | slice] = {"all": slice(None)}
        if len(self.experts) > 1:
            scopes |= {f"expert_{k}": predicted.expert == k for k in self.experts}
        for scope, rows in scopes.items():
            told = predicted[rows]
            if not len(told):
                continue
            loss = metrics.loss(self.loss, output[rows], targets[rows])
            named = {"loss": loss} | metrics.network_figures(told)
            figures |= {f"{scope}/{name}": value for name, value in named.items()}
        return figures


def contenders(
    arena: Arena,
    subjects: Sequence[Subject],
    names: Sequence[str],
    *,
    simulated: bool = False,
) -> Iterator[Contender]:
    """Judge one network after the other, the one that the rows come with last.

    Parameters
    ----------
    arena : Arena
        The rows.
    subjects : sequence of Subject
        The networks.
    names : sequence of str
        Of each.
    simulated : bool
        Whether the rows are simulated, and not of a data taking.
    """
    tracks = arena.tracks
    for name, subject in zip(names, subjects, strict=True):
        yield arena.judge(name, subject, subject.networks.predict(tracks))
    if tracks.reference is not None:
        name = STAND_IN if simulated else DATA_TAKING
        yield arena.judge(name, None, tracks.reference)
