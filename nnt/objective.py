"""What a training minimises and by what, as data: one description for every backend.

A network has outputs in a fixed order, each with a target and a weight for every row.
The loss of a batch of B rows is ::

    sum over columns c of  factor_c * sum over rows r of  w[r, c] * l_c[r] / B

`l` is what the kind of the column says, of the output or of its logit. A row of weight
0 does not count for that column. An `Objective` with a `decision` has one column of
targets more: the class of the row, which z alone has to tell. Its logit is ::

    exp(b) * (c - |z|)

with two learned numbers b and c, so that ``|z| < d`` becomes the best decision.

`value` is a plain reference in double precision; backends compute the same in their own
ways and are tested against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnt.errors import ConfigError, did_you_mean
from nnt.types import F64, FloatArray

KINDS = "squared", "absolute", "huber", "logistic"
SQUARED, ABSOLUTE, HUBER, LOGISTIC = KINDS
"""Of a column: of its residual, but ``logistic``, the cross-entropy of its logit."""

REGRESSION_KINDS = {
    "MSELoss": SQUARED,
    "L1Loss": ABSOLUTE,
    "SmoothL1Loss": HUBER,  # the same as HuberLoss at their default width 1
    "HuberLoss": HUBER,
    "TriggerLoss": SQUARED,
}
"""Kind of z and theta by the name of the loss."""

CLASS_KINDS = {"CrossEntropyLoss": LOGISTIC, "MSELoss": SQUARED}
"""Kind of nnt and stt by the name of the loss of classes."""

CLASS_OUTPUTS = ("nnt", "stt")
"""Outputs that predict a class, with targets of -1 (background) and 1 (signal)."""

CUT_START = (3.0, 0.15)
"""First b and c: a cut at 15 cm, blurred by 1 / exp(b), which is 5 cm."""

STEEPNESS = {"tanh": 2.0}
"""Of the logit over the pre-activation where it is not 1. So the output of tanh and
of tanh/2 is 2p - 1, and that of a sigmoid p itself."""

LEAK, SELU_SCALE, SELU_ALPHA = 0.01, 1.0507009873554805, 1.6732632423543772
SATURATED = 1 - 2.0**-25
"""Outputs beyond it, 1 in float32, count as this one: their logit is finite."""


@dataclass(frozen=True, slots=True)
class Column:
    """An output and what is asked of it."""

    output: str
    kind: str
    """One of `KINDS`."""
    factor: float
    """Of its loss in the whole."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a training minimises; hashable, without arrays."""

    columns: tuple[Column, ...]
    """One for each output of the network, in its order."""
    activation: str = "tanh/2"
    """Of the last layer; it relates logits to pre-activations."""
    decision: float | None = None
    """Factor of the cross-entropy of the decision by ``|z|``; None: there is none."""

    @property
    def n_outputs(self) -> int:
        """Outputs of the network."""
        return len(self.columns)

    @property
    def n_targets(self) -> int:
        """Columns of targets and weights: the outputs, and the class of a decision."""
        return len(self.columns) + (self.decision is not None)

    @property
    def is_plain(self) -> bool:
        """Whether it is the mean of one loss of residuals over all outputs."""
        first = self.columns[0]
        kinds = {(column.kind, column.factor) for column in self.columns}
        of_all = kinds == {(first.kind, 1 / self.n_outputs)}
        return of_all and first.kind != LOGISTIC and self.decision is None

    @property
    def steepness(self) -> float:
        """Logit over pre-activation of a class."""
        return STEEPNESS.get(self.activation, 1.0)

    @property
    def z_column(self) -> int:
        """Number of the output that a decision is made by."""
        return [column.output for column in self.columns].index("z")


def objective_of(
    outputs: Sequence[str],
    activation: str,
    loss: str = "MSELoss",
    class_loss: str = "CrossEntropyLoss",
    class_weight: float = 1.0,
) -> Objective:
    """Describe the loss of a network by the names of the configuration.

    The factor of each of n outputs z and theta is 1 / n, that of each of m classes
    `class_weight` / m, that of a decision `class_weight`.

    Parameters
    ----------
    outputs : sequence of str
        Such as ``("z", "theta", "nnt")``.
    activation : str
        Of the last layer.
    loss, class_loss : str
        Keys of `REGRESSION_KINDS` and `CLASS_KINDS`.
    class_weight : float
        Weight of the classes relative to z and theta.

    Raises
    ------
    ConfigError
        There is no such loss, or TriggerLoss has no output z or has class outputs.
    """
    for key, name, known in (
        ("loss", loss, REGRESSION_KINDS),
        ("class_loss", class_loss, CLASS_KINDS),
    ):
        if name not in known:
            raise ConfigError(f"{key}: unknown {name!r}; {did_you_mean(name, known)}")
    n_classes = sum(name in CLASS_OUTPUTS for name in outputs)
    if loss == "TriggerLoss" and (n_classes or "z" not in outputs):
        raise ConfigError(
            "loss: TriggerLoss is for networks whose outputs are z, or z and theta; "
            f"found {', '.join(outputs)}; use MSELoss with class outputs"
        )
    columns = tuple(
        Column(name, CLASS_KINDS[class_loss], class_weight / n_classes)
        if name in CLASS_OUTPUTS
        else Column(name, REGRESSION_KINDS[loss], 1 / (len(outputs) - n_classes))
        for name in outputs
    )
    return Objective(
        columns, activation, class_weight if loss == "TriggerLoss" else None
    )


