"""Simulated tracks against real ones: distributions, and networks that meet both.

``python -m bench simulation_vs_data`` prints, for the real rows of ``--data``:
shares that tell of the population, KS distances of each input and expert, mean
squared errors on real rows of networks trained on the simulation alone over those
of the network that ran, for several seeds; with ``--fine-tune`` the same after
training on the real rows of other events, with ``--classifier`` how well a network
tells simulated rows from real ones, and with ``--swap`` what each group of inputs
costs. ``--plots DIR`` draws the distributions over each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import ks_2samp, mannwhitneyu

from bench._frame import SAMPLE, read_options
from bench._rows import fitted
from nnt import read_tracks
from nnt.detector import EXPERTS, theta_to_deg, z_to_cm
from nnt.engine import ExpertData
from nnt.networks import Form, State
from nnt.networks.predicting import outputs_of
from nnt.simulation import Simulation, simulate_with
from nnt.tracks import Tracks

KINDS = ("relID", "driftT", "alpha")
AXIAL, STEREO = (0, 2, 4, 6, 8), (1, 3, 5, 7)
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
        fine_tune=False, classifier=False, swap=False,
    )  # fmt: skip
    mpl.use("Agg")
    real = read_tracks(options.data)
    simulated = simulate_with(Simulation(tracks=options.tracks, seed=options.seeds[0]))
    shares(real, simulated)
    distances(real, simulated)
    if options.classifier:
        classifier(real, simulated)
    if options.plots:
        plots(real, simulated, options.plots)
    if options.swap:
        swaps(real, simulated)
    ratios(real, options.tracks, options.seeds, options.fine_tune)


def seen(tracks: Tracks, superlayer: int) -> np.ndarray:
    """Which rows have a segment in a superlayer."""
    block = tracks.inputs[:, 3 * superlayer : 3 * superlayer + 3]
    mask: np.ndarray = np.any(block != 0, axis=1)
    return mask


def _rows_per_target(tracks: Tracks) -> np.ndarray:
    keys = np.column_stack([tracks.event_index, tracks.targets])
    counts: np.ndarray = np.unique(keys, axis=0, return_counts=True)[1]
    return counts


def _summary(tracks: Tracks) -> dict[str, np.ndarray]:
    inputs = tracks.inputs
    hit = np.stack([seen(tracks, sl) for sl in range(9)], axis=1)
    drift = np.abs(inputs[:, 1::3])
    limited = drift >= 1
    used = (drift > 0) & ~limited
    rows_per_track = np.bincount(_rows_per_target(tracks), minlength=6)[1:6]
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
        "rows per event": np.array([len(tracks) / (tracks.event_index.max() + 1)]),
        "|z| < 1.5 cm": np.array(
            [np.mean(np.abs(z_to_cm(tracks.targets[:, 0])) < 1.5)]
        ),
        "positive charge": np.array([np.mean(inputs[:, 23] > 0)]),
    }


def shares(real: Tracks, simulated: Tracks) -> None:
    """Print shares of both tables in turn."""
    ours = _summary(simulated[:200_000])
    for name, values in _summary(real).items():
        print(name)
        for label, row in (("real", values), ("simulated", ours[name])):
            print(f"  {label:10s}", " ".join(f"{value:7.3f}" for value in row))


def distances(real: Tracks, simulated: Tracks) -> None:
    """Print the KS distance of each input where the superlayer is seen."""
    print("KS distance, where seen   " + "  ".join(f"   SL{sl}" for sl in range(9)))
    for expert in EXPERTS:
        ours = simulated[simulated.expert == expert]
        theirs = real[real.expert == expert]
        for kind, name in enumerate(KINDS):
            told = []
            for sl in range(9):
                a, b = (t.inputs[seen(t, sl), 3 * sl + kind] for t in (ours, theirs))
                told.append(f"{ks_2samp(a, b).statistic:6.3f}" if len(a) else "     -")
            print(f"  expert {expert} {name:12s}" + "  ".join(told))
    for column, name in enumerate(("z", "theta")):
        ks = ks_2samp(simulated.targets[:, column], real.targets[:, column])
        print(f"  {name}: {ks.statistic:.3f}")


def train(
    inputs: np.ndarray,
    targets: np.ndarray,
    seed: int,
    epochs: int | None = None,
) -> State:
    """Fit the firmware's network; every twentieth row chooses the epoch."""
    n_rows = len(inputs)
    overrides = {
        "epochs": epochs or ROWS_SEEN // n_rows,
        "batch_size": 2048 if n_rows > 50_000 else 256,
        "learning_rate": RATE,
        "lr_schedule": {"name": "cosine", "final": RATE / 100},
        "out_size": targets.shape[1],
        "seed": seed,
    }
    held_back = np.arange(n_rows) % 20 == 0
    parts = [
        np.ascontiguousarray(table[mask], dtype=np.float32)
        for mask in (~held_back, held_back)
        for table in (inputs, targets)
    ]
    data = ExpertData(
        x_train=parts[0], y_train=parts[1], x_val=parts[2], y_val=parts[3]
    )
    return fitted(data, overrides)


