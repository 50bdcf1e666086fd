"""What holds between keys: each rule says what does not go together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nnt.config.schema import Config
from nnt.errors import ConfigError

__all__ = ["Conflict", "conflicts"]

QUANTIZABLE = {
    "model": ("BaselineModel",),
    "act": ("tanh/2", "tanh"),
    "engine": ("auto", "torch"),
}
"""What goes with `quantize`: the compiled loops cannot hold the firmware's sums."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Keys that do not go together."""

    keys: tuple[str, ...]
    """The one to change first."""
    words: str


def conflicts(config: Config) -> Iterator[Conflict]:
    """Find every rule that a configuration breaks, each value being right by itself."""
    for rule in RULES:
        yield from rule(config)


def _outputs(config: Config) -> Iterator[Conflict]:
    if config.out_size != len(config.outputs):
        yield Conflict(
            ("out_size", "outputs"),
            f"expected {len(config.outputs)}, the number of names in outputs, got "
            f"{config.out_size}; leave out_size out",
        )


def _form(config: Config) -> Iterator[Conflict]:
    try:
        config.form  # noqa: B018 (made here so that it can be read later)
    except ConfigError as err:
        place, _, words = str(err).partition(": ")
        key = "hidden" if place not in Config.model_fields else place
        yield Conflict((key, "model"), words or place)


def _chain(config: Config) -> Iterator[Conflict]:
    if config.chain == "classic" and config.in_size != 27:
        yield Conflict(
            ("in_size", "chain"),
            f"expected 27, got {config.in_size}; {config.in_size} inputs go with "
            "chain: 3dh",
        )
    if config.chain == "3dh" and config.experts != (-1,):
        yield Conflict(
            ("experts", "chain"),
            f"expected [-1] with chain: 3dh, which has one network, got "
            f"{list(config.experts)}",
        )


def _loss(config: Config) -> Iterator[Conflict]:
    if config.loss == "TriggerLoss" and config.outputs != ("z", "theta"):
        yield Conflict(
            ("loss", "outputs", "out_size"),
            "TriggerLoss needs outputs: [z, theta], got "
            f"[{', '.join(config.outputs)}]; use MSELoss with other outputs",
        )


def _quantize(config: Config) -> Iterator[Conflict]:
    if config.quantize is None:
        return
    for key, names in QUANTIZABLE.items():
        if getattr(config, key) not in names:
            yield Conflict(
                (key, "quantize"),
                f"expected {' or '.join(names)} with quantize, got "
                f"{getattr(config, key)!r}",
            )
    if config.whiten is not None:
        yield Conflict(
            ("whiten", "quantize"),
            "expected null with quantize, which works on the original inputs, got "
            f"{config.whiten:g}",
        )


def _teachers(config: Config) -> Iterator[Conflict]:
    if config.teach_from is not None and config.dist is not None:
        yield Conflict(
            ("dist", "teach_from"),
            "expected null with teach_from: the z to train on is then not the z that "
            "dist draws rows by; leave one of them out",
        )


RULES: tuple[Callable[[Config], Iterator[Conflict]], ...] = (
    _outputs, _form, _chain, _loss, _quantize, _teachers,
)  # fmt: skip
