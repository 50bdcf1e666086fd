"""Tables of the page of a comparison, as data for its template."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nnt.evaluation.comparing import ABSENT, Comparison, Difference
from nnt.evaluation.network_result import NetworkResult
from nnt.evaluation.verdict import Check, Verdict
from nnt.metrics import METRICS
from nnt.tracking import StoredRun, hide_passwords

__all__ = [
    "Cell",
    "Row",
    "Table",
    "all_metrics",
    "configurations",
    "described",
    "hardware",
    "main_table",
    "run_page",
    "runs",
    "shown",
    "verdict_table",
]

KEYS_NOT_SHOWN = ("name", "description", "category", "version", "extends")
UNSET = (ABSENT, "null")
MAX_KEYS = 4
MAX_VALUE = 24
"""Keys, and characters of a value, that stand below the name of a run."""
MAX_SIDE_BY_SIDE = 5
"""Runs whose configurations stand side by side; more of them become rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell of a table."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row of a table."""

    name: str
    cells: Sequence[Cell]
    note: str = ""
    link: str | None = None
    is_first: bool = False
    is_key: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with its kind: ``sortable``, ``words`` or none."""

    heads: Sequence[str]
    rows: Sequence[Row]
    kind: str = ""


def shown(value: float, error: float = math.nan) -> str:
    """Write a value to the digits that its error leaves, or else with four."""
    if not math.isfinite(value):
        return "–"
    if not math.isfinite(error):
        return f"{value:.4g}"
    return f"{_to_error(value, error)} ± {_to_error(error, error)}"


def _shown_difference(difference: Difference) -> str:
    """Write a difference with its sign and its error."""
    sign = "+" if difference.value >= 0 else ""
    return sign + shown(difference.value, difference.error)


def _to_error(value: float, error: float) -> str:
    # Two digits of the error; one that is 0 leaves all of the value.
    if error == 0:
        return f"{value:.4g}"
    return f"{value:,.{max(0, 1 - math.floor(math.log10(error)))}f}"


def main_table(
    comparison: Comparison, scope: str, headings: Mapping[str, str]
) -> Table:
    """Metrics of every network with differences to the first; a click sorts."""
    networks = comparison.networks
    names = [m for m in headings if any(m in n.figures[scope] for n in networks)]
    rows = [
        Row(
            name=network.name,
            link=_link(network),
            note=_what_differs(comparison, network.name),
            cells=[_metric_cell(comparison, network, scope, name) for name in names],
            is_first=network is comparison.first,
        )
        for network in networks
    ]
    heads = ["network", *(headings[name] for name in names)]
    return Table(heads=heads, rows=rows, kind="sortable")


def described(verdict: Verdict) -> str:
    """Say in words what a verdict is, and why."""
    if verdict.passes:
        return (
            f"May become {verdict.over}: in the firmware's integers nowhere worse by "
            f"more than {verdict.sigma:g} standard errors."
        )
    return f"Must not become {verdict.over}: " + "; ".join(verdict.reasons)


def verdict_table(verdict: Verdict) -> Table:
    """Every figure of both networks, with the difference and what it means."""
    heads = ["figure", "champion", "challenger", "difference", "standard errors"]
    rows = [
        Row(name=check.name, cells=[*_texts(_shown_check(check)[:3]), _sigmas(check)])
        for check in verdict.checks
    ]
    return Table(heads=heads, rows=rows)


def _shown_check(check: Check) -> list[str]:
    """Write champion, challenger, difference, and standard errors of a figure."""
    is_share = check.sigmas is not None or "efficiency" in check.name
    is_share = is_share or "outputs" in check.name

    def number(value: float, sign: str = "") -> str:
        return f"{value:{sign},.0f}" if value == int(value) else f"{value:{sign}.4g}"

    def written(value: float | None) -> str:
        if value is None:
            return ABSENT
        return f"{100 * value:.2f} %" if is_share else number(value)

    difference = check.difference
    text = ABSENT if difference is None else number(difference, "+")
    if is_share and difference is not None:
        text = f"{100 * difference:+.2f}"
        if check.error is not None:
            text += f" ± {100 * check.error:.2f} %"
    sigmas = ABSENT if check.sigmas is None else f"{check.sigmas:+.1f}"
    return [written(check.champion), written(check.challenger), text, sigmas]


def _sigmas(check: Check) -> Cell:
    stands_out = check.is_worse or check.is_better
    text = _shown_check(check)[3]
    if not stands_out:
        return Cell(text=text)
    word = "better" if check.is_better else "worse"
    return Cell(text=text, note=word, better=check.is_better)


def _best(comparison: Comparison, scope: str, name: str) -> float | None:
    direction = METRICS[name].direction
    of_scope = [network.figures[scope] for network in comparison.networks]
    there = [figures[name] for figures in of_scope if name in figures]
    if direction == 0 or len(there) < 2:
        return None
    return max(there) if direction > 0 else min(there)


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


def _link(network: NetworkResult) -> str | None:
    run = None if network.loaded is None else network.loaded.run
    return None if run is None else run_page(run)


def run_page(run: StoredRun) -> str | None:
    """Address of a run in the UI of its server; None for a database."""
    if not run.uri.startswith(("http://", "https://")):
        return None
    base = hide_passwords(run.uri).rstrip("/")
    return f"{base}/#/experiments/{run.experiment_id}/runs/{run.run_id}"


def _metric_cell(
    comparison: Comparison, network: NetworkResult, scope: str, name: str
) -> Cell:
    if name not in network.figures[scope]:
        return Cell(text="–")
    value = network.figures[scope][name]
    difference = comparison.difference(network, scope, name)
    return Cell(
        text=shown(value, network.errors[scope].get(name, math.nan)),
        note="" if difference is None else _shown_difference(difference),
        better=None if difference is None else difference.better,
        best=value == _best(comparison, scope, name),
        number=value if math.isfinite(value) else None,
    )


def runs(comparison: Comparison) -> Table:
    """Which run each name stands for, and what it has seen."""
    rows = []
    for network in comparison.networks:
        if network.loaded is None:
            continue
        run, config = network.loaded.run, network.loaded.config
        cells = [
            Cell(text="–") if run is None else Cell(text=run.run_id, mark="code"),
            Cell(text=network.loaded.text if run is None else hide_passwords(run.uri)),
            Cell(text="–") if config is None else Cell(text=config.name, mark="code"),
            _seen(comparison.trained_on.get(network.name)),
        ]
        rows.append(Row(name=network.name, link=_link(network), cells=cells))
    heads = ["network", "run", "store", "configuration", "share of rows trained on"]
    return Table(heads=heads, rows=rows, kind="words")


def _seen(share: float | None) -> Cell:
    if share is None:
        return Cell(text="not known")
    return Cell(text=f"{share:.0%}", mark="warn") if share else Cell(text="none")


def configurations(comparison: Comparison) -> Table | None:
    """Keys in which configurations differ; None if they are the same."""
    if not comparison.config_differences:
        return None
    differences = {
        key: {name: _brief(value) for name, value in values.items()}
        for key, values in comparison.config_differences.items()
    }
    names = list(next(iter(differences.values())))
    if len(names) <= MAX_SIDE_BY_SIDE:
        rows = [
            Row(name=key, is_key=True, cells=_texts(values.values()))
            for key, values in differences.items()
        ]
        return Table(heads=["key", *names], rows=rows, kind="words")
    rows = [
        Row(name=name, cells=_texts(values[name] for values in differences.values()))
        for name in names
    ]
    return Table(heads=["network", *differences], rows=rows, kind="words")


def hardware(comparison: Comparison) -> Table | None:
    """What each network costs in the firmware; None if it can hold none of them."""
    kinds = comparison.hardware
    rows = [
        Row(
            name=network.name,
            cells=[
                Cell(text="–" if cost is None else f"{cost:,.0f}", number=cost)
                for cost in costs
            ],
            is_first=network is comparison.first,
        )
        for network, *costs in zip(comparison.networks, *kinds.values(), strict=True)
        if network.loaded is not None
    ]
    names = [kind.rpartition("/")[2].replace("_", " ") for kind in kinds]
    return (
        Table(heads=["network", *names], rows=rows, kind="sortable") if kinds else None
    )


def all_metrics(comparison: Comparison) -> Table:
    """All metrics, one a row."""
    networks = comparison.networks
    of_all = [(s, m) for n in networks for s, of in n.figures.items() for m in of]
    rows = [
        Row(
            name=f"{scope}/{name}",
            cells=_texts(shown(n.figures[scope].get(name, math.nan)) for n in networks),
        )
        for scope, name in dict.fromkeys(of_all)
    ]
    return Table(heads=["metric", *(network.name for network in networks)], rows=rows)


def _texts(texts: Iterable[str]) -> list[Cell]:
    return [Cell(text=text) for text in texts]
