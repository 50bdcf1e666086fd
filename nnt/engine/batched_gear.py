"""The gear of an expert that shares its steps with others on one device."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from nnt.config import Config
from nnt.engine.ensemble import Ensemble
from nnt.engine.resident import Resident
from nnt.engine.steps import Moving
from nnt.engine.torch_gear import PREDICT_ROWS, not_finite
from nnt.engine.types import Arrays, ExpertData
from nnt.errors import TrainingError
from nnt.models import build_model, initialise
from nnt.types import F32, I64
from nnt.weights import State

__all__ = ["BatchedGear"]

PREFIXES = ("", "first.", "second.")
"""Of weights and moments, in the order of `Moving`."""


class BatchedGear:
    """A slot of an `Ensemble` behind the protocol `Gear`.

    Between epochs, all that moves is here on the CPU, ten thousand numbers that are
    never changed in place; so whatever others read of it needs no device and no lock.

    Parameters
    ----------
    data : ExpertData
        Rows to train on, and to validate: both stay on the device.
    config : Config
        Of this expert.
    expert : int
        Chooses the slot.
    generator : numpy.random.Generator
        Draws the first weights, the same ones as for `TorchGear`.
    initial : dict of arrays, optional
        Weights to start from instead.
    ensemble : Ensemble
        Has a slot for the expert.
    """

    def __init__(
        self,
        data: ExpertData,
        config: Config,
        expert: int,
        generator: np.random.Generator,
        initial: State | None,
        ensemble: Ensemble,
    ) -> None:
        self.name = ensemble.name
        self._ensemble, self._stack = ensemble, ensemble.stack
        self._expert, self._batch_size = expert, config.batch_size
        model = build_model(config.model, config.in_size, config.out_size, config.act)
        if initial is None:
            initialise(model, generator)
        else:
            tensors = {n: torch.from_numpy(v.copy()) for n, v in initial.items()}
            model.load_state_dict(tensors)
        drawn = {n: t.detach().numpy() for n, t in model.state_dict().items()}
        weights = self._stack.join(drawn)
        zeros = torch.zeros_like(weights)
        self._moving = Moving(torch.stack((weights, zeros, zeros)), 0)
        ensemble.put_rows(expert, data.x_train, data.y_train)
        self._val = Resident(data.x_val, ensemble.device)

    def train_epoch(self, order: I64, learning_rate: float) -> float:
        """Do one epoch; see `Gear`."""
        if not len(order):
            return 0.0
        moved = self._ensemble.train(self._expert, self._moving, order, learning_rate)
        self._moving = moved.moving
        if moved.bad_batch is not None:
            n_batches = -(-len(order) // self._batch_size)
            raise not_finite(moved.bad_batch, n_batches, moved.loss_before)
        return moved.loss_sum / len(order)

    def predict(self, inputs: F32) -> F32:
        """Outputs as in evaluation; see `Gear`."""
        return self.frozen()(inputs)

    def frozen(self) -> Callable[[F32], F32]:
        """Give a `predict` with the weights of now; see `Gear`."""
        return partial(self._predict, weights=self._moving.values[0])

    def _predict(self, inputs: F32, weights: torch.Tensor) -> F32:
        x = self._val.on_device(inputs)
        network = weights[None].to(x.device)
        with torch.no_grad():
            parts = [
                # A clone, because alignment in memory can change the rounding.
                self._stack.outputs(network, rows.clone()[None])[0].cpu()
                for rows in torch.split(x, PREDICT_ROWS)
            ]
        out: F32 = torch.cat(parts).numpy()
        return out

    def weights(self) -> State:
        """Copy of the weights alone; see `Gear`."""
        return self._stack.named(self._moving.values[0])

    def bad_weights(self) -> str:
        """Name weights that are not finite; see `Gear`."""
        if self._moving.values[0].isfinite().all():
            return ""
        return next(n for n, v in self.weights().items() if not np.isfinite(v).all())

    def snapshot(self) -> Callable[[], None]:
        """Remember all that moves; see `Gear`."""
        kept = self._moving

        def restore() -> None:
            self._moving = kept

        return restore

    def state(self) -> Arrays:
        """Copy of weights, moments and step; see `Gear`."""
        arrays: Arrays = {"step": np.array(self._moving.step, np.int64)}
        for prefix, values in zip(PREFIXES, self._moving.values, strict=True):
            named = self._stack.named(values)
            arrays |= {f"{prefix}{name}": value for name, value in named.items()}
        return arrays

    def load_state(self, state: Arrays) -> None:
        """Take over what `state` returned; see `Gear`."""
        forms: dict[str, tuple[tuple[int, ...], str]] = {
            prefix + name: (shape, "float32")
            for prefix in PREFIXES
            for name, shape in self._stack.shapes.items()
        }
        forms["step"] = ((), "int64")
        found = {name: (v.shape, v.dtype.name) for name, v in state.items()}
        for name in sorted(forms.keys() | found.keys()):
            if forms.get(name) != found.get(name):
                raise TrainingError(
                    f"the state of another network: {name}: expected "
                    f"{forms.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
                )
        if state["step"] < 0:
            raise TrainingError(f"step: expected a count, found {int(state['step'])}")
        parts = [
            self._stack.join({n: state[prefix + n] for n in self._stack.shapes})
            for prefix in PREFIXES
        ]
        self._moving = Moving(torch.stack(parts), int(state["step"]))
