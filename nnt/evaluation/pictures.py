"""The plots of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nnt import metrics, plots
from nnt.errors import DataError
from nnt.judging import ScoredTable

__all__ = ["Pictures"]


class Pictures:
    """Plots of all rows that pass the filter, and of those of each expert.

    Parameters
    ----------
    table : ScoredTable
        What the networks say of the rows.
    name : str
        Of the run, with the beginning of its ID.
    label : str
        Short name of the rows.
    scopes : sequence of str
        ``"all"`` and each ``"expert_k"``.
    """

    def __init__(
        self, table: ScoredTable, name: str, label: str, scopes: Sequence[str]
    ) -> None:
        self.table = table
        self.name = name
        self.label = label
        self.scopes = scopes
        self._drawn: dict[str, dict[str, bytes]] = {}

    def of(self, scope: str) -> dict[str, bytes]:
        """Name to PNG; details and inputs are drawn of all rows alone."""
        if not self._drawn:
            self._drawn = self._draw_all()
        return self._drawn[scope]

    def _draw_all(self) -> dict[str, dict[str, bytes]]:
        n_plots = len(plots.registered(plots.EVALUATION))
        n_plots += len(self.scopes) * len(plots.registered(plots.TRAINING))
        with plots.Studio(n_plots) as studio:
            asked = {
                scope: {d.name: studio.submit(d) for d in self._drawings(scope)}
                for scope in self.scopes
            }
            drawn = {
                scope: {name: future.result() for name, future in futures.items()}
                for scope, futures in asked.items()
            }
        return {
            scope: {name: data for name, data in found.items() if data is not None}
            for scope, found in drawn.items()
        }

    def _drawings(self, scope: str) -> list[plots.Drawing]:
        every = scope == "all"
        expert = None if every else int(scope.removeprefix("expert_"))
        rows = self.table.rows(expert)
        if not rows.any():
            return []
        who = "all experts" if expert is None else f"expert {expert}"
        description = f"{self.name} · {self.label} · {who}"
        where = plots.EVALUATION if every else plots.TRAINING
        shown = self.table.named_predictions(rows)
        drawings = plots.drawings_of_rows(shown, where, description)
        if every:
            tables = {self.label: metrics.profiles(self.table.tracks[rows])["all"]}
            plot = partial(plots.input_histograms, title="inputs of all tracks")
            drawings.append(plots.Drawing("inputs", plot, tables))
        return drawings

    def write(self, folder: Path) -> None:
        """Write all of them, a folder for each expert.

        Raises
        ------
        DataError
            The folder cannot be written to.
        """
        try:
            for scope in self.scopes:
                into = folder / scope
                into.mkdir(parents=True, exist_ok=True)
                for name, data in self.of(scope).items():
                    (into / f"{name}.png").write_bytes(data)
        except OSError as err:
            raise DataError(
                f"{folder}: plots cannot be written ({err.strerror}); choose another "
                "folder"
            ) from err
