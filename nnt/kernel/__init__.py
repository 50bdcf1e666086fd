"""A whole epoch of a network with one hidden layer, compiled.

The network is linear, activation, linear, activation; the loss is the mean squared
error. Forward, backward and update of all batches run in one compiled function that
releases the interpreter, so that experts train side by side in threads.

Interface
---------
``Kernel(state, act, optim, weight_decay=0.0, gradient_clip=None)``
    `state` maps ``net.0.weight`` (H, I), ``net.0.bias`` (H,), ``net.2.weight``
    (O, H), ``net.2.bias`` (O,) to float32 arrays; H is at most `WIDTH`.
``.train_epoch(x, y, order, batch_size, learning_rate) -> float``
    Trains on the batches ``order[b * B : (b + 1) * B]``, the last one partial, and
    returns the mean loss over rows. Raises `NonFiniteLossError` (with `.batch`).
``.predict(x) -> (N, O) float32``, ``.frozen() -> predict``
``.parameters() -> dict``, ``.set_parameters(dict)``
    The weights alone, in the form of `state` above.
``.bad_weights() -> str``, ``.snapshot() -> callable``
    Whether the weights are finite; a way back to now.
``.state() -> dict``, ``.load_state(dict)``
    Weights, moments ``first.*`` and ``second.*``, and ``step``: all arrays (copies).
`ACTIVATION_CODES`, `OPTIMISER_CODES`
    What is supported, by name.

Notes
-----
Hidden units are padded to `WIDTH`, so that inner loops have a constant length, and
weights are stored by input, [input][hidden]. The bias of the hidden layer is the
weight of one more input that is always one. Rows are taken in tiles whose hidden
layer stays in the cache between forward and backward; sums of products stay in vector
registers (`nnt.kernel.lanes`). The first call compiles for some seconds; the result is
cached on disk.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from nnt.errors import TrainingError
from nnt.kernel.loops import (
    ACTIVATION_CODES,
    BLOCK,
    OPTIMISER_CODES,
    WIDTH,
    aligned_zeros,
    predict_rows,
    train_batches,
)
from nnt.types import F32, I64

__all__ = [
    "ACTIVATION_CODES",
    "OPTIMISER_CODES",
    "WIDTH",
    "Kernel",
    "NonFiniteLossError",
]


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


class Kernel:
    """Weights, gradients and moments of one network, and the compiled loops on them.

    Parameters
    ----------
    state : mapping of arrays
        ``net.0.weight`` (H, I), ``net.0.bias`` (H,), ``net.2.weight`` (O, H),
        ``net.2.bias`` (O,); copied.
    act, optim : str
        Keys of `ACTIVATION_CODES` and `OPTIMISER_CODES`.
    weight_decay : float
        As in PyTorch: part of the gradient for Adam and SGD (momentum 0.9),
        apart from it for AdamW, unused by Rprop.
    gradient_clip : float, optional
        Largest norm of the whole gradient.

    Raises
    ------
    TrainingError
        The name is unknown, or the shapes are not those of such a network.
    """

    def __init__(
        self,
        state: Mapping[str, F32],
        act: str,
        optim: str,
        weight_decay: float = 0.0,
        gradient_clip: float | None = None,
    ) -> None:
        if act not in ACTIVATION_CODES or optim not in OPTIMISER_CODES:
            raise TrainingError(f"no compiled loops for act {act!r}, optim {optim!r}")
        self._act, self._optim = ACTIVATION_CODES[act], OPTIMISER_CODES[optim]
        self._decay = float(weight_decay)
        self._limit = np.float32(gradient_clip or 0.0)
        self._hidden, self._inputs = state["net.0.weight"].shape
        self._outputs = len(state["net.2.bias"])
        if self._hidden > WIDTH:
            raise TrainingError(
                f"{self._hidden} hidden units, at most {WIDTH} in the compiled loops"
            )
        in_rows = -(-(self._inputs + 1) // BLOCK) * BLOCK
        shapes = ((in_rows, WIDTH), (self._outputs, WIDTH), (self._outputs,))
        *starts, size = itertools.accumulate(map(math.prod, shapes), initial=0)
        self._parts = tuple(zip(starts, [*starts[1:], size], shapes, strict=True))
        self._flat = tuple(aligned_zeros(1, size)[0] for _ in range(4))
        self._layers, self._slopes = map(self._split, self._flat[:2])
        self._step = 0
        self.set_parameters(state)

    def _split(self, flat: F32) -> tuple[F32, ...]:
        return tuple(flat[a:b].reshape(shape) for a, b, shape in self._parts)

    def _named(self, flat: F32) -> dict[str, F32]:
        """Views of a flat array by the names of the state dict."""
        w1, w2, b2 = self._split(flat)
        return {
            "net.0.weight": w1[: self._inputs, : self._hidden].T,
            "net.0.bias": w1[-1, : self._hidden],
            "net.2.weight": w2[:, : self._hidden],
            "net.2.bias": b2,
        }

    def _fill(self, flat: F32, values: Mapping[str, F32]) -> None:
        for name, view in self._named(flat).items():
            if name not in values or values[name].shape != view.shape:
                found = values[name].shape if name in values else "nothing"
                raise TrainingError(f"{name}: expected {view.shape}, found {found}")
            view[...] = values[name]

    def parameters(self) -> dict[str, F32]:
        """Copy of the weights, float32, as in the state dict."""
        return {n: v.copy(order="C") for n, v in self._named(self._flat[0]).items()}

    def set_parameters(self, state: Mapping[str, F32]) -> None:
        """Replace the weights; moments and step stay.

        Raises
        ------
        TrainingError
            An array is missing or has another shape.
        """
        self._fill(self._flat[0], state)

    def bad_weights(self) -> str:
        """Name the first weights that are not all finite; empty if all are."""
        if np.isfinite(self._flat[0]).all():
            return ""
        named = self._named(self._flat[0]).items()
        return next((n for n, v in named if not np.isfinite(v).all()), "")

    def snapshot(self) -> Callable[[], None]:
        """Remember weights, moments and step; what it returns puts them back."""
        kept, step = [flat.copy() for flat in self._flat], self._step

        def restore() -> None:
            for flat, values in zip(self._flat, kept, strict=True):
                flat[...] = values
            self._step = step

        return restore

    def gradients(self) -> dict[str, F32]:
        """Gradients of the last batch, after clipping; names as the weights."""
        return {n: v.copy(order="C") for n, v in self._named(self._flat[1]).items()}

    def train_epoch(
        self, x: F32, y: F32, order: I64, batch_size: int, learning_rate: float
    ) -> float:
        """Train on the rows named by `order`, batch by batch.

        Parameters
        ----------
        x : (N, I) float32
            Inputs, C-contiguous.
        y : (N, O) float32
            Targets, C-contiguous.
        order : (M,) int64
            Rows of `x`; batch b is ``order[b * B : (b + 1) * B]``.
        batch_size : int
            B, at least 1.
        learning_rate : float
            Of this epoch. Rprop reads it at its first step only.

        Returns
        -------
        float
            Mean squared error over rows and outputs, each batch before its step.

        Raises
        ------
        NonFiniteLossError
            The loss of a batch is not finite; the weights are those before it.
        TrainingError
            Shapes do not fit or `order` names a row that is not there.
        """
        self._check(x, y, order, batch_size)
        if not len(order):
            return 0.0
        total, bad = train_batches(
            np.ascontiguousarray(x, np.float32),
            np.ascontiguousarray(y, np.float32),
            np.ascontiguousarray(order, np.int64),
            int(batch_size),
            self._act,
            self._optim,
            self._layers,
            self._slopes,
            self._flat,
            self._hidden,
            self._step,
            float(learning_rate),
            self._decay,
            self._limit,
        )
        if bad >= 0:
            self._step += bad
            raise NonFiniteLossError(bad)
        self._step += -(-len(order) // batch_size)
        return float(total) / (len(order) * self._outputs)

    def _check(self, x: F32, y: F32, order: I64, batch_size: int) -> None:
        shapes = (x.shape[1:], y.shape[1:], len(x))
        expected = ((self._inputs,), (self._outputs,), len(y))
        if shapes != expected:
            raise TrainingError(
                f"training rows: expected {self._inputs} inputs and {self._outputs} "
                f"targets a row, found arrays {x.shape} and {y.shape}"
            )
        if batch_size < 1:
            raise TrainingError(f"batch_size: expected at least 1, found {batch_size}")
        if len(order) and (order.min() < 0 or order.max() >= len(x)):
            raise TrainingError(f"order: expected rows in 0 to {len(x) - 1}")

    def predict(self, x: F32) -> F32:
        """Outputs (N, O) float32 for inputs (N, I) float32.

        Raises
        ------
        TrainingError
            The rows have another number of inputs.
        """
        return self._predict(x, self._layers)

    def frozen(self) -> Callable[[F32], F32]:
        """Give a `predict` that keeps the weights of now, for another thread."""
        kept = aligned_zeros(1, len(self._flat[0]))[0]
        kept[...] = self._flat[0]
        return partial(self._predict, layers=self._split(kept))

    def _predict(self, x: F32, layers: tuple[F32, ...]) -> F32:
        if x.shape[1:] != (self._inputs,):
            raise TrainingError(
                f"expected {self._inputs} inputs a row, found {x.shape}"
            )
        result = np.empty((len(x), self._outputs), np.float32)
        predict_rows(np.ascontiguousarray(x, np.float32), self._act, *layers, result)
        return result

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of weights, moments (``first.*``, ``second.*``) and ``step``."""
        result: dict[str, npt.NDArray[np.generic]] = dict(self.parameters())
        for prefix, flat in (("first", self._flat[2]), ("second", self._flat[3])):
            for name, view in self._named(flat).items():
                result[f"{prefix}.{name}"] = view.copy(order="C")
        result["step"] = np.array(self._step, np.int64)
        return result

    def load_state(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `state` returned.

        Raises
        ------
        TrainingError
            An array is missing or has another shape.
        """
        if "step" not in state:
            raise TrainingError("step: expected a number, found nothing")
        for prefix, flat in (("", 0), ("first.", 2), ("second.", 3)):
            part = {
                name.removeprefix(prefix): np.asarray(value, np.float32)
                for name, value in state.items()
                if name.startswith(prefix)
            }
            self._fill(self._flat[flat], part)
        self._step = int(state["step"])
