"""The page of a comparison, and its tables as data for page and terminal alike."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nnt import plots
from nnt.evaluation.comparison import ABSENT, Comparison, NetworkResult
from nnt.evaluation.judged import warning_of
from nnt.evaluation.verdict import Check, Verdict
from nnt.metrics import METRICS, main_metrics
from nnt.tracking import StoredRun, hide_passwords
from nnt.version import __version__

BEST_BY = {
    "rejection_at_eff96_by_class": "highest rejection at 96 % efficiency, by class",
    "rejection_at_eff96": "highest rejection at 96 % efficiency",
}
"""Metric -> its heading; the first that every run has decides."""

CURVES = "learning_curves"
CAPTION_OF_CURVES = "Validation loss of every expert, epoch by epoch."
KEYS_NOT_SHOWN = ("name", "description", "category", "version", "extends")
UNSET = (ABSENT, "null")
MAX_KEYS = 4
MAX_VALUE = 24
"""Keys, and characters of a value, that stand below the name of a run."""
MAX_SIDE_BY_SIDE = 5
"""Runs whose configurations stand side by side; more of them become rows."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table; the first of a row names it."""

    text: str
    note: str = ""
    """Below, in small print."""
    better: bool | None = None
    """Of a note that is a difference which stands out."""
    best: bool = False
    number: float | None = None
    """By which a click sorts."""
    mark: str = ""
    """``code`` or ``warn``."""
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its kind: ``sortable``, ``words`` or none."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    kind: str = ""


def page(
    comparison: Comparison,
    pictures: Mapping[str, bytes],
    verdict: Verdict | None = None,
) -> str:
    """Write the page, with plots by name, and a verdict on the last of two runs."""
    # Whatever names and descriptions hold becomes text, never HTML.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    title = f"{len(comparison.networks)} networks on the same rows"
    if verdict is not None:
        title = f"{comparison.runs[-1].name} over {verdict.over}"
    captions = plots.captions() | {CURVES: CAPTION_OF_CURVES}
    headings = main_metrics()
    tables = [
        (
            f"{scope.replace('_', ' ')}, {figures['n_tracks']:,.0f} rows",
            main_table(comparison, scope, headings),
        )
        for scope, figures in comparison.first.figures.items()
    ]
    return environment.get_template("comparison.html").render(
        title=title,
        verdict=verdict,
        verdict_table=None if verdict is None else verdict_table(verdict),
        facts=_facts(comparison),
        warning=warning_of([network.trained_on for network in comparison.runs]),
        main=tables[0][1],
        pictures=[
            {
                "data": base64.b64encode(data).decode(),
                "caption": captions.get(name, name.replace("_", " ")),
                "is_wide": name == CURVES,
            }
            for name, data in pictures.items()
        ],
        experts=tables[1:],
        runs=_runs(comparison),
        configurations=configurations(comparison),
        hardware=hardware(comparison),
        all_metrics=_all_metrics(comparison),
    )


def best_by_rejection(comparison: Comparison) -> tuple[NetworkResult, str] | None:
    """Network that throws away most background at 96 % efficiency, and by which metric.

    By class where every run has one; the network of the data taking never has.
    """
    for name in BEST_BY:
        there = [n for n in comparison.networks if name in n.figures["all"]]
        if there and all(name in network.figures["all"] for network in comparison.runs):
            return max(there, key=lambda network: network.figures["all"][name]), name
    return None


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    rows = comparison.rows
    facts = [
        ("rows", f"{comparison.n_tracks:,} of {rows.description}"),
        ("digest of the rows", rows.digest),
        ("filter", comparison.filter or "none"),
        ("compared with", comparison.first.name),
    ]
    if found := best_by_rejection(comparison):
        best, name = found
        error = best.errors["all"].get(name, math.nan)
        value = shown(best.figures["all"][name], error)
        facts.append((BEST_BY[name], f"{best.name}: {value}"))
    return [*facts, ("NNT", __version__)]


def shown(value: float, error: float = math.nan) -> str:
    """Write a value to the digits that its error leaves, or else with four."""
    if not math.isfinite(value):
        return ABSENT
    if not math.isfinite(error):
        return f"{value:.4g}"
    return f"{_to_error(value, error)} ± {_to_error(error, error)}"


def _to_error(value: float, error: float) -> str:
    # Two digits of the error; one that is 0 leaves all of the value.
    if error == 0:
        return f"{value:.4g}"
    return f"{value:,.{max(0, 1 - math.floor(math.log10(error)))}f}"


def main_table(
    comparison: Comparison, scope: str, headings: Mapping[str, str]
) -> Table:
    """Metrics of every network with differences to the first; a click sorts."""
    of_scope = [network.figures[scope] for network in comparison.networks]
    names = [m for m in headings if any(m in figures for figures in of_scope)]
    best = {name: _best(name, of_scope) for name in names}
    rows = [
        [
            _name(network, _what_differs(comparison, network.name)),
            *(_metric_cell(network, scope, m, best[m]) for m in names),
        ]
        for network in comparison.networks
    ]
    return Table(["network", *(headings[name] for name in names)], rows, "sortable")


def _best(name: str, of_networks: Sequence[Mapping[str, float]]) -> float | None:
    direction = METRICS[name].direction
    there = [figures[name] for figures in of_networks if name in figures]
    if direction == 0 or len(there) < 2:
        return None
    return max(there) if direction > 0 else min(there)


