"""Tables of the page of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from nnt.evaluation.comparing import ABSENT, Comparison, Difference, direction_of
from nnt.evaluation.network_result import NetworkResult
from nnt.tracking import StoredRun, shown_store

__all__ = [
    "configurations",
    "every_figure",
    "main_table",
    "run_page",
    "runs",
    "shown",
    "shown_difference",
]

UNTOLD_KEYS = ("name", "description", "category", "version", "extends")
UNSET = (ABSENT, "null")
MAX_TOLD = 4
MAX_VALUE = 24
"""Keys, and characters of a value, that stand below the name of a run."""
MAX_SIDE_BY_SIDE = 5
"""Runs whose configurations stand side by side; more of them become rows."""


def shown(value: float, error: float = math.nan) -> str:
    """Write a figure to the digits that its error leaves, or else with four."""
    if not math.isfinite(value):
        return "–"
    if not math.isfinite(error):
        return f"{value:.4g}"
    return f"{_to_error(value, error)} ± {_to_error(error, error)}"


def shown_difference(difference: Difference) -> str:
    """Write a difference with its sign and its error."""
    sign = "+" if difference.value >= 0 else ""
    return sign + shown(difference.value, difference.error)


def _to_error(value: float, error: float) -> str:
    # Two digits of the error; one that is 0 leaves all of the value.
    if error == 0:
        return f"{value:.4g}"
    return f"{value:,.{max(0, 1 - math.floor(math.log10(error)))}f}"


def main_table(comparison: Comparison, scope: str, headings: Mapping[str, str]) -> str:
    """Figures of every network with differences to the first; a click sorts."""
    names = {
        f"{scope}/{metric}": heading
        for metric, heading in headings.items()
        if any(f"{scope}/{metric}" in own.figures for own in comparison.networks)
    }
    best = {name: _best(comparison, name) for name in names}
    rows = []
    for own in comparison.networks:
        errors = own.errors
        cells = [
            _figure_cell(comparison, own, name, errors, best[name]) for name in names
        ]
        kind = ' class="first"' if own is comparison.first else ""
        rows.append(f"<tr{kind}>{_name_cell(comparison, own)}{''.join(cells)}</tr>")
    heads = ["network", *names.values()]
    return _table(heads, rows, "sortable")


def _best(comparison: Comparison, name: str) -> float | None:
    direction = direction_of(name)
    there = [own.figures[name] for own in comparison.networks if name in own.figures]
    if direction == 0 or len(there) < 2:
        return None
    return max(there) if direction > 0 else min(there)


def _name_cell(comparison: Comparison, own: NetworkResult) -> str:
    run = None if own.loaded is None else own.loaded.run
    text = escape(own.name) if run is None else _linked(own.name, run)
    pairs = _told_apart(comparison, own.name).items()
    marks = [f"{key} {value}".replace(" ", "\u00a0") for key, value in pairs]
    if marks:
        text += f"<small>{escape(', '.join(marks))}</small>"
    return f'<th data-value="{escape(own.name)}">{text}</th>'


def _told_apart(comparison: Comparison, name: str) -> dict[str, str]:
    """What a person tells this run from the others by: short values that differ."""
    told = {
        key: _brief(values[name])
        for key, values in comparison.config_differences.items()
        if name in values and key not in UNTOLD_KEYS
    }
    short = {k: v for k, v in told.items() if len(v) <= MAX_VALUE and v not in UNSET}
    # The seed tells least.
    ranked = sorted(short, key=lambda key: (key == "seed", key.count(".")))
    return {key: short[key] for key in ranked[:MAX_TOLD]}


def _brief(text: str) -> str:
    try:
        return text if text.lstrip("-").isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text


def _linked(text: str, run: StoredRun) -> str:
    link = run_page(run)
    if link is None:
        return escape(text)
    return f'<a href="{escape(link)}">{escape(text)}</a>'


def run_page(run: StoredRun) -> str | None:
    """Address of a run in the UI of its server; None for a database."""
    if not run.uri.startswith(("http://", "https://")):
        return None
    base = shown_store(run.uri).rstrip("/")
    return f"{base}/#/experiments/{run.experiment_id}/runs/{run.run_id}"


def _figure_cell(
    comparison: Comparison,
    own: NetworkResult,
    name: str,
    errors: Mapping[str, float],
    best: float | None,
) -> str:
    if name not in own.figures:
        return "<td>–</td>"
    value = own.figures[name]
    told = shown(value, errors.get(name, math.nan))
    difference = comparison.difference(own, name)
    if difference is not None:
        told += _difference(difference)
    kind = ' class="best"' if value == best else ""
    place = f' data-value="{value!r}"' if math.isfinite(value) else ""
    return f"<td{kind}{place}>{told}</td>"


def _difference(difference: Difference) -> str:
    text = shown_difference(difference)
    if difference.better is None:
        return f"<small>{text}</small>"
    kind, mark = ("better", "▲") if difference.better else ("worse", "▼")
    return f'<small class="{kind}">{mark} {text}</small>'


def runs(comparison: Comparison) -> str:
    """Which run each name stands for, and what it has seen."""
    rows = []
    for own in comparison.networks:
        if own.loaded is None:
            continue
        run, config = own.loaded.run, own.loaded.config
        cells = [
            "–" if run is None else f"<code>{run.run_id}</code>",
            escape(own.loaded.text if run is None else shown_store(run.uri)),
            "–" if config is None else f"<code>{escape(config.name)}</code>",
            _seen(comparison.trained_on.get(own.name)),
        ]
        name = escape(own.name) if run is None else _linked(own.name, run)
        rows.append(_row(name, cells))
    heads = ["network", "run", "store", "configuration", "rows trained on"]
    return _table(heads, rows, "words")


def _seen(share: float | None) -> str:
    if share is None:
        return "not known"
    return f'<b class="worse">{share:.0%}</b>' if share else "none"


def configurations(comparison: Comparison) -> str:
    """Keys in which configurations differ."""
    differences = {
        key: {name: _brief(value) for name, value in values.items()}
        for key, values in comparison.config_differences.items()
    }
    names = list(next(iter(differences.values())))
    if len(names) <= MAX_SIDE_BY_SIDE:
        rows = [
            _row(f"<code>{escape(key)}</code>", map(escape, values.values()))
            for key, values in differences.items()
        ]
        return _table(["key", *names], rows, "words")
    rows = [
        _row(escape(name), (escape(values[name]) for values in differences.values()))
        for name in names
    ]
    return _table(["network", *differences], rows, "words")


def every_figure(comparison: Comparison) -> str:
    """All figures, one a row."""
    names = list(dict.fromkeys(k for own in comparison.networks for k in own.figures))
    rows = [
        _row(
            escape(name),
            (shown(own.figures.get(name, math.nan)) for own in comparison.networks),
        )
        for name in names
    ]
    return _table(["figure", *(own.name for own in comparison.networks)], rows, "")


def _row(first: str, cells: Iterable[str]) -> str:
    return f"<tr><th>{first}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _table(heads: Sequence[str], rows: Sequence[str], kind: str) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
