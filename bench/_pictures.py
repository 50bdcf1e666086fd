"""Pictures of what networks decide on the same rows, for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nnt
from nnt import metrics, plots
from nnt.judging import outputs_in_data, predicted_outputs
from nnt.plots.studio import render
from nnt.tracking import open_run

__all__ = ["write_pictures"]

NAMES = {
    "rejection_against_efficiency": "roc",
    "rejection_against_z": "rejection_against_z",
    "efficiency_against_pt": "efficiency_against_pt",
    "efficiency_against_theta": "efficiency_against_theta",
    "efficiency_against_charge": "efficiency_against_charge",
    "calibration": "calibration",
}
"""Registered plots, and what their files are called."""
RAN = "network that ran"
MEASURED, CLASS = ("z", "theta"), ("nnt",)


def write_pictures(runs: Sequence[str], data: Path, folder: Path) -> None:
    """Draw every network by the decision that it was trained for.

    Parameters
    ----------
    runs : sequence of str
        Of each configuration, the first is drawn.
    data : Path
        Real rows, with the outputs of the network that ran.
    folder : Path
        Gets ``physics_roc.png`` and the like.
    """
    tracks = nnt.read_tracks(data)
    shown = {}
    ran = outputs_in_data(tracks)
    if ran is not None:
        shown[RAN] = metrics.predictions(tracks, ran)
    for run in runs:
        name = open_run(run).tags["config"]
        if name in shown:
            continue
        outputs = predicted_outputs(nnt.load_networks(run), tracks)
        chosen = CLASS if "nnt" in outputs else MEASURED
        decided_by = {key: outputs[key] for key in chosen}
        shown[name] = metrics.predictions(tracks, decided_by)
    curves = {
        name: plots.curves(predicted, plots.EVALUATION)
        for name, predicted in shown.items()
    }
    description = f"{len(tracks):,} real rows of experiment 20, all experts"
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in plots.drawings(curves, description):
        if drawing.name in NAMES:
            path = folder / f"physics_{NAMES[drawing.name]}.png"
            path.write_bytes(render(drawing))
