"""Simulated tracks against real ones: distributions, and networks that meet both.

``python -m bench simulation_vs_data`` prints, for the real rows of ``--data``:
shares that tell of the population, KS distances of each input and expert, mean
squared errors on real rows of networks trained on the simulation alone over those
of the network that ran, for several seeds; with ``--fine-tune`` the same after
training on the real rows of other events, with ``--swap`` what each group of inputs
costs. ``--plots DIR`` draws the distributions over each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from bench._frame import SAMPLE, read_options
from bench._rows import fitted
from nnt import plots, read_tracks
from nnt.detector import EXPERTS, z_to_cm
from nnt.engine import ExpertData
from nnt.metrics import profiles
from nnt.networks import Form, State
from nnt.networks.predicting import outputs_of
from nnt.simulation import Simulation, simulate_with
from nnt.tracks import Tracks
from nnt.types import F32, BoolArray

KINDS = ("relID", "driftT", "alpha")
ROWS_SEEN = 40_000_000
"""Rows that a training goes through: small experts get more epochs."""
RATE = 0.02
"""Where the cosine begins; at 0.001 the loss of tanh/2 stays on a plateau."""
FOLDS, INNER_FOLDS = 5, 4
FINE_TUNINGS = ((1e-4, 10), (1e-4, 30), (3e-4, 10), (3e-4, 30))
"""Rates and epochs among which fine-tuning chooses."""


def main() -> None:
    """Print the tables that the options ask for."""
    options = read_options(
        __doc__, data=SAMPLE, tracks=3_000_000, seeds=[1, 2, 3], plots=Path,
        fine_tune=False, swap=False,
    )  # fmt: skip
    real = read_tracks(options.data)
    simulated = simulate_with(Simulation(tracks=options.tracks, seed=options.seeds[0]))
    shares(real, simulated)
    distances(real, simulated)
    if options.plots:
        draw(real, simulated, options.plots)
    if options.swap:
        swaps(real, simulated)
    ratios(real, options.tracks, options.seeds, options.fine_tune)


def seen(tracks: Tracks) -> BoolArray:
    """Which superlayers of rows have a segment, (N, 9)."""
    found: BoolArray = np.any(tracks.inputs_by_superlayer, axis=2)
    return found


def _summary(tracks: Tracks) -> dict[str, npt.ArrayLike]:
    hit = seen(tracks)
    drift = np.abs(tracks.inputs[:, 1::3])
    limited = drift >= 1
    used = (drift > 0) & ~limited
    keys = np.column_stack([tracks.event_index, tracks.targets])
    rows_of_tracks = np.unique(keys, axis=0, return_counts=True)[1]
    rows_per_track = np.bincount(rows_of_tracks, minlength=6)[1:6]
    return {
        "expert": np.bincount(tracks.expert, minlength=5) / len(tracks),
        "segment seen": hit.mean(axis=0),
        "drift input 0": ((drift == 0) & hit).sum(axis=0) / hit.sum(axis=0),
        "drift at limit": limited.sum(axis=0) / hit.sum(axis=0),
        "median drift (ticks)": np.array(
            [np.median(drift[used[:, sl], sl]) * 256 for sl in range(9)]
        ),
        "rows at limit, 0..8 SL": np.bincount(limited.sum(axis=1), minlength=9)[:9]
        / len(tracks),
        "rows per track 1..5": rows_per_track / rows_per_track.sum(),
        "rows per event": len(tracks) / (tracks.event_index.max() + 1),
        "|z| < 1.5 cm": np.mean(np.abs(z_to_cm(tracks.targets[:, 0])) < 1.5),
        "positive charge": np.mean(tracks.inputs[:, 23] > 0),
    }


def shares(real: Tracks, simulated: Tracks) -> None:
    """Print shares of both tables in turn."""
    ours = _summary(simulated[:200_000])
    for name, values in _summary(real).items():
        print(name)
        for label, row in (("real", values), ("simulated", ours[name])):
            told = " ".join(f"{value:7.3f}" for value in np.atleast_1d(row))
            print(f"  {label:10s}", told)


def distances(real: Tracks, simulated: Tracks) -> None:
    """Print the KS distance of each input where the superlayer is seen."""
    print("KS distance, where seen   " + "  ".join(f"   SL{sl}" for sl in range(9)))
    for expert in EXPERTS:
        ours = simulated[simulated.expert == expert]
        theirs = real[real.expert == expert]
        for kind, name in enumerate(KINDS):
            told = []
            for sl in range(9):
                a, b = (t.inputs[seen(t)[:, sl], 3 * sl + kind] for t in (ours, theirs))
                told.append(f"{ks_2samp(a, b).statistic:6.3f}" if len(a) else "     -")
            print(f"  expert {expert} {name:12s}" + "  ".join(told))
    for column, name in enumerate(("z", "theta")):
        ks = ks_2samp(simulated.targets[:, column], real.targets[:, column])
        print(f"  {name}: {ks.statistic:.3f}")


def train(inputs: F32, targets: F32, seed: int) -> State:
    """Fit the firmware's network; every twentieth row chooses the epoch."""
    n_rows = len(inputs)
    held = np.arange(n_rows) % 20 == 0
    data = ExpertData(
        x_train=inputs[~held], y_train=targets[~held],
        x_val=inputs[held], y_val=targets[held],
    )  # fmt: skip
    size = 2048 if n_rows > 50_000 else 256
    return fitted(data, _overrides(RATE, 100, ROWS_SEEN // n_rows, size, seed))


def _overrides(
    rate: float, falls_by: int, epochs: int, batch_size: int, seed: int
) -> dict[str, object]:
    return {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": rate,
        "lr_schedule": {"name": "cosine", "final": rate / falls_by},
        "seed": seed,
    }


def predict(state: State, inputs: F32) -> F32:
    """Outputs of the firmware's network in floating point."""
    return outputs_of(Form(), state, inputs)


def _error(output: np.ndarray, tracks: Tracks) -> float:
    return float(np.mean((output - tracks.targets) ** 2))


def _error_of_reference(tracks: Tracks) -> float:
    assert tracks.reference is not None
    return _error(tracks.reference, tracks)


def ratios(real: Tracks, n_tracks: int, seeds: Sequence[int], fine_tune: bool) -> None:
    """Print errors on real rows over those of the network that ran."""
    if real.reference is None:
        raise SystemExit("the real rows hold no outputs of the network that ran")
    found: dict[str, list[list[float]]] = {"on simulation alone": []}
    if fine_tune:
        found["fine-tuned, 5-fold by event"] = []
    for seed in seeds:
        simulated = simulate_with(Simulation(tracks=n_tracks, seed=seed))
        for of_seeds in found.values():
            of_seeds.append([])
        for expert in EXPERTS:
            ours = simulated[simulated.expert == expert]
            theirs = real[real.expert == expert]
            state = train(ours.inputs, ours.targets, seed)
            outputs = [predict(state, theirs.inputs)]
            outputs += [_fine_tuned(state, theirs, seed)] if fine_tune else []
            for of_seeds, output in zip(found.values(), outputs, strict=True):
                ratio = _error(output, theirs) / _error_of_reference(theirs)
                of_seeds[-1].append(ratio)
        for name, of_seeds in found.items():
            print(f"seed {seed}, {name:27}", _told(of_seeds[-1]), flush=True)
    for name, of_seeds in found.items():
        mean, std = np.mean(of_seeds, axis=0), np.std(of_seeds, axis=0)
        print(f"error over that of the network that ran, {name}, experts 0..4:")
        print(f"  mean {_told(mean)}   std {_told(std)}")


def _told(values: Iterable[float]) -> str:
    return " ".join(f"{value:6.3f}" for value in values)


def _fine_tuned(state: State, theirs: Tracks, seed: int) -> np.ndarray:
    """Outputs on each fold of a network tuned on the other folds.

    Rate and epochs are chosen by folds of those other folds, so that no row has a
    part in what judges it.
    """
    fold = theirs.event_index % FOLDS
    output = np.empty((len(theirs), 2))
    for number in range(FOLDS):
        others = theirs[fold != number]
        best = min(FINE_TUNINGS, key=partial(_inner_error, state, others, seed))
        tuned = tune(state, others, *best, seed)
        mine = fold == number
        output[mine] = predict(tuned, theirs.inputs[mine])
    return output


def _inner_error(
    state: State, rows: Tracks, seed: int, choice: tuple[float, int]
) -> float:
    total = 0.0
    for number in range(INNER_FOLDS):
        apart = rows.event_index // FOLDS % INNER_FOLDS == number
        if apart.any() and not apart.all():
            tuned, judged = tune(state, rows[~apart], *choice, seed), rows[apart]
            total += _error(predict(tuned, judged.inputs), judged) * len(judged)
    return total


def tune(state: State, rows: Tracks, rate: float, epochs: int, seed: int) -> State:
    """Go on from weights as `load_pre_trained_weights` does, with real rows alone."""
    # The rows are too few to hold any back: all choose the epoch, mostly the last.
    x, y = np.ascontiguousarray(rows.inputs), np.ascontiguousarray(rows.targets)
    data = ExpertData(x_train=x, y_train=y, x_val=x, y_val=y)
    return fitted(data, _overrides(rate, 30, epochs, 64, seed), state)


def swaps(real: Tracks, simulated: Tracks) -> None:
    """Print what a simulated network makes of rows with one group blinded."""
    print("error on real rows without a group of inputs, trained without it, expert 0")
    ours = simulated[simulated.expert == 0]
    theirs = real[real.expert == 0]
    running = _error_of_reference(theirs)
    for name in ("none", *KINDS):
        kept = np.array([KINDS[i % 3] != name for i in range(27)], dtype=np.float32)
        state = train(ours.inputs * kept, ours.targets, 1)
        here = _error(predict(state, theirs.inputs * kept), theirs) / running
        there = _error(predict(state, ours.inputs * kept), ours) / running
        print(f"  without {name:7s} real {here:.3f}  simulated {there:.3f}")


def draw(real: Tracks, simulated: Tracks, folder: Path) -> None:
    """Draw the inputs of expert 0 and the targets of all, real over simulated."""
    tables = {"simulated": simulated, "real": real}
    of_all = {name: profiles(t)["all"] for name, t in tables.items()}
    own = {name: profiles(t[t.expert == 0])["all"] for name, t in tables.items()}
    figures = {"inputs": plots.input_histograms(own, "inputs of expert 0")}
    for name in ("z", "theta", "inverse_pt"):
        figures[name] = plots.target_histogram(of_all, name)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        (folder / f"{name}.png").write_bytes(plots.png(figure))
