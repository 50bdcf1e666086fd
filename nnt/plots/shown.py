"""What a plot shows: rows, and the predictions of one, two or many networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy.typing as npt

from nnt.metrics import Predictions
from nnt.plots.style import COLOURS

T = TypeVar("T")

OTHERS = "#BBBBBB"
NAME_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Look:
    """How one network is drawn."""

    colour: str
    width: float = 1.3
    order: float = 3.0
    """Higher is drawn over lower."""
    in_legend: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Curve(Generic[T]):
    """What a plot draws of one network."""

    name: str
    look: Look
    data: T

    @property
    def label(self) -> str | None:
        """For a legend; None where there are too many networks to name each."""
        return readable(self.name) if self.look.in_legend else None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network(Predictions):
    """Rows with the outputs of one network."""

    name: str
    look: Look

    @property
    def label(self) -> str:
        """Its name, fit for a legend."""
        return readable(self.name)

    @property
    def colour(self) -> str:
        """Its colour in all plots."""
        return self.look.colour


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shown(Predictions):
    """Rows with the outputs of the first network, and all networks by name."""

    networks: tuple[Network, ...] = ()

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Shown:
        return shown(
            {network.name: network[rows] for network in self.networks},
            {network.name: network.look for network in self.networks},
        )


def shown(networks: Mapping[str, Predictions], look: Mapping[str, Look]) -> Shown:
    """Put networks on the same rows, at least one, side by side."""
    of = {
        name: {f.name: getattr(predicted, f.name) for f in fields(Predictions)}
        for name, predicted in networks.items()
    }
    return Shown(
        **next(iter(of.values())),
        networks=tuple(Network(**of[n], name=n, look=look[n]) for n in networks),
    )


def looks(names: Sequence[str], important: Sequence[str] = ()) -> dict[str, Look]:
    """Choose how networks are drawn: some in colour, the rest grey.

    Parameters
    ----------
    names : sequence of str
        All networks; the first always has a colour.
    important : sequence of str
        Which of the others get a colour first, where there are too many.
    """
    ranked = [*important, *(name for name in names if name not in important)]
    others = [name for name in ranked if name != names[0]]
    # In the order of the names, so that two networks look the same everywhere.
    chosen = set(others[: len(COLOURS) - 1])
    named = [names[0], *(name for name in names[1:] if name in chosen)]
    found = dict.fromkeys(names, Look(OTHERS, width=0.7, order=2.0, in_legend=False))
    return found | {
        name: Look(colour) for name, colour in zip(named, COLOURS, strict=False)
    }


def readable(name: str) -> str:
    """A name as plain text of a bounded length, whatever its characters."""
    text = "".join(c if c.isprintable() and ord(c) < 0x2500 else "?" for c in name)
    if len(text) > NAME_CHARACTERS:
        text = text[: NAME_CHARACTERS - 1] + "…"
    # A dollar begins mathematics, a leading underscore hides an entry.
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text if text.strip() else "?"
