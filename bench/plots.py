"""Processor seconds of every plot of a million rows; ``--to`` keeps the pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bench._frame import read_options
from bench.metrics import table
from nnt import plots
from nnt.metrics import profiles
from nnt.tracks import Tracks
from nnt.tracks.table import make_ids


def tracks(n: int) -> Tracks:
    """Rows with inputs of any kind, one superlayer in eight missing."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (n, 9, 3)).astype(np.float32)
    inputs[rng.random((n, 9)) < 1 / 8] = 0
    targets = rng.uniform(-1, 1, (n, 2)).astype(np.float32)
    return Tracks(make_ids({}, n), inputs.reshape(n, 27), targets)


def main() -> None:
    """Print a line a plot: to prepare it, to render it, both."""
    options = read_options(__doc__, rows=1_000_000, to=Path)
    n = options.rows
    # This also compiles, and loads fonts.
    shown = plots.drawings_of_rows(table(1000)) + plots.drawings_of_rows(
        table(1000), plots.EVALUATION
    )
    names = {drawing.name for drawing in shown}
    for name in names:
        plots.png(plots.draw(name, table(1000)))
    profiles(tracks(10))
    view, rows = table(n), tracks(n)
    index = np.random.default_rng(0).integers(0, n, n)

    def profile() -> dict[str, Any]:
        return {"rows": profiles(rows)["all"]}

    tasks: dict[str, Callable[[], Figure]] = {
        plot.name: partial(plots.draw, plot.name, view)
        for plot in plots.registered()
        if plot.name in names
    } | {
        "inputs": lambda: plots.input_histograms(profile(), "inputs"),
        "targets": lambda: plots.target_histogram(profile(), "z"),
        "sampled_distribution": lambda: plots.sampled_distribution(
            rows.targets[:, 0], index
        ),
    }
    print(f"{'plot of ' + format(n, ',') + ' rows':40s} prepare  render   sum")
    for name, draw in tasks.items():
        start = time.process_time()
        figure = draw()
        ready = time.process_time()
        picture = plots.png(figure)
        end = time.process_time()
        print(f"{name:40s} {ready - start:7.3f} {end - ready:7.3f} {end - start:7.3f}")
        if options.to is not None:
            options.to.mkdir(parents=True, exist_ok=True)
            (options.to / f"{name}.png").write_bytes(picture)