def predict(state: State, inputs: np.ndarray) -> np.ndarray:
    """Outputs of the firmware's network in floating point."""
    form = Form.of_shapes({name: value.shape for name, value in state.items()})
    return outputs_of(form, state, inputs)


def _error(output: np.ndarray, tracks: Tracks) -> float:
    return float(np.mean((output - tracks.targets) ** 2))


def _error_of_reference(tracks: Tracks) -> float:
    assert tracks.reference is not None
    return _error(tracks.reference, tracks)


def ratios(real: Tracks, n_tracks: int, seeds: Sequence[int], fine_tune: bool) -> None:
    """Print errors on real rows over those of the network that ran."""
    if real.reference is None:
        raise SystemExit("the real rows hold no outputs of the network that ran")
    rows, after = [], []
    for seed in seeds:
        simulated = simulate_with(Simulation(tracks=n_tracks, seed=seed))
        line, tuned = [], []
        for expert in EXPERTS:
            ours = simulated[simulated.expert == expert]
            theirs = real[real.expert == expert]
            state = train(ours.inputs, ours.targets, seed)
            running = _error_of_reference(theirs)
            line.append(_error(predict(state, theirs.inputs), theirs) / running)
            if fine_tune:
                output = _fine_tuned(state, theirs, seed)
                tuned.append(_error(output, theirs) / running)
        rows.append(line)
        after.append(tuned)
        print(f"seed {seed}: trained on simulation", _told(line), flush=True)
        if fine_tune:
            print(f"seed {seed}: fine-tuned           ", _told(tuned), flush=True)
    _spread("on simulation alone", rows)
    if fine_tune:
        _spread("fine-tuned, 5-fold by event", after)


def _told(values: Sequence[float]) -> str:
    return " ".join(f"{value:6.3f}" for value in values)


def _spread(name: str, rows: list[list[float]]) -> None:
    print(f"error over that of the network that ran, {name}, experts 0..4:")
    print(f"  mean {_told(np.mean(rows, axis=0))}   std {_told(np.std(rows, axis=0))}")


def _fine_tuned(state: State, theirs: Tracks, seed: int) -> np.ndarray:
    """Outputs on each fold of a network tuned on the other folds.

    Rate and epochs are chosen by folds of those other folds, so that no row has a
    part in what judges it.
    """
    fold = theirs.event_index % FOLDS
    output = np.empty((len(theirs), 2))
    for number in range(FOLDS):
        others = theirs[fold != number]
        inner = others.event_index // FOLDS % INNER_FOLDS

        def inner_error(
            choice: tuple[float, int],
            others: Tracks = others,
            inner: np.ndarray = inner,
        ) -> float:
            return sum(
                _tuned_error(state, others, inner == k, choice, seed)
                for k in range(INNER_FOLDS)
            )

        tuned = tune(state, others, *min(FINE_TUNINGS, key=inner_error), seed)
        mine = fold == number
        output[mine] = predict(tuned, theirs.inputs[mine])
    return output


def _tuned_error(
    state: State,
    rows: Tracks,
    apart: np.ndarray,
    choice: tuple[float, int],
    seed: int,
) -> float:
    if apart.all() or not apart.any():
        return 0.0
    tuned = tune(state, rows[~apart], *choice, seed)
    judged = rows[apart]
    return float(np.sum((predict(tuned, judged.inputs) - judged.targets) ** 2))


def tune(state: State, rows: Tracks, rate: float, epochs: int, seed: int) -> State:
    """Go on from weights as `load_pre_trained_weights` does, with real rows alone."""
    overrides = {
        "epochs": epochs,
        "batch_size": 64,
        "learning_rate": rate,
        "lr_schedule": {"name": "cosine", "final": rate / 30},
        "seed": seed,
    }
    # The rows are too few to hold any back: all choose the epoch, mostly the last.
    x, y = np.ascontiguousarray(rows.inputs), np.ascontiguousarray(rows.targets)
    data = ExpertData(x_train=x, y_train=y, x_val=x, y_val=y)
    return fitted(data, overrides, state)


