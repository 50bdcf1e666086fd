"""The backends by PyTorch, for everything, on the CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from nnt.config import Config
from nnt.engine.records import Arrays, ExpertData
from nnt.errors import ConfigError, TrainingError
from nnt.fixedpoint import snap_text_inputs
from nnt.fixedpoint.quantized import QuantizedNetwork
from nnt.networks import State
from nnt.networks.module import PLACE, Network, build_module, load_state
from nnt.objective import (
    ABSOLUTE,
    CUT_START,
    HUBER,
    LOGISTIC,
    OPTIMISERS,
    SQUARED,
    Objective,
)
from nnt.types import F32, I64

PREDICT_ROWS = 1 << 16

OF_RESIDUALS: dict[str, Callable[..., Tensor]] = {
    SQUARED: functional.mse_loss,
    ABSOLUTE: functional.l1_loss,
    HUBER: functional.smooth_l1_loss,
}
"""By the kind of a column."""


class TorchLoss(nn.Module):
    """Loss of a batch; holds the two learned numbers of a decision, if there is one."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        if objective.decision is not None:
            self.decision = nn.Parameter(torch.tensor(CUT_START, **PLACE))

    @property
    def cut(self) -> tuple[float, float] | None:
        """Learned b and c of a decision; None without one."""
        if self.objective.decision is None:
            return None
        b, c = self.decision.tolist()
        return float(b), float(c)

    def forward(
        self,
        outputs: Tensor,
        sums: Tensor,
        targets: Tensor,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Mean over the rows of a batch; targets and weights as in `nnt.objective`.

        `sums`, shape (B, O), are what the last activation made the outputs from.
        """
        objective = self.objective
        if weights is None and objective.is_plain:
            return OF_RESIDUALS[objective.columns[0].kind](outputs, targets)
        parts = []
        for c, column in enumerate(objective.columns):
            target, weight = _counted(targets, weights, c)
            if column.kind == LOGISTIC:
                logits = objective.steepness * sums[:, c]
                part = _cross_entropy(logits, target, weight)
            else:
                loss_of = OF_RESIDUALS[column.kind]
                part = (loss_of(outputs[:, c], target, reduction="none") * weight).sum()
            parts.append(column.factor * part)
        if objective.decision is not None:
            steepness, distance = self.decision[0].exp(), self.decision[1]
            logits = steepness * (distance - outputs[:, objective.z_column].abs())
            part = _cross_entropy(logits, *_counted(targets, weights, -1))
            parts.append(objective.decision * part)
        return torch.stack(parts).sum() / len(outputs)


def _counted(targets: Tensor, weights: Tensor | None, c: int) -> tuple[Tensor, Tensor]:
    """Targets and weights of a column; what does not count may be no number."""
    target = targets[:, c]
    if weights is None:
        return target, torch.ones_like(target)
    return torch.where(weights[:, c] != 0, target, 0.0), weights[:, c]


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum over the rows, of targets from -1 to 1."""
    return functional.binary_cross_entropy_with_logits(
        logits, (targets + 1) / 2, weight=weights, reduction="sum"
    )


class _Trained(nn.Module):
    """All that learns: a network, and a loss that may have numbers of its own."""

    def __init__(self, network: Network | QuantizedNetwork, loss: TorchLoss) -> None:
        super().__init__()
        self.network = network
        self.loss = loss


class TorchBackend:
    """Index batches over tensors that stay on the device; see `Backend`.

    The device is ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    TrainingError
        Batches have one row, which batch normalisation cannot normalise.
    """

    def __init__(
        self, state: State, config: Config, data: ExpertData, device: str
    ) -> None:
        self.name = f"torch on {device}"
        self._device = torch.device(device)
        self._network = self._make_network(config)
        load_state(self._network, state)
        self._to_sums = self._network.net[:-1]
        loss = TorchLoss(config.objective)
        self._trained = _Trained(self._network, loss).to(self._device)
        self._parameters = list(self._trained.parameters())
        self._optimiser = _optimiser(config, self._network, loss)
        self._average = None
        if config.average is not None:
            self._average = _average(self._trained, config.average, self._device)
        self._clip = config.gradient_clip
        self._batch_size = config.batch_size
        layers = self._network.modules()
        self._normalises = any(isinstance(n, nn.BatchNorm1d) for n in layers)
        if self._normalises and min(self._batch_size, len(data.x_train)) == 1:
            raise TrainingError(
                f"a batch of one row cannot be normalised by {config.model}; set "
                "batch_size to 2 or more, and use at least 2 rows"
            )
        self._x = self._tensor(self._prepared(data.x_train))
        self._y = self._tensor(data.y_train)
        self._w = None if data.w_train is None else self._tensor(data.w_train)
        self._x_val = data.x_val
        self._val = self._tensor(self._prepared(data.x_val))

    def _make_network(self, config: Config) -> Network | QuantizedNetwork:
        return build_module(config.form)

    def _prepared(self, inputs: F32) -> F32:
        """Inputs as the network takes them."""
        return inputs

    def _constrain(self) -> None:
        """Bring the weights back into bounds, if there are any."""

    def _tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(self._device)

    def train(self, order: I64, learning_rate: float) -> float:
        """Train on the rows in this order; see `Backend`."""
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._network.train()
        batches = torch.split(self._tensor(order), self._batch_size)
        losses = torch.stack([self._step(batch) for batch in batches]).double()
        bad = torch.nonzero(~torch.isfinite(losses))
        if len(bad):
            number = int(bad[0])
            before = f"{float(losses[number - 1]):.6g}" if number else "none"
            raise TrainingError(
                f"batch {number + 1} of {len(batches)}: the training loss is not "
                f"finite (of the batch before: {before}); lower learning_rate or set "
                "gradient_clip"
            )
        sizes = torch.tensor([len(batch) for batch in batches], device=self._device)
        return float((losses * sizes).sum()) / len(order)

    def _step(self, batch: Tensor) -> Tensor:
        if len(batch) == 1 and self._normalises:
            # The spread of one row is not defined; the row comes again next epoch.
            return torch.zeros((), device=self._device)
        weights = None if self._w is None else self._w[batch]
        outputs, sums = self._outputs_and_sums(self._x[batch])
        loss: Tensor = self._trained.loss(outputs, sums, self._y[batch], weights)
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self._optimiser.step()
        self._constrain()
        if self._average is not None:
            self._average.update_parameters(self._trained)
        return loss.detach()

    def _outputs_and_sums(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, and what the last activation made them from."""
        layers = self._network.net
        if isinstance(layers[-1], nn.Linear):
            outputs: Tensor = layers(x)
            return outputs, outputs
        sums: Tensor = self._to_sums(x)
        return layers[-1](sums), sums

    @property
    def _judged(self) -> _Trained:
        """What predicts: the average, once there is one."""
        if self._average is None or not self._average.n_averaged:
            return self._trained
        return cast("_Trained", self._average.module)

    def frozen(self) -> Callable[[F32], F32]:
        """Give what predicts with the weights of now; see `Backend`."""
        return partial(self._predict, network=deepcopy(self._judged.network))

    def _predict(self, inputs: F32, network: nn.Module) -> F32:
        network.eval()
        is_val = inputs is self._x_val
        x = self._val if is_val else self._tensor(self._prepared(inputs))
        with torch.no_grad():
            # A clone, because alignment in memory can change the rounding.
            batches = torch.split(x, PREDICT_ROWS)
            parts = [network(rows.clone()).cpu() for rows in batches]
        out: F32 = torch.cat(parts).numpy()
        return out

    @property
    def cut(self) -> tuple[float, float] | None:
        """Learned numbers of a decision; see `Backend`."""
        return self._judged.loss.cut

    def parameters(self) -> State:
        """Copy of the weights; see `Backend`."""
        return _as_arrays(self._network)

    def set_parameters(self, state: State) -> None:
        """Replace the weights; see `Backend`."""
        tensors = {name: torch.from_numpy(value) for name, value in state.items()}
        self._network.load_state_dict(tensors)

    def averaged(self) -> State:
        """Copy of the weights that predict; see `Backend`."""
        return _as_arrays(self._judged.network)

    def bad_weights(self) -> str:
        """Name weights that are not finite; see `Backend`."""
        tensors = self._trained.state_dict().items()
        bad = next((n for n, t in tensors if not torch.isfinite(t).all()), "")
        return bad.partition(".")[2]

    def state(self) -> Arrays:
        """Copy of weights, buffers, average and optimiser; see `Backend`."""
        tensors = {f"model.{n}": t for n, t in self._trained.state_dict().items()}
        if self._average is not None:
            means = self._average.state_dict()
            tensors |= {f"average.{n}": t for n, t in means.items()}
        for index, values in self._optimiser.state_dict()["state"].items():
            for name, value in values.items():
                if value is not None:
                    tensors[f"optimiser.{index}.{name}"] = torch.as_tensor(value)
        return {n: t.detach().cpu().numpy().copy() for n, t in tensors.items()}

    def load_state(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take over what `state` returned; see `Backend`."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}}
        optimiser: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            part, _, rest = name.partition(".")
            tensor = torch.from_numpy(np.array(value))
            if part in parts:
                parts[part][rest] = tensor
            elif part == "optimiser":
                index, _, key = rest.partition(".")
                self._check_moment(int(index), tensor)
                optimiser.setdefault(int(index), {})[key] = tensor
        try:
            self._trained.load_state_dict(parts["model"])
            if self._average is not None:
                self._average.load_state_dict(parts["average"])
            present = self._optimiser.state_dict()
            self._optimiser.load_state_dict({**present, "state": optimiser})
        except (RuntimeError, ValueError) as err:
            raise TrainingError(f"the state belongs to another network: {err}") from err

    def _check_moment(self, index: int, value: Tensor) -> None:
        """Refuse what fused optimisers would read beyond its end."""
        if not 0 <= index < len(self._parameters):
            raise ValueError(f"the optimiser has no parameter {index}")
        parameter = self._parameters[index]
        if value.dtype != parameter.dtype or value.shape not in (parameter.shape, ()):
            raise ValueError(
                f"optimiser, parameter {index}: expected {parameter.dtype} of shape "
                f"{tuple(parameter.shape)}, found {value.dtype} of {tuple(value.shape)}"
            )


class QuantizedBackend(TorchBackend):
    """Outputs and losses are those of the firmware's integers.

    The compiled loops count in float32, which cannot hold the firmware's sums: so
    this is PyTorch, in float64 where sums must be exact. Inputs are snapped to the
    grid that text files round to.

    Raises
    ------
    ConfigError
        The firmware cannot hold the network.
    """

    _network: QuantizedNetwork

    def __init__(
        self, state: State, config: Config, data: ExpertData, device: str
    ) -> None:
        super().__init__(state, config, data, device)
        self._constrain()

    def _make_network(self, config: Config) -> QuantizedNetwork:
        own = config.quantize
        if own is None:
            raise ConfigError("quantize: expected the bits of the firmware, found null")
        # A checkpoint of other bits is one of other arithmetic.
        bits = ", ".join(map(str, own.precision))
        self.name = f"{self.name}, in the integers of the firmware ({bits})"
        return QuantizedNetwork(
            config.form, own.precision, own.largest_weight, chain=config.chain
        )

    def _prepared(self, inputs: F32) -> F32:
        return snap_text_inputs(inputs)

    def _constrain(self) -> None:
        self._network.clip()

    def _outputs_and_sums(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._network.outputs_and_sums(x)

    def averaged(self) -> State:
        """Copy of the weights as the firmware holds them; see `Backend`."""
        network = cast("QuantizedNetwork", self._judged.network)
        return {n: v.cpu().numpy() for n, v in network.rounded().items()}


def _as_arrays(network: nn.Module) -> State:
    tensors = network.state_dict().items()
    return {n: t.detach().cpu().numpy().astype(np.float32) for n, t in tensors}


def _optimiser(
    config: Config, network: nn.Module, loss: TorchLoss
) -> torch.optim.Optimizer:
    """Make the optimiser; numbers of the loss do not decay."""
    record = OPTIMISERS[config.optim]
    decay = {"weight_decay": config.weight_decay} if record.has_decay else {}
    groups: list[dict[str, Any]] = [{"params": list(network.parameters()), **decay}]
    if numbers := list(loss.parameters()):
        groups.append({"params": numbers, **dict.fromkeys(decay, 0.0)})
    optimiser: torch.optim.Optimizer = getattr(torch.optim, config.optim)(
        groups, lr=config.learning_rate, **record.torch_options
    )
    return optimiser


def _average(trained: _Trained, decay: float, device: torch.device) -> AveragedModel:
    """Average the weights of all steps: after n, those of i count ``decay^(n - i)``.

    Those before the first step do not count. Running sums of batch normalisation are
    averaged like weights.
    """

    def follow(means: Any, values: Any, steps: Tensor | int) -> None:
        share = (1 - decay) / (1 - decay ** (int(steps) + 1))
        for mean, value in zip(means, values, strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, share)
            else:
                mean.copy_(value)

    return AveragedModel(trained, device, multi_avg_fn=follow, use_buffers=True)
