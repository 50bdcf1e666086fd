"""Processor seconds for every group of figures, on tables that grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench._frame import read_options, timed
from nnt import metrics
from nnt.metrics import Predictions


def table(n: int, seed: int = 1) -> Predictions:
    """Rows with a core, tails and background, about three to an event."""
    rng = np.random.default_rng(seed)
    far = rng.random(n) < 0.4
    z = rng.normal(0, 0.5, n) * ~far + rng.uniform(-80, 100, n) * far
    width = np.where(rng.random(n) < 0.8, 4, 20)
    theta = rng.uniform(20, 150, n)
    columns: dict[str, Any] = {
        "z_reco_cm": z,
        "theta_reco_deg": theta,
        "z_cm": np.clip(z + rng.normal(0, 1, n) * width, -100, 100),
        "theta_deg": theta + rng.normal(0, 6, n),
        "pt_gev": 0.3 / rng.uniform(0.05, 1, n),
        "phi_deg": rng.uniform(0, 360, n),
    }
    return Predictions(
        event=np.sort(rng.integers(0, max(n // 3, 1), n)),
        expert=rng.choice(5, n, p=(0.6, 0.1, 0.1, 0.1, 0.1)),
        n_tracks=rng.integers(1, 8, n),
        **{name: values.astype(np.float32) for name, values in columns.items()},
    )


def groups(p: Predictions) -> dict[str, Callable[[], object]]:
    """What is timed."""
    residual = p.z_cm - p.z_reco_cm
    inputs = np.resize(
        np.random.default_rng(0).uniform(-1, 1, (1000, 27)).astype(np.float32),
        (len(p), 27),
    )
    return {
        "momentum from crossing angles": lambda: metrics.pt_from_crossing_angles(
            inputs
        ),
        "mean, std, trimmed, 68 %": lambda: (
            np.mean(residual, dtype=np.float64),
            metrics.std(residual),
            metrics.trimmed_std(residual),
            metrics.half_width_68(residual),
        ),
        "core fit": lambda: metrics.core_fit(residual),
        "residuals in bins, all": lambda: metrics.in_bins(p),
        "efficiency in bins, all": lambda: metrics.efficiency_in_bins(p),
        "who is signal, passes (3 triggers)": lambda: metrics.all_decisions(p),
        "all metrics of a network": lambda: metrics.network_metrics(p),
        "errors of all of them, 100 draws": lambda: metrics.replicas(
            p, {"loss": residual**2}
        ),
    }


def main() -> None:
    """Print a table: a row a group, a column a number of rows."""
    sizes = read_options(__doc__, rows=[100_000, 1_000_000, 10_000_000]).rows
    metrics.in_bins(table(1000))  # compiles
    seconds: dict[str, list[float]] = {}
    for n in sizes:
        for name, compute in groups(table(n)).items():
            seconds.setdefault(name, []).append(timed(compute).cpu_s)
    print(f"{'processor seconds for rows':36s}" + "".join(f"{n:>12,}" for n in sizes))
    for name, told in seconds.items():
        print(f"{name:36s}" + "".join(f"{value:12.3f}" for value in told))
