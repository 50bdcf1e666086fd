"""The plots of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnt import metrics, plots
from nnt.errors import DataError
from nnt.training.report import Judged

__all__ = ["Pictures"]


class Pictures:
    """Plots of all rows that pass the filter, and of those of each expert.

    Parameters
    ----------
    judged : Judged
        What the networks say of the rows.
    label : str
        Short name of the rows.
    scopes : sequence of str
        ``"all"`` and each ``"expert_k"``.
    """

    def __init__(self, judged: Judged, label: str, scopes: Sequence[str]) -> None:
        self.judged = judged
        self.label = label
        self.scopes = scopes
        self._drawn: dict[str, dict[str, bytes]] = {}

    def of(self, scope: str) -> dict[str, bytes]:
        """Name to PNG; details and inputs are drawn of all rows alone."""
        if scope not in self._drawn:
            self._drawn[scope] = self._draw(scope)
        return self._drawn[scope]

    def _draw(self, scope: str) -> dict[str, bytes]:
        every = scope == "all"
        expert = None if every else int(scope.removeprefix("expert_"))
        rows = self.judged.rows(expert)
        if not rows.any():
            return {}
        shown = self.judged.predictions(rows)
        drawn = plots.pictures(shown, detail=every)
        if every:
            tables = {self.label: metrics.profiles(self.judged.tracks[rows])["all"]}
            data = plots.picture(
                "inputs",
                lambda: plots.input_histograms(tables, "inputs of all experts"),
            )
            if data is not None:
                drawn["inputs"] = data
        return drawn

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
