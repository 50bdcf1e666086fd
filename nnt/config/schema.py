"""The keys of a configuration: type, default, bounds and meaning of each.

To add one, declare it here and in `configs/base.yaml`, and copy its meaning, the text
below it, into the table of docs/configuration.md; tests compare the three.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, PrivateAttr

from nnt.config.parts import (
    DEFAULT_DATA,
    SPLITS,
    AnyFilter,
    Classes,
    DataConfig,
    Distribution,
    LRSchedule,
    Quantization,
    plain_value,
)
from nnt.config.values import (
    MAX_COUNT,
    Count,
    Index,
    NotNegative,
    Number,
    OptionalText,
    Part,
    Positive,
    Text,
    TextOrNumber,
    in_words,
    no_other_null,
    one_of,
    some_of,
    unexpected,
)
from nnt.config.yaml_text import as_yaml, flatten
from nnt.detector import HOUGH3D, N_HIDDEN
from nnt.filters import IdentityFilter
from nnt.networks.form import ACTIVATIONS, MAX_NODES, MODELS, OUTPUTS, Form
from nnt.objective import (
    CLASS_KINDS,
    OPTIMISERS,
    REGRESSION_KINDS,
    Objective,
    objective_of,
)

ENGINES = ("auto", "torch", "compiled")
MAX_LAYERS = 32


def _experts(value: object) -> tuple[int, ...]:
    numbers = value if isinstance(value, list | tuple) else ()
    found = [number for number in numbers if type(number) is int]
    are_some = set(found) <= set(range(5)) and len(set(found)) == len(numbers)
    if not numbers or not (are_some or list(numbers) == found == [-1]):
        raise unexpected("[-1] or a list of different experts 0 to 4")
    return tuple(sorted(found))


def _input_size(value: object) -> int:
    sizes = HOUGH3D.input_sizes
    if not isinstance(value, int | float) or value not in sizes:
        raise unexpected(" or ".join(map(str, sizes)))
    return int(value)


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Runs = Annotated[
    tuple[Annotated[str, BeforeValidator(no_other_null)], ...],
    BeforeValidator(_one_or_more),
    Field(min_length=1),
    in_words("a run, a list of runs"),
]
Widths = Annotated[
    tuple[Annotated[int, Number(ge=1, le=MAX_NODES)], ...],
    Field(max_length=MAX_LAYERS),
    in_words(
        f"a list of at most {MAX_LAYERS} widths from 1 to {MAX_NODES}, "
        "[] for no hidden layer"
    ),
]


class Config(Part):
    """Everything that a training is asked to do; made by `nnt.config.load_config`.

    It is complete: every value is checked, and the configuration of each expert is at
    hand.
    """

    name: Text = "custom"
    """that of the file"""
    version: TextOrNumber = "0.2"
    """text, kept with the run"""
    description: Text = ""
    """text, shown by `nnt config list` and in the run"""
    category: Text = ""
    """text, a tag of the run"""
    learning_rate: Positive = 1e-3
    """above 0"""
    batch_size: Annotated[int, Number(ge=1, le=MAX_COUNT)] = 2048
    """rows per step"""
    weight_decay: NotNegative = 1e-6
    """0 or above"""
    chain: Annotated[str, one_of("chain", ("classic", "3dh"))] = "classic"
    """classic, or 3dh for the 3D Hough chain, see below"""
    in_size: Annotated[int, PlainValidator(_input_size)] = 27
    """inputs of the networks; 126 needs `chain: 3dh`"""
    hidden: Widths = (N_HIDDEN,)
    """nodes of the hidden layers of BaselineModel; `[]`: none"""
    out_size: Annotated[int, Number(ge=1, le=len(OUTPUTS))] = 2
    """short for `outputs`; 1: `[z]`, 2: `[z, theta]`"""
    outputs: Annotated[tuple[str, ...], some_of("output", OUTPUTS, at_least=1)] = (
        "z",
        "theta",
    )
    """out of z, theta and the classes nnt and stt"""
    workers: Count | None = None
    """experts trained in parallel; null: as many as there are cores"""
    epochs: Annotated[int, Number(ge=0, le=MAX_COUNT)] = 10
    """at most; 0 evaluates the initial weights"""
    model: Annotated[str, one_of("model", MODELS)] = "BaselineModel"
    """BaselineModel, BaselineModelBN, SimpleModel"""
    loss: Annotated[str, one_of("loss", REGRESSION_KINDS)] = "MSELoss"
    """MSELoss, L1Loss, SmoothL1Loss, HuberLoss, TriggerLoss of z and theta"""
    class_loss: Annotated[str, one_of("loss", CLASS_KINDS)] = "CrossEntropyLoss"
    """CrossEntropyLoss, MSELoss of nnt and stt"""
    class_weight: Positive = 1.0
    """weight of the loss of the classes relative to that of z and theta"""
    classes: Classes = Classes()
    """signal and background, see below"""
    optim: Annotated[str, one_of("optimiser", OPTIMISERS)] = "Adam"
    """Adam, AdamW, Rprop, SGD"""
    act: Annotated[str, one_of("activation", ACTIVATIONS)] = "relu"
    """tanh, tanh/2, softsign, relu, sigmoid, leaky_relu, selu; tanh/2 is tanh(x/2)"""
    experts: Annotated[tuple[int, ...], PlainValidator(_experts)] = (0, 1, 2, 3, 4)
    """some of them, or `[-1]`: one network on all data"""
    compare_to: OptionalText = None
    """a run; null: the reference network in the data"""
    load_pre_trained_weights: OptionalText = None
    """a run, `runs:/ID/weights.json`, a registered model, a path"""
    teach_from: Runs | None = None
    """a run, or a list of runs, whose mean outputs are the targets to train with"""
    filter: AnyFilter = IdentityFilter()
    """which rows are used, see below"""
    dist: Distribution | None = None
    """distribution of z to draw rows by, see below"""
    borrow: NotNegative = 0.0
    """tracks that experts 1 to 4 borrow from expert 0 for training, as a multiple of
    their own, without the superlayer that they lack"""
    seed: Index = 1
    """seed of all random numbers"""
    split_seed: Index | None = None
    """seed of the split alone; null: `seed`"""
    data: DataConfig = DEFAULT_DATA
    """see below"""
    early_stopping_patience: Count | None = 30
    """epochs without improvement of `val/loss` before training stops; null: never stop
    early"""
    average: Annotated[float, Number(gt=0, lt=1)] | None = None
    """decay of a moving average of the weights, which is then kept"""
    gradient_clip: Positive | None = None
    """largest norm of the gradient"""
    whiten: Positive | None = None
    """spread of the inputs in training, which are then combined so that they do not
    depend on each other; the weights kept are those of the usual inputs, in the classic
    chain within 63 in the first layer after every epoch"""
    lr_schedule: LRSchedule | None = None
    """see below"""
    restarts: Count = 1
    """trainings, each from new initial weights; the best is kept"""
    plot_every: Index = 50
    """epochs between live plots; 0: none"""
    predictions: Annotated[tuple[str, ...], some_of("split", SPLITS)] = SPLITS
    """splits whose rows are kept with the outputs of the new networks; `[val, test]`
    saves a third of a gigabyte for 3 million rows"""
    engine: Annotated[str, one_of("engine", ENGINES)] = "auto"
    """auto, torch, compiled"""
    quantize: Quantization | None = None
    """train through the firmware's rounding, see below"""
    extends: OptionalText = None
    """the parent"""

    _expert_overrides: Mapping[int, Mapping[str, Any]] = PrivateAttr({})
    _of_experts: Mapping[int, Config] = PrivateAttr({})
    _overridden: Mapping[str, Any] = PrivateAttr({})

    @property
    def expert_overrides(self) -> Mapping[int, Mapping[str, Any]]:
        """Expert -> the keys that it has for itself, with plain values."""
        return self._expert_overrides

    @property
    def overridden(self) -> Mapping[str, Any]:
        """Dotted keys that were given in addition to the file, with their values."""
        return self._overridden

    def completed(
        self,
        of_experts: Mapping[int, Config],
        expert_overrides: Mapping[int, Mapping[str, Any]],
        overridden: Mapping[str, Any],
    ) -> Config:
        """Fill in, once, what `for_expert` and the properties of these names give.

        Of `of_experts`, -1 is for all experts without values of their own.
        """
        self._of_experts = of_experts
        self._expert_overrides = expert_overrides
        self._overridden = overridden
        return self

    @cached_property
    def form(self) -> Form:
        """The network that is trained."""
        return Form(
            inputs=self.in_size,
            hidden=self.hidden,
            outputs=self.outputs,
            activation=self.act,
            model=self.model,
        )

    @cached_property
    def objective(self) -> Objective:
        """What the training minimises."""
        return objective_of(
            self.form.outputs, self.act, self.loss, self.class_loss, self.class_weight
        )

    @property
    def seed_of_split(self) -> int:
        """Seed by which events are split into train, val and test."""
        return self.seed if self.split_seed is None else self.split_seed

    def for_expert(self, expert: int) -> Config:
        """Give the configuration of one expert, which has no overrides any more."""
        if not self._of_experts:
            return self
        return self._of_experts.get(expert, self._of_experts[-1])

    def to_dict(self) -> dict[str, Any]:
        """Give plain values that load back to an equal configuration."""
        keys = [key for key in type(self).model_fields if key != "extends"]
        if self.model == "SimpleModel":
            keys.remove("hidden")  # it has widths of its own
        values = {key: plain_value(getattr(self, key)) for key in keys}
        for expert, values_of_expert in sorted(self._expert_overrides.items()):
            values[f"expert_{expert}"] = plain_value(values_of_expert)
        return values

    def to_yaml(self) -> str:
        """Give the resolved configuration as YAML."""
        return as_yaml(self.to_dict())

    def flat(self) -> dict[str, str | int | float]:
        """Give every value under its dotted key; lists as YAML text."""
        return flatten(self.to_dict())

    def __eq__(self, other: object) -> bool:
        """Whether every value is the same, of every expert; not where it came from."""
        return isinstance(other, Config) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


RUN_WIDE = (
    "name", "version", "description", "category", "chain", "in_size", "out_size",
    "outputs", "workers", "classes", "experts", "compare_to", "teach_from",
    "split_seed", "data", "predictions", "quantize", "extends",
)  # fmt: skip
"""Keys that all experts share."""