def classifier(real: Tracks, simulated: Tracks) -> None:
    """Print how well networks tell real rows from simulated ones, by event folds."""
    groups = {"all": list(range(27))}
    for kind, name in enumerate(KINDS):
        groups[name] = list(range(kind, 27, 3))
    for name, layers in (("axial", AXIAL), ("stereo", STEREO)):
        groups[name] = [3 * sl + kind for sl in layers for kind in range(3)]
    groups |= {f"SL{sl}": list(range(3 * sl, 3 * sl + 3)) for sl in range(9)}
    for expert in (0, 3):
        theirs = real[real.expert == expert]
        pool = simulated[np.flatnonzero(simulated.expert == expert)]
        ours = pool[: len(theirs)]
        told = []
        for name, columns in groups.items():
            told.append(f"{name} {_separation(theirs, ours, columns):.3f}")
        print(f"area under ROC, real against simulated, expert {expert}:")
        print("  " + "  ".join(told))


def _separation(theirs: Tracks, ours: Tracks, columns: list[int]) -> float:
    x = np.concatenate([theirs.inputs, ours.inputs])[:, columns]
    padded = np.zeros((len(x), 27), dtype=np.float32)
    padded[:, : len(columns)] = x
    label = np.where(np.arange(len(x)) < len(theirs), 0.8, -0.8)[:, None]
    fold = np.concatenate([theirs.event_index, ours.event_index]) % FOLDS
    score = np.empty(len(x))
    for number in range(FOLDS):
        state = train(padded[fold != number], label[fold != number], 1, epochs=40)
        score[fold == number] = predict(state, padded[fold == number])[:, 0]
    is_real = label[:, 0] > 0
    wins = mannwhitneyu(score[is_real], score[~is_real]).statistic
    return float(wins / (is_real.sum() * (~is_real).sum()))


def swaps(real: Tracks, simulated: Tracks) -> None:
    """Print what a simulated network makes of rows with one group blinded."""
    print("error on real rows without a group of inputs, trained without it, expert 0")
    ours = simulated[simulated.expert == 0]
    theirs = real[real.expert == 0]
    running = _error_of_reference(theirs)
    groups: dict[str, list[int]] = {
        "none": [],
        "relID": [0],
        "driftT": [1],
        "alpha": [2],
    }
    for name, kinds in groups.items():
        kept = np.array([i % 3 not in kinds for i in range(27)], dtype=np.float32)
        state = train(ours.inputs * kept, ours.targets, 1)
        here = _error(predict(state, theirs.inputs * kept), theirs) / running
        there = _error(predict(state, ours.inputs * kept), ours) / running
        print(f"  without {name:7s} real {here:.3f}  simulated {there:.3f}")


def plots(real: Tracks, simulated: Tracks, folder: Path) -> None:
    """Draw the inputs of expert 0 and the targets of all, real over simulated."""
    folder.mkdir(parents=True, exist_ok=True)
    ours, theirs = (t[t.expert == 0] for t in (simulated, real))
    for kind, name in enumerate(KINDS):
        figure, axes = plt.subplots(3, 3, figsize=(11, 8), layout="constrained")
        for sl, axis in enumerate(axes.flat):
            # Crossing angles reach half as far as the other inputs.
            bins = np.linspace(-1, 1, 65) / (2 if name == "alpha" else 1)
            for label, t in (("simulated", ours), ("real", theirs)):
                values = t.inputs[seen(t, sl), 3 * sl + kind]
                if name == "driftT":
                    values = values[values != 0]
                axis.hist(values, bins, density=True, histtype="step", label=label)
            axis.set_title(f"SL{sl} {name}")
        axes[0, 0].legend()
        figure.supxlabel(f"input {name} of expert 0, where seen")
        figure.supylabel("density")
        figure.savefig(folder / f"{name}.png", dpi=90)
        plt.close(figure)
    figure, pair = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for label, t in (("simulated", simulated), ("real", real)):
        z_cm, theta_deg = z_to_cm(t.targets[:, 0]), theta_to_deg(t.targets[:, 1])
        style = {"density": True, "histtype": "step", "label": label}
        pair[0].hist(z_cm, np.linspace(-100, 100, 101), log=True, **style)
        pair[1].hist(theta_deg, np.linspace(10, 170, 81), **style)
    pair[0].set_xlabel("z (cm)")
    pair[1].set_xlabel("theta (deg)")
    for axis in pair:
        axis.set_ylabel("density")
    pair[0].legend()
    figure.savefig(folder / "targets.png", dpi=90)
    plt.close(figure)
