"""Judge a run in the firmware's integers, next to its floats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnt import plots
from nnt.evaluation.judged_rows import JudgedRows
from nnt.evaluation.loaded_run import LoadedRun
from nnt.export.source import class_cuts, named_word_cuts
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import FixedPointTable, ScoredTable
from nnt.tracking import MlflowTracker, Run, StoredRun
from nnt.training.album import Album, description_of
from nnt.training.fixed_point import fixed_point_drawings

__all__ = ["FixedPointEvaluation", "judge_fixed_point"]

Figures = dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FixedPointEvaluation:
    """What the firmware makes of networks on a table."""

    name: str
    both: FixedPointTable
    filtered: Figures
    """Figures of ``"all"`` rows that pass the filter, and of each ``"expert_k"``."""
    unfiltered: Figures
    """The same without the filter of the training."""

    @property
    def cuts(self) -> dict[str, Any]:
        """Cuts on each class at 95, 96 and 98 % efficiency, as the firmware has them.

        ``class_cuts`` and ``stt_class_cuts``, as in the manifest of an export.
        """
        cuts = class_cuts(self.filtered["all"])
        return named_word_cuts(cuts, self.both.networks.node_bits)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "precision": list(self.both.networks.precision),
            "saturate_13_bit": self.both.networks.saturate_13_bit,
            "filtered": self.filtered,
            "unfiltered": self.unfiltered,
            **self.cuts,
        }

    def store(self, loaded: LoadedRun, rows: JudgedRows) -> None:
        """Log figures and plots to the run and its experts.

        Raises
        ------
        TrackingError
            The store does not answer.
        """
        stored = loaded.run
        if stored is None:
            return
        tracker = MlflowTracker(stored.uri)
        n_plots = len(self.filtered) * len(plots.registered(plots.TRAINING))
        try:
            with plots.Studio(n_plots) as studio:
                self._log_all(tracker, stored, rows, Album(studio))
        finally:
            tracker.close()

    def _log_all(
        self, tracker: MlflowTracker, stored: StoredRun, rows: JudgedRows, album: Album
    ) -> None:
        run = tracker.reopen(stored.run_id, stored.experiment_id)
        self._log(run, rows, None, album)
        for expert, child in stored.experts().items():
            if child.run_id != stored.run_id and f"expert_{expert}" in self.filtered:
                run = tracker.reopen(child.run_id, child.experiment_id)
                self._log(run, rows, expert, album)
        album.log(lambda: None)

    def _log(
        self, run: Run, rows: JudgedRows, expert: int | None, album: Album
    ) -> None:
        prefix = f"eval_{rows.label}" if rows.split is None else rows.split
        figures = self.filtered["all" if expert is None else f"expert_{expert}"]
        named = {
            f"{prefix}_{self.both.networks.name}/{k}": v for k, v in figures.items()
        }
        run.log_metrics(named, 0)
        folder = f"evaluations/{rows.label}/plots_{self.both.networks.name}"
        data = f"{rows.label} in fixed point"
        description = description_of(run.run_id, self.name, data, expert)
        album.add(run, folder, fixed_point_drawings(self.both, expert, description))


def judge_fixed_point(
    floats: ScoredTable,
    loaded: LoadedRun,
    precision: Sequence[int] | None = None,
    *,
    saturate_13_bit: bool = False,
) -> FixedPointEvaluation:
    """Judge networks again, in integers.

    Parameters
    ----------
    floats : ScoredTable
        The same rows, judged in floating point.
    loaded : LoadedRun
        The networks.
    precision : sequence of 6 int, optional
        Fractional bits; default: those for which the networks were trained.
    saturate_13_bit : bool
        Keep outputs in a signed word.

    Raises
    ------
    ExportError
        The firmware cannot hold the network of an expert.
    DataError
        The precision is none.
    """
    networks = FixedPointNetworks(
        loaded.networks, precision, saturate_13_bit=saturate_13_bit
    )
    both = FixedPointTable(floats, networks)
    return FixedPointEvaluation(
        name=loaded.name,
        both=both,
        filtered=_figures(both, filtered=True),
        unfiltered=_figures(both, filtered=False),
    )


def _figures(both: FixedPointTable, *, filtered: bool) -> Figures:
    figures = {"all": both.metrics(filtered=filtered)}
    for expert in sorted(both.networks.experts):
        figures[f"expert_{expert}"] = both.metrics(expert, filtered=filtered)
    return figures
