"""Judge the networks of one run on one table, in floats and in integers."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from nnt import metrics, plots
from nnt.errors import DataError
from nnt.evaluation.comparison import Difference, differences, judge_networks
from nnt.evaluation.judged import JudgedRows, LoadedRun, load_run, rows_for
from nnt.export.source import class_cuts, word_cuts
from nnt.files import make_folder
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import Figures, FixedPointTable, ScoredTable, scopes_of
from nnt.metrics import MODEL_METRICS, Predictions
from nnt.tracking import MlflowTracker, StoredRun
from nnt.training.final_report import CURVES
from nnt.training.report import description_of, drawings_of

log = logging.getLogger(__name__)

PLOTS = "plots"
"""Folder of the plots of the networks as they were trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """How good networks are on a table."""

    run_id: str | None
    """None for a weights file."""
    name: str
    label: str
    """Short name of the rows."""
    data: str
    """Where the rows come from: a split of the training, or files."""
    digest: str
    n_tracks: int
    """Rows that the networks serve, filtered or not."""
    filtered: Figures
    """Figures of the rows that pass the filter."""
    unfiltered: Figures
    """The same without the filter of the training."""
    errors: Figures
    """Standard errors of the filtered ones, as all that follows."""
    differences: Figures
    """Network minus reference; empty without a reference."""
    difference_errors: Figures
    """What both share, the draw of the events, drops out."""
    sizes: Mapping[str, Mapping[str, int]]
    """Tracks and events that the shares are of."""
    in_bins: Mapping[str, Any]
    """Residuals and efficiency of ``network`` and ``reference`` in bins."""
    fixed_point: Mapping[str, Any] | None = None
    """The figures in the firmware's integers, with their precision and the cuts on each
    class, as in the JSON; where asked for."""
    logged: bool = False
    """Whether the run holds this evaluation."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.fixed_point is None:
            del found["fixed_point"]
        return found


def evaluate(
    run: str,
    *,
    data: str | Path | Sequence[str | Path] = (),
    split: str | None = None,
    fixed_point: bool = False,
    precision: Sequence[int] | None = None,
    saturate_13_bit: bool = False,
    log_to_run: bool = True,
    plots_to: str | Path | None = None,
) -> Evaluation:
    """Judge the networks of a run on a split of its own data, or on any files.

    Parameters
    ----------
    run : str
        As in `load_networks`.
    data : path or sequence of paths
        Track files.
    split : str, optional
        ``train``, ``val`` or ``test`` of the training's data, where no files are
        given; default: test.
    fixed_point : bool
        Also in the integer arithmetic of the firmware.
    precision, saturate_13_bit
        Of the integers, as in `predict`.
    log_to_run : bool
        Add figures and plots to the run.
    plots_to : path, optional
        Folder for the plots, made where it is not there.

    Raises
    ------
    TrackingError
        There is no such run, or it holds no weights.
    DataError
        Rows or weights cannot be used.
    ExportError
        Integers are asked for, and the firmware cannot hold the networks.
    OSError
        The plots cannot be written there.
    """
    loaded = load_run(run)
    rows = rows_for(loaded, data, split)
    table, whole = _score(loaded, rows), None
    if fixed_point:
        networks = FixedPointNetworks(
            loaded.networks, precision, saturate_13_bit=saturate_13_bit
        )
        whole = FixedPointTable(table, networks)
    stored = loaded.run if log_to_run else None
    experts = sorted(loaded.networks.experts)
    result = Evaluation(
        run_id=loaded.run_id,
        name=loaded.name,
        label=rows.label,
        data=rows.source,
        digest=rows.digest,
        n_tracks=len(table.tracks),
        filtered=table.figures(experts),
        unfiltered=table.figures(experts, filtered=False),
        **_details(table, experts),
        fixed_point=None if whole is None else in_integers(whole),
        logged=stored is not None,
    )
    if plots_to is None and stored is None:
        return result
    pictures = _draw(loaded, rows, table, None if stored is None else whole)
    if plots_to is not None:
        _write(pictures, Path(plots_to))
    if stored is not None:
        named = {"": result.filtered}
        if whole is not None and result.fixed_point is not None:
            named[f"_{whole.integers.name}"] = result.fixed_point["filtered"]
        _store(stored, rows, result, named, pictures)
    return result


def _score(loaded: LoadedRun, rows: JudgedRows) -> ScoredTable:
    """Let the networks, and those that they are compared with, predict the rows."""
    others = loaded.reference(rows.tracks), loaded.whole_loss()
    networks, config = loaded.networks, loaded.config
    table = ScoredTable.of_experts(rows.tracks, networks, config, *others)
    if not len(table.tracks):
        raise DataError(
            f"{rows.source}: no row belongs to the experts of {loaded.text} "
            f"({sorted(networks.experts)}); choose other files"
        )
    if left_out := len(rows.tracks) - len(table.tracks):
        log.warning("%s rows belong to no expert of %s", f"{left_out:,}", loaded.text)
    return table


def in_integers(table: FixedPointTable) -> dict[str, Any]:
    """What the firmware makes of networks on a table, as in the JSON.

    ``class_cuts`` and ``stt_class_cuts`` are the cuts on each class at 95, 96 and 98 %
    efficiency in the words of the firmware, as in the manifest of an export.
    """
    networks, experts = table.integers, sorted(table.integers.experts)
    filtered = table.figures(experts)
    return {
        "precision": list(networks.precision),
        "saturate_13_bit": networks.saturate_13_bit,
        "filtered": filtered,
        "unfiltered": table.figures(experts, filtered=False),
        **word_cuts(class_cuts(filtered["all"]), networks.node_bits),
    }


def _details(table: ScoredTable, experts: Sequence[int]) -> dict[str, Any]:
    """What stands behind the metrics of the rows that pass the filter."""
    scopes = scopes_of(experts) if table.rows().any() else {}
    network, *others = results = judge_networks(table, scopes)
    errors, sizes = {}, {}
    for scope, expert in scopes.items():
        errors[scope] = table.logged({one.name: one.errors[scope] for one in results})
        rows = table.rows(expert)
        sizes[scope] = table.sample(rows).sizes() if rows.any() else {}
    changes: dict[str, dict[str, Difference]] = {scope: {} for scope in scopes}
    for reference in others:
        changes = differences(reference, network)
        for scope, of_scope in changes.items():
            of_scope.pop("n_tracks", None)
            drawn, before = network.replicas[scope], reference.replicas[scope]
            ratio = metrics.ratio_error(drawn, before, "loss")
            if not table.same_loss(reference.name):
                of_scope.pop("loss", None)
            elif math.isfinite(ratio):
                errors[scope][f"loss_vs_{reference.name}"] = ratio
    predicted = table.named_predictions(table.rows()) if scopes else {}
    return {
        "errors": errors,
        "differences": {
            scope: {name: one.value for name, one in of.items()}
            for scope, of in changes.items()
        },
        "difference_errors": {
            scope: {k: one.error for k, one in of.items() if math.isfinite(one.error)}
            for scope, of in changes.items()
        },
        "sizes": sizes,
        "in_bins": {name: _in_bins(of) for name, of in predicted.items()},
    }


def _in_bins(predicted: Predictions) -> dict[str, Any]:
    if not predicted.has_z:
        return {}
    predicted = predicted if predicted.fake is None else predicted[predicted.real]
    found = {k: bins.to_dict() for k, bins in metrics.in_bins(predicted).items()}
    for name, shares in metrics.efficiency_in_bins(predicted).items():
        edges = {"edges": metrics.AXES[name].edges.tolist()}
        found[f"efficiency_at_eff96_against_{name}"] = edges | shares.to_dict()
    return found


def _draw(
    loaded: LoadedRun,
    rows: JudgedRows,
    table: ScoredTable,
    integers: FixedPointTable | None,
) -> dict[tuple[str, str], bytes]:
    """Draw all plots: scope and path of each, to its PNG."""
    scopes = scopes_of(sorted(loaded.networks.experts))
    n_plots = len(scopes) * len(plots.registered(plots.TRAINING))
    n_plots += len(plots.registered(plots.EVALUATION))

    def drawings() -> Iterator[tuple[tuple[str, str], plots.Drawing]]:
        for scope, expert in scopes.items():
            # Details and inputs are drawn of all rows alone.
            where = plots.EVALUATION if expert is None else plots.TRAINING
            shown = description_of(loaded.label, rows.label, expert)
            drawn = {PLOTS: drawings_of(table, expert, shown, where)}
            if drawn[PLOTS] and expert is None:
                inputs = metrics.profiles(table.tracks[table.rows()])["all"]
                plot = partial(plots.input_histograms, title="inputs of all tracks")
                drawn[PLOTS].append(plots.Drawing("inputs", plot, {rows.label: inputs}))
            if integers is not None:
                label = f"{rows.label} in fixed point"
                shown = description_of(loaded.label, label, expert)
                folder = f"{PLOTS}_{integers.integers.name}"
                drawn[folder] = drawings_of(integers, expert, shown)
            for folder, of_folder in drawn.items():
                for drawing in of_folder:
                    yield (scope, f"{folder}/{drawing.name}.png"), drawing

    return plots.draw_all(n_plots, drawings())


def _write(pictures: dict[tuple[str, str], bytes], folder: Path) -> None:
    """Write the plots of floats, a folder for all experts and one for each."""
    for (scope, path), data in pictures.items():
        if path.startswith(f"{PLOTS}/"):
            make_folder(folder / scope)
            (folder / scope / Path(path).name).write_bytes(data)


def _store(
    stored: StoredRun,
    rows: JudgedRows,
    result: Evaluation,
    named: Mapping[str, Figures],
    pictures: Mapping[tuple[str, str], bytes],
) -> None:
    """Log an evaluation to a run and its experts; their status stays.

    Names of metrics begin with the split, or the rows, followed by that of the kind of
    integers, if any. Each plot has a scope and a path.
    """
    prefix = f"eval_{rows.label}" if rows.split is None else rows.split
    folder = f"evaluations/{rows.label}"
    runs = {f"expert_{k}": child for k, child in stored.experts().items()}
    runs = {k: child for k, child in runs.items() if child.run_id != stored.run_id}
    with closing(MlflowTracker(stored.uri)) as tracker:
        for scope, one in ({"all": stored} | runs).items():
            run = tracker.reopen(one.run_id, one.experiment_id)
            figures = {
                f"{prefix}{end}/{name}": value
                for end, found in named.items()
                for name, value in found.get(scope, {}).items()
                if rows.split is None or _is_new(f"{prefix}{end}/{name}", value, one)
            }
            if scope == "all":
                text = json.dumps(result.to_dict(), indent=2) + "\n"
                run.log_text(text, f"{folder}/evaluation.json")
                if rows.split is None:
                    source = rows.digest, rows.source, "evaluation", result.n_tracks
                    run.log_dataset(rows.label, *source)
                ours = {f"{prefix}/{name}" for name in MODEL_METRICS} & figures.keys()
                if main := {name: figures.pop(name) for name in sorted(ours)}:
                    run.log_model_metrics(main, 0, rows.label, rows.digest)
            run.log_metrics(figures, 0)
            for (owner, path), data in pictures.items():
                if owner == scope:
                    run.log_bytes(data, f"{folder}/{path}")
        _name_run_of_project(tracker, stored, rows)


def _is_new(name: str, value: float, stored: StoredRun) -> bool:
    """Whether the training has not logged a metric of its own split.

    It has logged most of them: same rows, same values. Others are of networks that were
    trained further since. Curves end with the value of the best epoch.
    """
    known = stored.metrics.get(name)
    is_curve = name.removeprefix("val/") in CURVES
    return known is None or not (known == value or is_curve)


def _name_run_of_project(
    tracker: MlflowTracker, stored: StoredRun, rows: JudgedRows
) -> None:
    """Say what the run is that `mlflow run` has made for the command itself."""
    if not os.environ.get("MLFLOW_RUN_ID", "").strip():
        return
    link = f"[{stored.name}](#/experiments/{stored.experiment_id}/runs/{stored.run_id})"
    run = tracker.start_run(
        f"evaluate {stored.name}",
        description=f"Evaluation of {link} on {rows.source}: its metrics and plots are "
        f"in that run, under `evaluations/{rows.label}`.",
        tags={"nnt.kind": "evaluation", "nnt.evaluated": stored.run_id},
    )
    run.finish("FINISHED")
