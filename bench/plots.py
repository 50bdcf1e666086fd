"""Processor seconds of every plot of a million rows."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

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
    parser = argparse.ArgumentParser(prog="bench plots")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--to", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    for plot in plots.registered(plots.EVALUATION):
        plots.png(plots.draw(plot.name, table(1000)))  # compiles, and loads fonts
    profiles(tracks(10))
    view, rows = table(options.rows), tracks(options.rows)
    tasks: dict[str, Callable[[], Figure]] = {
        plot.name: partial(plots.draw, plot.name, view) for plot in plots.registered()
    }
    tasks["inputs"] = lambda: plots.input_histograms(
        {"rows": profiles(rows)["all"]}, "inputs"
    )
    tasks["targets"] = lambda: plots.target_histograms({"rows": profiles(rows)["all"]})[
        "z"
    ]
    index = np.random.default_rng(0).integers(0, options.rows, options.rows)
    tasks["sampled_distribution"] = lambda: plots.sampled_distribution(
        rows.targets[:, 0], index
    )
    print(
        f"{'plot of ' + format(options.rows, ',') + ' rows':40s} prepare  render   sum"
    )
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


if __name__ == "__main__":
    main()
