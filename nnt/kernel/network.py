"""Weights, gradients and moments of one network, and the compiled loops on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from nnt.errors import TrainingError
from nnt.kernel.lanes import LANES
from nnt.kernel.loops import (
    OPTIMISER_CODES,
    Settings,
    aligned_zeros,
    predict_rows,
    train_batches,
)
from nnt.kernel.plan import plan_of
from nnt.kernel.slopes import ACTIVATION_CODES, target_of
from nnt.networks.form import Form
from nnt.objective import CUT_START, Objective
from nnt.types import F32, I64

WEIGHTS, SLOPES, FIRST, SECOND, AVERAGE = range(5)
KEPT = {"": WEIGHTS, "first.": FIRST, "second.": SECOND, "average.": AVERAGE}
"""What a state holds, by the beginnings of names."""

DECISION = "decision"
"""Name of the two learned numbers of a decision."""

NO_WEIGHTS = np.zeros((0, 0), np.float32)


class NonFiniteLossError(TrainingError):
    """The loss of a batch is infinite or not a number.

    Attributes
    ----------
    batch : int
        Number of the batch in the epoch, from 0.
    """

    def __init__(self, batch: int) -> None:
        super().__init__(
            f"the training loss of batch {batch} is not finite; lower learning_rate "
            "or set gradient_clip"
        )
        self.batch = batch


def why_not(form: Form, objective: Objective, optimiser: str) -> str:
    """Say what keeps a network from the compiled loops; empty if nothing."""
    if not form.is_plain:
        return f"model is {form.model}, the loops know networks without normalisation"
    if form.activation not in ACTIVATION_CODES:
        return f"act is {form.activation}"
    if optimiser not in OPTIMISER_CODES:
        return f"optim is {optimiser}"
    if [column.output for column in objective.columns] != list(form.outputs):
        return "the objective is that of another network"
    return ""


class Kernel:
    """A network and its optimiser.

    Parameters
    ----------
    state : mapping of arrays
        Float32, by the names and in the shapes of `Form.shapes`; copied.
    form : Form
        Of the network.
    objective : Objective
        What is minimised.
    optimiser : str
        A key of `OPTIMISER_CODES`.
    weight_decay : float
        As in PyTorch: part of the gradient for Adam and SGD (momentum 0.9),
        apart from it for AdamW, unused by Rprop.
    gradient_clip : float, optional
        Largest norm of the whole gradient.
    average : float, optional
        Decay per step of a moving average of the weights, from 0 to below 1.

    Raises
    ------
    TrainingError
        `why_not` has an answer, or shapes or numbers do not fit.
    """

    def __init__(
        self,
        state: Mapping[str, F32],
        form: Form,
        objective: Objective,
        optimiser: str,
        *,
        weight_decay: float = 0.0,
        gradient_clip: float | None = None,
        average: float | None = None,
    ) -> None:
        reason = why_not(form, objective, optimiser)
        if reason:
            raise TrainingError(f"no compiled loops: {reason}")
        if average is not None and not 0 <= average < 1:
            raise TrainingError(
                f"average: expected a decay from 0 to below 1, found {average}"
            )
        self._objective = objective
        self._optimiser = OPTIMISER_CODES[optimiser]
        self._decay, self._keep = float(weight_decay), average
        self._limit = np.float32(gradient_clip or 0.0)
        self._plan = plan = plan_of(form.nodes)
        # The numbers of a decision come after the weights, on lanes of their own.
        self._cut = -(-plan.n_weights // LANES) * LANES
        target = target_of(objective, self._cut)
        self._target, self._act = tuple(target), target.act
        decides = objective.decision is not None
        self._learned = self._cut + 2 if decides else plan.n_weights
        size = self._cut + LANES
        self._flat: list[F32] = [aligned_zeros(size) for _ in range(4)]
        self._flat.append(aligned_zeros(0 if average is None else size))
        # By the names of the state; none of the average where there is none.
        self._views = [
            {name: plan.view(flat, name) for name in plan.views if flat.size}
            for flat in self._flat
        ]
        for flat, views in zip(self._flat, self._views, strict=True):
            if decides and views:
                views[DECISION] = flat[self._cut : self._learned]
        self._scratch = aligned_zeros(plan.n_turned), aligned_zeros(plan.n_tile)
        self._step = 0
        if decides:
            self._views[WEIGHTS][DECISION][:] = CUT_START
        self.set_parameters(state)

    def parameters(self) -> dict[str, F32]:
        """Copy of the weights, float32, by the names of the form."""
        return _copies(self._weights(WEIGHTS))

    def set_parameters(self, state: Mapping[str, F32]) -> None:
        """Replace the weights; moments and step stay.

        Raises
        ------
        TrainingError
            An array is missing or has another shape.
        """
        _fill(self._weights(WEIGHTS), state)

    def _weights(self, which: int) -> dict[str, F32]:
        """Without the numbers of a decision, which are none of the network."""
        views = self._views[which]
        return {name: view for name, view in views.items() if name != DECISION}

    @property
    def _judged(self) -> int:
        """Number of the weights that predict: their average where there is one."""
        return AVERAGE if self._keep is not None and self._step else WEIGHTS

    def averaged(self) -> dict[str, F32]:
        """Copy of the moving average of the weights; without one, of the weights."""
        return _copies(self._weights(self._judged))

    @property
    def cut(self) -> tuple[float, float] | None:
        """Learned b and c of a decision; None without one."""
        numbers = self._views[self._judged].get(DECISION)
        return None if numbers is None else (float(numbers[0]), float(numbers[1]))

    def gradients(self) -> dict[str, F32]:
        """Gradients of the last batch, after clipping; names as the weights."""
        return _copies(self._weights(SLOPES))

    def bad_weights(self) -> str:
        """Name the first weights that are not all finite; empty if all are."""
        named = self._views[WEIGHTS].items()
        return next((name for name, v in named if not np.isfinite(v).all()), "")

    def train_epoch(
        self,
        x: F32,
        y: F32,
        w: F32 | None,
        order: I64,
        batch_size: int,
        learning_rate: float,
    ) -> float:
        """Train on the rows named by `order`, batch by batch.

        Parameters
        ----------
        x : (N, I) float32
            Inputs, C-contiguous.
        y : (N, T) float32
            Targets, C-contiguous; T is `Objective.n_targets`.
        w : (N, T) float32, optional
            Weights of rows for each target; all 1 without them.
        order : (M,) int64
            Rows of `x`; batch b is ``order[b * B : (b + 1) * B]``.
        batch_size : int
            B, at least 1.
        learning_rate : float
            Of this epoch. Rprop reads it at its first step only.

        Returns
        -------
        float
            Mean loss of the rows, each batch before its step.

        Raises
        ------
        NonFiniteLossError
            The loss of a batch is not finite; the weights are those before it.
        TrainingError
            Shapes do not fit or `order` names a row that is not there.
        """
        order = np.ascontiguousarray(order, np.int64)
        self._check(x, y, w, order, batch_size)
        if not len(order):
            return 0.0
        rows = x, y, NO_WEIGHTS if w is None else w
        settings = Settings(
            batch_size=int(batch_size),
            optim=self._optimiser,
            step=self._step,
            rate=float(learning_rate),
            decay=self._decay,
            limit=self._limit,
            keep=self._keep or 0.0,
            decayed=self._plan.n_weights,
            learned=self._learned,
            inputs_step=self._plan.inputs_step,
        )
        total, bad = train_batches(
            tuple(np.ascontiguousarray(a, np.float32) for a in rows),
            order,
            self._plan.tables,
            self._target,
            tuple(settings),
            (*self._flat, *self._scratch),
        )
        if bad >= 0:
            self._step += bad
            raise NonFiniteLossError(bad)
        self._step += -(-len(order) // batch_size)
        return float(total) / len(order)

    def _check(
        self, x: F32, y: F32, w: F32 | None, order: I64, batch_size: int
    ) -> None:
        n_inputs, n_targets = self._plan.nodes[0], self._objective.n_targets
        if x.shape[1:] != (n_inputs,) or y.shape != (len(x), n_targets):
            raise TrainingError(
                f"training rows: expected {n_inputs} inputs and {n_targets} "
                f"targets a row, found arrays {x.shape} and {y.shape}"
            )
        if w is not None and w.shape != y.shape:
            raise TrainingError(
                f"weights of rows: expected {y.shape} as targets, found {w.shape}"
            )
        if batch_size < 1:
            raise TrainingError(f"batch_size: expected at least 1, found {batch_size}")
        # Unsigned, a negative number is larger than any row.
        if len(order) and order.view(np.uint64).max() >= len(x):
            raise TrainingError(f"order: expected rows in 0 to {len(x) - 1}")

    def predict(self, x: F32) -> F32:
        """Outputs (N, O) float32 for inputs (N, I) float32, by the average if any.

        Raises
        ------
        TrainingError
            The rows have another number of inputs.
        """
        return self._predict(x, self._flat[self._judged])

    def frozen(self) -> Callable[[F32], F32]:
        """Give a `predict` that keeps the weights of now, for another thread."""
        kept = aligned_zeros(len(self._flat[WEIGHTS]))
        kept[...] = self._flat[self._judged]
        return partial(self._predict, weights=kept)

    def _predict(self, x: F32, weights: F32) -> F32:
        plan = self._plan
        if x.shape[1:] != (plan.nodes[0],):
            raise TrainingError(
                f"expected {plan.nodes[0]} inputs a row, found {x.shape}"
            )
        result = np.empty((len(x), plan.nodes[-1]), np.float32)
        # A tile of its own: other threads may predict at the same time.
        flats = weights, aligned_zeros(plan.n_tile)
        rows = np.ascontiguousarray(x, np.float32)
        predict_rows(rows, plan.tables, self._act, plan.inputs_step, flats, result)
        return result

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of all that moves.

        Weights; moments ``first.*`` and ``second.*``; with `average`, ``average.*``;
        of a decision, the same of ``decision``; ``step``.
        """
        state: dict[str, npt.NDArray[np.generic]] = {}
        for prefix, which in KEPT.items():
            copies = _copies(self._views[which])
            state |= {prefix + name: copy for name, copy in copies.items()}
        return state | {"step": np.array(self._step, np.int64)}

    def load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `state` returned.

        Raises
        ------
        TrainingError
            An array is missing or has another shape.
        """
        if "step" not in state:
            raise TrainingError("step: expected a number, found nothing")
        for prefix, which in KEPT.items():
            views = self._views[which]
            _fill({prefix + name: view for name, view in views.items()}, state)
        self._step = int(state["step"])


def _copies(views: Mapping[str, F32]) -> dict[str, F32]:
    return {name: view.copy(order="C") for name, view in views.items()}


def _fill(
    views: Mapping[str, F32], values: Mapping[str, npt.NDArray[np.generic]]
) -> None:
    for name, view in views.items():
        if name not in values or np.shape(values[name]) != view.shape:
            found = np.shape(values[name]) if name in values else "nothing"
            raise TrainingError(f"{name}: expected {view.shape}, found {found}")
        view[...] = values[name]
