"""What the shipped networks reject on real rows, beside the network that ran there.

``python -m bench physics`` trains the recommended configurations on simulated tracks
alone, once for each seed, and judges all on the same real rows. Errors come from
drawing the events of these rows anew; those of ratios and differences are paired.
With several seeds, means over seeds and spreads between them follow.
With ``--runs`` it judges trainings that are there instead; ``--page`` is the file of
the comparison, and ``--pictures`` a folder for pictures of what all decide.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import nnt
from bench._frame import SAMPLE, read_options
from nnt import metrics, plots
from nnt.evaluation import Comparison, NetworkResult
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import outputs_in_data, predicted_outputs
from nnt.metrics import difference_errors, ratio_error
from nnt.tracking import open_run

CONFIGURATIONS = (
    "recommended",
    "recommended_trigger",
    "recommended_class",
    "recommended_deep",
)
PICTURES = {
    "rejection_against_efficiency": "roc",
    "rejection_against_z": "rejection_against_z",
    "efficiency_against_pt": "efficiency_against_pt",
    "efficiency_against_theta": "efficiency_against_theta",
    "efficiency_against_charge": "efficiency_against_charge",
    "calibration": "calibration",
}
"""Registered plots, and what their files are called."""
BY_CLASS = "_by_class"
HEADER = (
    f"{'network':34s} {'decision':8s} {'rejection at 96 %':>18s} "
    f"{'minus reference':>18s} {'at 98 %':>15s} {'asymmetry':>16s} "
    f"{'loss ratio':>15s}  by expert"
)


def main() -> None:
    """Train what is asked for, and print one table for all."""
    options = read_options(
        __doc__,
        data=SAMPLE,
        seeds=[1],
        configurations=CONFIGURATIONS,
        runs=[],
        page=Path("physics.html"),
        pictures=Path,
    )
    runs = options.runs or list(_trained(options.configurations, options.seeds))
    result = nnt.compare(
        runs, data=options.data, log_to_store=False, page_to=options.page
    )
    print(HEADER)
    for line in _lines(result.comparison):
        print(line)
    for line in _means(runs, result.comparison):
        print(line)
    if options.pictures:
        _write_pictures(runs, options.data, options.pictures)
    print("loss of z and theta in the firmware's integers over that in floats:")
    for run in runs:
        print(f"  {run}: {_cost_of_integers(run, options.data):.5f}")


def _trained(configurations: Sequence[str], seeds: Sequence[int]) -> Iterator[str]:
    for name in configurations:
        for seed in seeds:
            begin = time.monotonic()
            config = nnt.load_config(name, overrides={"seed": seed})
            run_id = nnt.train(config, description=f"bench physics, seed {seed}").run_id
            took_s = time.monotonic() - begin
            print(f"{name}, seed {seed}: run {run_id}, {took_s:.0f} s", flush=True)
            yield run_id


def _lines(comparison: Comparison) -> Iterator[str]:
    *networks, reference = comparison.networks
    for network in networks:
        for suffix in ("", BY_CLASS):
            if f"rejection_at_eff96{suffix}" in network.figures["all"]:
                yield _line(network, suffix, reference)
    yield _line(reference, "", reference)


def _line(network: NetworkResult, suffix: str, reference: NetworkResult) -> str:
    """One decision of a network: by |z|, or by its class."""
    drawn, drawn_reference = network.replicas["all"], reference.replicas["all"]
    name = f"rejection_at_eff96{suffix}"
    figures, of_reference = network.figures["all"], reference.figures["all"]
    gain = figures[name] - of_reference["rejection_at_eff96"]
    error = _paired_error(network, reference, suffix)
    ratio = figures["loss"] / of_reference["loss"]
    experts = [
        f"{network.figures[scope]['loss'] / reference.figures[scope]['loss']:.3f}"
        for scope in network.replicas
        if scope != "all"
    ]
    return (
        f"{network.name:34s} {'class' if suffix else '|z|':8s} "
        f"{_with_error(network, name):>18s} {f'{gain:+.3f} ± {error:.3f}':>18s} "
        f"{_with_error(network, f'rejection_at_eff98{suffix}'):>15s} "
        f"{_with_error(network, f'charge_asymmetry_at_eff96{suffix}', '+'):>16s} "
        f"{ratio:7.3f} ± {ratio_error(drawn, drawn_reference, 'loss'):.3f}  "
        + " ".join(experts)
    )


def _means(runs: Sequence[str], comparison: Comparison) -> Iterator[str]:
    """Means over the seeds of each configuration, and spreads between them."""
    *networks, reference = comparison.networks
    by_name: dict[str, list[NetworkResult]] = {}
    for run, network in zip(runs, networks, strict=True):
        by_name.setdefault(open_run(run).tags["config"], []).append(network)
    for name, seeds in by_name.items():
        if len(seeds) < 2:
            continue
        figures = [network.figures["all"] for network in seeds]
        suffix = BY_CLASS if f"rejection_at_eff96{BY_CLASS}" in figures[0] else ""
        yield f"{name}, {len(seeds)} seeds: mean and spread (standard deviation)"
        for figure in (
            "rejection_at_eff96",
            "rejection_at_eff98",
            "charge_asymmetry_at_eff96",
        ):
            yield _mean(figure, [of[f"{figure}{suffix}"] for of in figures])
        for scope in reference.replicas:
            loss = reference.figures[scope]["loss"]
            ratios = [network.figures[scope]["loss"] / loss for network in seeds]
            yield _mean(f"loss ratio, {scope}", ratios)


def _mean(name: str, values: Sequence[float]) -> str:
    shown = " ".join(f"{value:.4f}" for value in values)
    return (
        f"  {name:28s} {np.mean(values):7.4f}, {np.std(values, ddof=1):.4f}   ({shown})"
    )


def _with_error(network: NetworkResult, name: str, sign: str = "") -> str:
    value, error = (part["all"].get(name) for part in (network.figures, network.errors))
    return "-" if value is None or error is None else f"{value:{sign}.3f} ± {error:.3f}"


def _paired_error(
    network: NetworkResult, reference: NetworkResult, suffix: str
) -> float:
    """Error of the gain in rejection, on the same draws of the events."""
    name, drawn = "rejection_at_eff96", network.replicas["all"]
    renamed = dataclasses.replace(drawn, values={name: drawn.values[name + suffix]})
    return difference_errors(reference.replicas["all"], renamed)[name]


def _cost_of_integers(run: str, data: Path) -> float:
    tracks, networks = nnt.read_tracks(data), nnt.load_networks(run)
    losses = [
        np.mean((predicted[:, :2] - tracks.targets) ** 2, dtype=np.float64)
        for predicted in (
            FixedPointNetworks(networks).predict(tracks),
            networks.predict(tracks),
        )
    ]
    return float(losses[0] / losses[1])


def _write_pictures(runs: Sequence[str], data: Path, folder: Path) -> None:
    """Draw the first network of each configuration by what it was trained for."""
    tracks = nnt.read_tracks(data)
    shown = {}
    ran = outputs_in_data(tracks)
    if ran is not None:
        shown["network that ran"] = metrics.predictions(tracks, ran)
    for run in runs:
        name = open_run(run).tags["config"]
        if name in shown:
            continue
        outputs = predicted_outputs(nnt.load_networks(run), tracks)
        chosen = ("nnt",) if "nnt" in outputs else ("z", "theta")
        decided_by = {key: outputs[key] for key in chosen}
        shown[name] = metrics.predictions(tracks, decided_by)
    curves = {
        name: plots.curves(predicted, plots.EVALUATION)
        for name, predicted in shown.items()
    }
    description = f"{len(tracks):,} real rows of experiment 20, all experts"
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in plots.drawings(curves, description):
        if drawing.name in PICTURES:
            path = folder / f"physics_{PICTURES[drawing.name]}.png"
            path.write_bytes(drawing.png())
