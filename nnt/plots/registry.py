"""Plots by name, those of users included: one for trainings and comparisons alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from nnt.metrics import Predictions
from nnt.plots.defaults import default_style
from nnt.plots.shown import Curve, Look, looks, shown
from nnt.plots.studio import Drawing, attempt
from nnt.plots.style import describe

TRAINING = "training"
"""At the end of a training, of all rows and of those of each expert."""
EVALUATION = "evaluation"
"""In an evaluation; of experts only what a training draws, too."""
COMPARISON = "comparison"
EVERYWHERE = (TRAINING, EVALUATION, COMPARISON)

NETWORK, REFERENCE = "network", "reference"

Condition = Callable[[Any], bool]
Plot = Callable[[Any], Figure]
ToCurve = Callable[[Predictions, Predictions | None], Any]
Networks = Predictions | Mapping[str, Predictions]


@dataclass(frozen=True, slots=True)
class RegisteredPlot:
    """One plot, and where it is drawn: what `register` was given."""

    name: str
    plot: Plot
    when: Condition
    where: frozenset[str]
    caption: str
    of: frozenset[str]
    curve: ToCurve | None
    fakes: bool


_PLOTS: dict[str, RegisteredPlot] = {}


def _always(predicted: Predictions) -> bool:
    return len(predicted) > 0


def register(
    name: str,
    when: Condition = _always,
    *,
    where: Collection[str] | str = (TRAINING, EVALUATION),
    caption: str = "",
    of: Collection[str] = (NETWORK, REFERENCE),
    curve: ToCurve | None = None,
    fakes: bool = False,
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
        Then the plot takes a list of `Curve`, one for each
        network that has any, so that many networks and rows fit into memory.
    fakes : bool
        Whether it gets the rows of fake tracks, too, whose z and theta mean
        nothing.
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
            name, plot, when, frozenset(places), caption, frozenset(of), curve, fakes
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
        if entry.curve is not None:
            return entry.curve(own, other) if entry.when(own) else None
        # A plot of rows decides for all networks at once.
        return own

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
    look = look or looks(list(networks))
    found = []
    for entry in registered():
        data = attempt(entry.name, partial(_data, entry, networks, look))
        if data is not None:
            found.append(Drawing(entry.name, entry.plot, data, description))
    return found


def _data(
    entry: RegisteredPlot,
    networks: Mapping[str, Mapping[str, Any]],
    look: Mapping[str, Look],
) -> Any | None:
    """What the plot takes; None where there is nothing to draw."""
    found = {k: own[entry.name] for k, own in networks.items() if entry.name in own}
    if not found:
        return None
    if entry.curve is not None:
        return [Curve(name, look[name], curve) for name, curve in found.items()]
    rows = shown(found, look)
    return rows if entry.when(rows) else None


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
    return drawings(_curves_of_all(predicted, registered(where)), description)


def _curves_of_all(
    predicted: Networks, entries: Sequence[RegisteredPlot]
) -> dict[str, dict[str, Any]]:
    if isinstance(predicted, Predictions):
        predicted = {NETWORK: predicted}
    first, *others = predicted
    reference = predicted[others[0]] if others else None
    found = {first: _curves(entries, predicted[first], NETWORK, reference)}
    # What the network itself lacks is of no interest.
    left = [e for e in entries if e.name in found[first] or NETWORK not in e.of]
    return found | {n: _curves(left, predicted[n], REFERENCE) for n in others}


def draw(name: str, predicted: Networks, description: str = "") -> Figure:
    """Draw one registered plot.

    Raises
    ------
    ValueError
        The networks have nothing that it shows.
    """
    entry = _PLOTS[name]
    networks = _curves_of_all(predicted, [entry])
    data = _data(entry, networks, looks(list(networks)))
    if data is None:
        raise ValueError(f"plot {name}: the networks have nothing that it shows")
    with default_style():
        figure = entry.plot(data)
        if description:
            describe(figure, description)
        return figure