def logits_of(objective: Objective, outputs: FloatArray) -> F64:
    """Logits of classes from outputs, where the pre-activations are not at hand.

    Outputs that are saturated in single precision have a logit of about 18. Of relu
    it gives what passes, so that logits below 0 are 0.
    """
    y = np.asarray(outputs, np.float64)
    bounded = np.clip(y, -SATURATED, SATURATED)
    low, high = np.minimum(y, 0), np.maximum(y, 0)
    match objective.activation:
        case "tanh" | "tanh/2":
            found = 2 * np.arctanh(bounded)
        case "softsign":
            found = bounded / (1 - np.abs(bounded))
        case "sigmoid":
            found = 2 * np.arctanh(np.clip(2 * y - 1, -SATURATED, SATURATED))
        case "leaky_relu":
            found = high + low / LEAK
        case "selu":
            part = np.maximum(low / (SELU_SCALE * SELU_ALPHA), -SATURATED)
            found = high / SELU_SCALE + np.log1p(part)
        case _:
            found = y
    logits: F64 = found
    return logits


@np.errstate(all="ignore")
def residual_loss(kind: str, residual: FloatArray) -> F64:
    """Loss of residuals of any shape, of one of `REGRESSION_KINDS`."""
    if kind == SQUARED:
        return np.square(residual, dtype=np.float64)
    size = np.abs(residual).astype(np.float64)
    return size if kind == ABSOLUTE else np.where(size < 1, size**2 / 2, size - 0.5)


def _cross_entropy(logits: F64, targets: F64) -> F64:
    """Of targets from -1 to 1, ``2 p - 1``; free of overflow."""
    share = (targets + 1) / 2
    with np.errstate(invalid="ignore"):  # a target that does not count
        return np.logaddexp(0, logits) - share * logits


def losses(
    objective: Objective,
    outputs: FloatArray,
    targets: FloatArray,
    logits: FloatArray | None = None,
    cut: tuple[float, float] = CUT_START,
) -> F64:
    """Loss of every row and column, without weights and factors.

    Parameters
    ----------
    outputs : float array, shape (N, O)
        Of the network, scaled.
    targets : float array, shape (N, T)
        T is `Objective.n_targets`.
    logits : float array, shape (N, O), optional
        Of classes; taken from the outputs without them.
    cut : tuple
        b and c of a decision.

    Returns
    -------
    float64 array, shape (N, T)
    """
    y, t = np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
    found = (
        logits_of(objective, y) if logits is None else np.asarray(logits, np.float64)
    )
    result = np.empty(t.shape)
    for c, column in enumerate(objective.columns):
        if column.kind == LOGISTIC:
            result[:, c] = _cross_entropy(found[:, c], t[:, c])
        else:
            result[:, c] = residual_loss(column.kind, y[:, c] - t[:, c])
    if objective.decision is not None:
        by_distance = np.exp(cut[0]) * (cut[1] - np.abs(y[:, objective.z_column]))
        result[:, -1] = _cross_entropy(by_distance, t[:, -1])
    return result


def factors_of_rows(
    objective: Objective, weights: FloatArray | None, shape: tuple[int, ...]
) -> F64:
    """Weight of every row and column in the mean over rows, shape (N, T)."""
    factors = [column.factor for column in objective.columns]
    if objective.decision is not None:
        factors.append(objective.decision)
    rows: FloatArray = np.ones(shape) if weights is None else weights
    result: F64 = np.asarray(rows, np.float64) * factors / max(shape[0], 1)
    return result


def value(
    objective: Objective,
    outputs: FloatArray,
    targets: FloatArray,
    weights: FloatArray | None = None,
    logits: FloatArray | None = None,
    cut: tuple[float, float] = CUT_START,
) -> float:
    """Loss of all rows as one batch; 0 without rows.

    Parameters
    ----------
    weights : float array, shape (N, T), optional
        All 1 without them.

    Others as in `losses`.
    """
    rows = losses(objective, outputs, targets, logits, cut)
    return float(_counted(objective, rows, weights).sum())


def value_of_rows(
    objective: Objective,
    outputs: FloatArray,
    targets: FloatArray,
    weights: FloatArray | None = None,
) -> F64:
    """Part of each row in the loss, shape (N,): its mean is `value`, as are arguments.

    Logits are taken from the outputs; a decision has not learned anything yet.
    """
    rows = losses(objective, outputs, targets)
    parts: F64 = _counted(objective, rows, weights).sum(axis=1) * len(rows)
    return parts


def _counted(objective: Objective, rows: F64, weights: FloatArray | None) -> F64:
    """Losses as they count; what does not may be anything, even not a number."""
    factors = factors_of_rows(objective, weights, rows.shape)
    return np.multiply(rows, factors, where=factors != 0, out=np.zeros(rows.shape))


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimiser:
    """One optimiser; its name in a configuration is its name in `torch.optim`."""

    has_decay: bool = True
    """Whether it takes `weight_decay`."""
    torch_options: Mapping[str, float | bool] = field(default_factory=dict)
    """Other arguments in PyTorch."""


OPTIMISERS: Mapping[str, Optimiser] = {
    "Adam": Optimiser(torch_options={"fused": True}),
    "AdamW": Optimiser(torch_options={"fused": True}),
    "Rprop": Optimiser(has_decay=False),
    "SGD": Optimiser(torch_options={"fused": True, "momentum": 0.9}),
}
