"""What fewer bits cost, with and without training through the rounding.

``python -m bench quantization`` trains the network of expert 0 in floats, then goes
on from it for some epochs: once in floats, and once for each number of bits through
the firmware's rounding. It prints, for 4 to 12 bits of the weights, the mean squared
errors of z and theta in integers over those of the float network: of the float
network rounded (after), and of the network trained through the rounding (through).
``--plot FILE`` draws them. Then it does so for words of 8 bits in all, sign included,
for weights and nodes. Rows are simulated; where real ones are at hand, the same
networks are judged on them, too. ``--epochs`` in floats are followed by ``--more``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch

from bench._frame import SAMPLE, read_options
from bench._rows import fitted
from nnt import fixedpoint, read_tracks
from nnt.engine import ExpertData
from nnt.networks import Form, State
from nnt.networks.predicting import outputs_of
from nnt.simulation import Simulation, simulate_with
from nnt.tracks import Tracks, split_by_event

EXPERT = 0
BITS = tuple(range(4, 13))
NODES: dict[str, Callable[[int], int]] = {
    "12 bits of the nodes": lambda _: 12,
    "as many bits of the nodes": lambda bits: bits,
}
TARGETS = ["z", "theta"]
HOW = ("after", "through")
WORD_BITS = 8
Networks = tuple[State, State]
"""Where all go on from, and where floats get to."""


def main() -> None:
    """Train, print the tables and draw the plot."""
    options = read_options(
        __doc__, data=SAMPLE, tracks=200_000, seed=1, epochs=500, more=15, plot=Path
    )
    torch.set_num_threads(1)
    mpl.use("Agg")
    rows = _rows(options)
    networks = _float_networks(rows, options)
    tables = {}
    for name, nodes in NODES.items():
        found = {b: _ratios(rows, networks, (nodes(b), b), options) for b in BITS}
        tables[name] = pd.DataFrame(found).T
        _print(name, tables[name])
    if options.plot:
        _draw(tables, options.plot)
    _words(rows, networks, options)


def _rows(options: argparse.Namespace) -> dict[str, Tracks]:
    tracks = simulate_with(Simulation(tracks=options.tracks, seed=options.seed))
    parts = split_by_event(tracks, (0.6, 0.2, 0.2), options.seed)
    rows = dict(zip(("train", "val", "simulated"), parts, strict=True))
    if options.data.is_file():
        rows["real"] = read_tracks(options.data)
    return {name: part[part.expert == EXPERT] for name, part in rows.items()}


def _fit(
    rows: dict[str, Tracks], initial: State | None, overrides: dict[str, object]
) -> State:
    train, val = rows["train"], rows["val"]
    data = ExpertData(
        x_train=train.inputs, y_train=train.targets, x_val=val.inputs, y_val=val.targets
    )
    return fitted(data, overrides, initial)


def _more(options: argparse.Namespace) -> dict[str, object]:
    return {
        "epochs": options.more,
        "learning_rate": 3e-4,
        "lr_schedule": {"name": "cosine", "final": 1e-6},
    }


def _float_networks(rows: dict[str, Tracks], options: argparse.Namespace) -> Networks:
    start = _fit(rows, None, {"epochs": options.epochs})
    state = _fit(rows, start, _more(options))
    print(f"{len(rows['train']):,} rows to train, largest weight {_largest(state):.3g}")
    for name in _judged(rows):
        shown = _told(_float_error(state, rows[name]), 6)
        print(f"mean squared error in floats, {name}, scaled: {shown}", flush=True)
    return start, state


def _judged(rows: dict[str, Tracks]) -> list[str]:
    return [name for name in rows if name in ("simulated", "real")]


def _ratios(
    rows: dict[str, Tracks],
    networks: Networks,
    bits: tuple[int, int],
    options: argparse.Namespace,
    **keys: object,
) -> pd.Series:
    """Errors with so many bits of nodes and weights over those in floats.

    The index holds rows, target and how the network was trained.
    """
    start, state = networks
    nodes, weights = bits
    precision = (12, 8, 8, nodes, weights, min(10, nodes + weights))
    own = dict(zip(("nodes", "weights", "table"), precision[3:], strict=True)) | keys
    through = _fit(rows, start, {**_more(options), "quantize": own})
    found: dict[tuple[str, str, str], float] = {}
    for name in _judged(rows):
        floats = _float_error(state, rows[name])
        ratios = {
            how: _integer_error(network, rows[name], precision) / floats
            for how, network in zip(HOW, (state, through), strict=True)
        }
        found |= {(name, t, how): ratios[how][t] for t in TARGETS for how in HOW}
    return pd.Series(found)


def _words(
    rows: dict[str, Tracks], networks: Networks, options: argparse.Namespace
) -> None:
    """Print what words of 8 bits cost, as many of them before the point as it takes."""
    nodes = WORD_BITS - 1
    weights = nodes - math.ceil(math.log2(_largest(networks[1])))
    limit = (2**nodes - 1) / 2**weights
    found = _ratios(rows, networks, (nodes, weights), options, largest_weight=limit)
    print(
        f"\nWords of {WORD_BITS} bits: {weights} bits of weights, {nodes} of nodes:\n"
    )
    for name in _judged(rows):
        for how in HOW:
            print(f"{name}, {how}: {_told(found[name, :, how], 4)}", flush=True)


def _largest(state: State) -> float:
    return max(float(np.abs(value).max()) for value in state.values())


def _told(values: pd.Series, digits: int) -> str:
    return ", ".join(f"{target} {v:.{digits}f}" for target, v in values.items())


def _float_error(state: State, tracks: Tracks) -> pd.Series:
    return _error(outputs_of(Form(), state, tracks.inputs), tracks)


def _integer_error(
    state: State, tracks: Tracks, precision: tuple[int, ...]
) -> pd.Series:
    inputs = fixedpoint.snap_text_inputs(tracks.inputs)
    layers = [(state[f"net.{i}.weight"], state[f"net.{i}.bias"]) for i in (0, 2)]
    whole = fixedpoint.classic_layers(inputs, layers, precision)
    return _error(whole / 2.0 ** precision[3], tracks)


def _error(output: np.ndarray, tracks: Tracks) -> pd.Series:
    error = ((output - tracks.targets) ** 2).mean(axis=0)
    return pd.Series(error, index=TARGETS)


def _print(name: str, found: pd.DataFrame) -> None:
    print(f"\nMean squared error over that of the float network, {name}:\n")
    columns = found.columns.map("{0[0]} {0[1]}, {0[2]}".format)
    print("|", " | ".join(["weight bits", *columns]), "|")
    print("|---" * (len(columns) + 1) + "|")
    for bits, ratios in found.iterrows():
        cells = [f"{ratio:.4f}" for ratio in ratios]
        print("|", " | ".join([str(bits), *cells]), "|", flush=True)


def _draw(found: dict[str, pd.DataFrame], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(found), figsize=(10, 4.2), sharey=True, layout="constrained"
    )
    styles = {"after": ("rounded after training", "o--"),
              "through": ("trained through the rounding", "s-")}  # fmt: skip
    for axis, (name, own) in zip(axes, found.items(), strict=True):
        for i, target in enumerate(TARGETS):
            for how, (label, style) in styles.items():
                loss = 100 * (own["simulated", target, how] - 1)
                color = f"C{i if how == 'through' else i + 2}"
                axis.plot(BITS, loss, style, color=color, label=f"{target}, {label}")
        axis.set_yscale("symlog", linthresh=0.1)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_title(name)
        axis.set_xlabel("fractional bits of the weights")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mean squared error, integers over floats - 1 (%)")
    axes[-1].legend()
    figure.savefig(path, dpi=90)
    plt.close(figure)