def _name(network: NetworkResult, note: str = "") -> Cell:
    return Cell(network.name, note, link=run_page(network.run))


def _metric_cell(
    network: NetworkResult, scope: str, name: str, best: float | None
) -> Cell:
    value = network.figures[scope].get(name)
    if value is None:
        return Cell(ABSENT)
    note, better, change = "", None, network.difference(scope, name)
    if change is not None:
        sign, better = "+" if change.value >= 0 else "", change.better
        note = f"{sign}{shown(change.value, change.error)}"
    number = value if math.isfinite(value) else None
    text = shown(value, network.errors[scope].get(name, math.nan))
    return Cell(text, note, better, best=value == best, number=number)


def _what_differs(comparison: Comparison, name: str) -> str:
    """What a person knows this run from the others by: short values that differ."""
    values = {
        key: _brief(by_run[name])
        for key, by_run in comparison.config_differences.items()
        if name in by_run and key not in KEYS_NOT_SHOWN
    }
    short = {k: v for k, v in values.items() if len(v) <= MAX_VALUE and v not in UNSET}
    # The seed says least.
    ranked = sorted(short, key=lambda key: (key == "seed", key.count(".")))
    pairs = (f"{key} {short[key]}".replace(" ", "\u00a0") for key in ranked[:MAX_KEYS])
    return ", ".join(pairs)


def _brief(text: str) -> str:
    try:
        return text if text.lstrip("-").isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text


def run_page(run: StoredRun | None) -> str | None:
    """Address of a run in the UI of its server; None for a database."""
    if run is None or not run.uri.startswith(("http://", "https://")):
        return None
    base = hide_passwords(run.uri).rstrip("/")
    return f"{base}/#/experiments/{run.experiment_id}/runs/{run.run_id}"


def verdict_table(verdict: Verdict) -> Table:
    """Every figure of both networks, with the difference and what it means."""
    heads = ["figure", "champion", "challenger", "difference", "standard errors"]
    rows = []
    for check in verdict.checks:
        both = (_value(value, check) for value in (check.champion, check.challenger))
        texts = _texts(check.name, *both, _value(check.difference, check, "+"))
        rows.append([*texts, _sigmas(check)])
    return Table(heads, rows)


def _value(value: float | None, check: Check, sign: str = "") -> str:
    """Write a value of champion or challenger, or their difference with a sign."""
    if value is None:
        return ABSENT
    if not check.is_share:
        return f"{value:{sign}{',.0f' if value == int(value) else '.4g'}}"
    error = f" ± {100 * check.error:.2f}" if sign and check.error is not None else ""
    return f"{100 * value:{sign}.2f}{error} %"


def _sigmas(check: Check) -> Cell:
    text = ABSENT if check.sigmas is None else f"{check.sigmas:+.1f}"
    if not check.is_worse and not check.is_better:
        return Cell(text)
    return Cell(text, "better" if check.is_better else "worse", check.is_better)


def _runs(comparison: Comparison) -> Table:
    """Which run each name stands for, and what it has seen."""
    rows = []
    for network in comparison.networks:
        loaded, run, share = network.loaded, network.run, network.trained_on
        if loaded is None:
            continue
        config = "" if loaded.config is None else loaded.config.name
        seen = "not known" if share is None else f"{share:.0%}" if share else "none"
        cells = [
            Cell(run.run_id, mark="code") if run else Cell(ABSENT),
            Cell(hide_passwords(run.uri) if run else loaded.text),
            Cell(config, mark="code") if config else Cell(ABSENT),
            Cell(seen, mark="warn" if share else ""),
        ]
        rows.append([_name(network), *cells])
    heads = ["network", "run", "store", "configuration", "share of rows trained on"]
    return Table(heads, rows, "words")


def configurations(comparison: Comparison) -> Table | None:
    """Keys in which configurations differ; None if they are the same."""
    found = {
        key: {name: _brief(value) for name, value in values.items()}
        for key, values in comparison.config_differences.items()
    }
    names = list(next(iter(found.values()), ()))
    if len(names) > MAX_SIDE_BY_SIDE:
        rows = [_texts(k, *(values[k] for values in found.values())) for k in names]
        return Table(["network", *found], rows, "words")
    rows = [[Cell(k, mark="code"), *_texts(*found[k].values())] for k in found]
    return Table(["key", *names], rows, "words") if found else None


def hardware(comparison: Comparison) -> Table | None:
    """What each network costs in the firmware; None if it can hold none of them."""
    kinds = dict.fromkeys(kind for one in comparison.runs for kind in one.hardware)
    rows = []
    for network in comparison.runs:
        costs = map(network.hardware.get, kinds)
        cells = (Cell(ABSENT if n is None else f"{n:,.0f}", number=n) for n in costs)
        rows.append([Cell(network.name), *cells])
    names = [kind.rpartition("/")[2].replace("_", " ") for kind in kinds]
    return Table(["network", *names], rows, "sortable") if kinds else None


def _all_metrics(comparison: Comparison) -> Table:
    """All metrics, one a row."""
    networks = comparison.networks
    of_all = [(s, m) for n in networks for s, of in n.figures.items() for m in of]
    rows = []
    for scope, name in dict.fromkeys(of_all):
        values = [n.figures[scope].get(name, math.nan) for n in networks]
        rows.append(_texts(f"{scope}/{name}", *map(shown, values)))
    return Table(["metric", *(network.name for network in networks)], rows)


def _texts(*texts: str) -> list[Cell]:
    return [Cell(text) for text in texts]
