"""Plots by name, those of users included: one for trainings and comparisons alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Generic, TypeVar

import numpy.typing as npt
from matplotlib.figure import Figure

from nnt.metrics import Predictions
from nnt.plots.studio import Drawing, attempt
from nnt.plots.style import Look, looks, readable

TRAINING = "training"
"""At the end of a training, of all rows and of those of each expert."""
EVALUATION = "evaluation"
"""In an evaluation; of experts only what a training draws, too."""
COMPARISON = "comparison"
EVERYWHERE = (TRAINING, EVALUATION, COMPARISON)

NETWORK, REFERENCE = "network", "reference"

T = TypeVar("T")
Plot = TypeVar("Plot", bound=Callable[..., Figure])
Networks = Predictions | Mapping[str, Predictions]


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

    @classmethod
    def of(cls, networks: Mapping[str, Predictions], look: Mapping[str, Look]) -> Shown:
        """Put networks on the same rows, at least one, side by side."""
        of = {
            name: {f.name: getattr(predicted, f.name) for f in fields(Predictions)}
            for name, predicted in networks.items()
        }
        named = tuple(Network(**of[n], name=n, look=look[n]) for n in networks)
        return cls(**next(iter(of.values())), networks=named)

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Shown:
        return Shown.of(
            {network.name: network[rows] for network in self.networks},
            {network.name: network.look for network in self.networks},
        )


@dataclass(frozen=True, slots=True)
class RegisteredPlot:
    """One plot, and where it is drawn: what `register` was given."""

    name: str
    plot: Callable[[Any], Figure]
    when: Callable[[Any], bool]
    where: frozenset[str]
    caption: str
    of: frozenset[str]
    curve: Callable[[Predictions, Predictions | None], Any] | None
    fakes: bool


_PLOTS: dict[str, RegisteredPlot] = {}


def _always(predicted: Predictions) -> bool:
    return len(predicted) > 0


def register(
    name: str,
    when: Callable[[Any], bool] = _always,
    *,
    where: Collection[str] | str = (TRAINING, EVALUATION),
    caption: str = "",
    of: Collection[str] = (NETWORK, REFERENCE),
    curve: Callable[..., Any] | None = None,
    fakes: bool = False,
    **options: Any,
) -> Callable[[Plot], Plot]:
    """Add a plot under a name.

    The function takes the rows (`nnt.metrics.Predictions`) with all networks, each
    with a name, a colour and its outputs, in ``networks``; it returns a figure.

    Parameters
    ----------
    name : str
        Name of the file, without ending.
    when : callable
        Whether the plot makes sense for some rows.
    where : collection of str
        Any of ``"training"``, ``"evaluation"``, ``"comparison"``.
    caption : str
        One sentence below the plot on a page.
    of : collection of str
        ``"network"`` or ``"reference"``, where a plot is of one of them alone.
    curve : callable, optional
        Reduces the rows and outputs of one network, and those of the network that it
        is compared with or None, to what is drawn, or to None where there is nothing.
        Then the plot takes a list of `Curve`, one for each network that has any, so
        that many networks and rows fit into memory.
    fakes : bool
        Whether it gets the rows of fake tracks, too, whose z and theta mean nothing.
    **options
        Further arguments of the function and of `curve`, so that both can serve
        several plots.
    """
    places = {where} if isinstance(where, str) else set(where)
    unknown = places - set(EVERYWHERE)
    if unknown:
        raise ValueError(
            f"plot {name}: where: expected any of {', '.join(EVERYWHERE)}, got "
            f"{', '.join(sorted(unknown))}"
        )

    def add(plot: Plot) -> Plot:
        _PLOTS[name] = RegisteredPlot(
            name,
            partial(plot, **options),
            when,
            frozenset(places),
            caption,
            frozenset(of),
            curve and partial(curve, **options),
            fakes,
        )
        return plot

    return add


def registered(where: str | None = None) -> list[RegisteredPlot]:
    """All plots, or those that are drawn somewhere."""
    return [entry for entry in _PLOTS.values() if where is None or where in entry.where]


def captions() -> dict[str, str]:
    """Name of each plot to the sentence below it."""
    return {e.name: e.caption or e.name.replace("_", " ") for e in registered()}


def curves(
    predicted: Predictions,
    where: str,
    role: str = NETWORK,
    reference: Predictions | None = None,
) -> dict[str, Any]:
    """Reduce one network to what plots draw of it; a plot that fails is left out.

    Parameters
    ----------
    predicted : Predictions
        Rows with the outputs of the network.
    where : str
        Where the plots are drawn.
    role : str
        ``"network"`` or ``"reference"``.
    reference : Predictions, optional
        The same rows with the outputs of the network that it is compared with.

    Returns
    -------
    dict
        Name of the plot to its curve; of plots that take rows, the rows.
    """
    return _curves(registered(where), predicted, role, reference)


def _curves(
    entries: Iterable[RegisteredPlot],
    predicted: Predictions,
    role: str,
    reference: Predictions | None = None,
) -> dict[str, Any]:
    real = predicted.real
    every = few = predicted, reference
    if not real.all():
        few = predicted[real], None if reference is None else reference[real]

    def curve(entry: RegisteredPlot) -> Any | None:
        own, other = every if entry.fakes else few
        # A plot of rows decides for all networks at once.
        if entry.curve is None:
            return own
        return entry.curve(own, other) if entry.when(own) else None

    found = {
        e.name: attempt(e.name, partial(curve, e)) for e in entries if role in e.of
    }
    return {name: curve for name, curve in found.items() if curve is not None}


def drawings(
    networks: Mapping[str, Mapping[str, Any]],
    description: str = "",
    look: Mapping[str, Look] | None = None,
) -> list[Drawing]:
    """Collect the curves of all networks, a plot each.

    Parameters
    ----------
    networks : mapping
        Name of the network to its `curves`.
    description : str
        Which run, rows and experts are shown.
    look : mapping, optional
        How each network is drawn.
    """
    chosen = look or looks(list(networks))

    def data(entry: RegisteredPlot) -> Any | None:
        found = {k: own[entry.name] for k, own in networks.items() if entry.name in own}
        if entry.curve is not None:
            return [Curve(k, chosen[k], curve) for k, curve in found.items()] or None
        rows = Shown.of(found, chosen) if found else None
        return rows if rows is not None and entry.when(rows) else None

    return [
        Drawing(entry.name, entry.plot, shown, description)
        for entry in registered()
        if (shown := attempt(entry.name, partial(data, entry))) is not None
    ]


def drawings_of_rows(
    predicted: Networks, where: str = TRAINING, description: str = ""
) -> list[Drawing]:
    """Prepare all plots of a network and, where there is one, its reference.

    Parameters
    ----------
    predicted : Predictions, or mapping of str to Predictions
        What is drawn: one network, or several on the same rows by name. The second
        is the reference.
    where : str
        Where the plots are drawn.
    description : str
        Which run, rows and experts are shown.
    """
    return _drawings(registered(where), predicted, description)


def _drawings(
    entries: Collection[RegisteredPlot], predicted: Networks, description: str
) -> list[Drawing]:
    if isinstance(predicted, Predictions):
        predicted = {NETWORK: predicted}
    first, *others = predicted
    reference = predicted[others[0]] if others else None
    found = {first: _curves(entries, predicted[first], NETWORK, reference)}
    # What the network itself lacks is of no interest.
    left = [e for e in entries if e.name in found[first] or NETWORK not in e.of]
    found |= {n: _curves(left, predicted[n], REFERENCE) for n in others}
    return drawings(found, description)


def draw(name: str, predicted: Networks, description: str = "") -> Figure:
    """Draw one registered plot.

    Raises
    ------
    ValueError
        The networks have nothing that it shows.
    """
    for drawing in _drawings([_PLOTS[name]], predicted, description):
        return drawing.figure()
    raise ValueError(f"plot {name}: the networks have nothing that it shows")
