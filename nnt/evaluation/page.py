"""A comparison as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from nnt import __version__
from nnt.evaluation.comparing import Comparison, Difference
from nnt.evaluation.contenders import Contender
from nnt.tracking import StoredRun

__all__ = ["MAIN_FIGURES", "best_by_rejection", "page", "shown", "shown_difference"]

MAIN_FIGURES = {
    "loss": "loss",
    "z_trimmed_std_cm": "z trimmed std (cm)",
    "theta_trimmed_std_deg": "theta trimmed std (deg)",
    "efficiency_at_15cm": "efficiency, |z| < 15 cm",
    "rejection_at_15cm": "rejection, |z| < 15 cm",
    "rejection_at_eff96": "rejection at 96 % efficiency",
    "roc_area": "ROC area",
    "feed_down_at_eff96": "feed-down at 96 %",
    "feed_up_at_eff96": "feed-up at 96 %",
}
"""Metric -> heading of its column."""

CAPTIONS = {
    "rejection_against_efficiency": "Background rejection against signal efficiency "
    "as the cut moves.",
    "z_histogram": "z of every network over the reconstruction.",
    "z_residual": "z residual of all tracks.",
    "z_residual_collision_point": "z residual of tracks from the collision point.",
    "z_width_against_z": "Width and mean of the z residual against z.",
    "z_width_against_theta": "Width and mean of the z residual against theta.",
    "theta_width_against_theta": "Width and mean of the theta residual against theta.",
    "feed_down": "Far tracks at positive z that pass.",
    "feed_up": "Far tracks at negative z that pass.",
    "learning_curves": "Validation loss of every expert, epoch by epoch.",
}

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222; margin: 2rem auto;
  max-width: 84rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }
dt { color: #666; } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .55rem; border-bottom: 1px solid #ddd; text-align: right;
  white-space: nowrap; vertical-align: top; }
thead th { vertical-align: bottom; white-space: normal; min-width: 4rem; }
th:first-child, td:first-child { text-align: left; }
tbody th { position: sticky; left: 0; background: #fff; font-weight: 600; }
small { display: block; color: #666; font-weight: 400; }
.better, .worse { font-weight: 600; }
.better { color: #00664a; } .worse { color: #a63c00; }
figure { margin: 0; } figcaption { color: #555; font-size: .9rem; }
.figures { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(32rem, 1fr)); }
.wide { grid-column: 1 / -1; } img { max-width: 100%; height: auto; }
code { font-size: .85em; }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0; }
"""


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


def best_by_rejection(comparison: Comparison) -> Contender | None:
    """Network that throws away most background at 96 % efficiency."""
    name = "all/rejection_at_eff96"
    there = [own for own in comparison.contenders if name in own.figures]
    return max(there, key=lambda own: own.figures[name], default=None)


def page(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Write the page.

    Parameters
    ----------
    comparison : Comparison
        What it tells.
    pictures : mapping of str to bytes
        Name to PNG; they become part of the page.
    """
    title = f"{len(comparison.contenders)} networks on the same rows"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _facts(comparison),
        "<h2>Figures</h2>",
        "<p>Below each figure: its difference to the first network ± the error of the "
        "difference, from drawing events anew, with the same draws for both. ▲ better "
        "and ▼ worse mark what exceeds twice its error.</p>",
        _table(comparison, "all"),
        "<h2>Plots</h2>",
        _figures(pictures),
        *_experts(comparison),
        _configurations(comparison),
        "<h2>All figures</h2>",
        "<details><summary>every figure of every network</summary>",
        _everything(comparison),
        "</details>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>NNT: {escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _facts(comparison: Comparison) -> str:
    rows = comparison.rows
    facts = [
        ("rows", f"{comparison.n_tracks:,} of {rows.source}"),
        ("digest of the rows", rows.digest),
        ("filter", comparison.filter or "none"),
        ("compared with", comparison.first.name),
    ]
    best = best_by_rejection(comparison)
    if best is not None:
        facts.append(
            (
                "highest rejection at 96 % efficiency",
                f"{best.name}: {shown(best.figures['all/rejection_at_eff96'])}",
            )
        )
    facts.append(("NNT", __version__))
    items = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts)
    return f"<dl>{items}</dl>"


def _table(comparison: Comparison, scope: str) -> str:
    names = {
        f"{scope}/{metric}": heading
        for metric, heading in MAIN_FIGURES.items()
        if any(f"{scope}/{metric}" in own.figures for own in comparison.contenders)
    }
    rows = []
    for own in comparison.contenders:
        errors = own.replicas.errors()
        cells = [_cell(comparison, own, name, errors) for name in names]
        rows.append([_name(own), *cells])
    return _html_table(["", *map(escape, names.values())], rows)


def _name(own: Contender) -> str:
    run = None if own.subject is None else own.subject.run
    if run is None:
        return escape(own.name)
    return f"{_linked(own.name, run)}<small><code>{run.run_id}</code></small>"


def _linked(text: str, run: StoredRun) -> str:
    if not run.uri.startswith(("http://", "https://")):
        return escape(text)
    base = run.uri.rstrip("/")
    link = f"{base}/#/experiments/{run.experiment_id}/runs/{run.run_id}"
    return f'<a href="{escape(link)}">{escape(text)}</a>'


def _cell(
    comparison: Comparison, own: Contender, name: str, errors: Mapping[str, float]
) -> str:
    if name not in own.figures:
        return "–"
    told = shown(own.figures[name], errors.get(name, math.nan))
    difference = comparison.difference(own, name)
    if difference is None:
        return told
    return told + _difference(difference)


def _difference(difference: Difference) -> str:
    text = shown_difference(difference)
    if difference.better is None:
        return f"<small>{text}</small>"
    kind, mark = ("better", "▲") if difference.better else ("worse", "▼")
    return f'<small class="{kind}">{mark} {text}</small>'


def _figures(pictures: Mapping[str, bytes]) -> str:
    parts = []
    for name, data in pictures.items():
        encoded = base64.b64encode(data).decode()
        caption = escape(CAPTIONS.get(name, name.replace("_", " ")))
        kind = ' class="wide"' if name == "learning_curves" else ""
        parts.append(
            f'<figure{kind}><img src="data:image/png;base64,{encoded}" '
            f'alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        )
    return f'<div class="figures">{"".join(parts)}</div>'


def _experts(comparison: Comparison) -> Iterable[str]:
    scopes = [scope for scope in comparison.scopes if scope != "all"]
    if not scopes:
        return
    yield "<h2>By expert</h2>"
    for scope in scopes:
        n_tracks = comparison.first.figures[f"{scope}/n_tracks"]
        heading = f"{scope.replace('_', ' ')}, {n_tracks:,.0f} rows"
        yield f"<details><summary>{heading}</summary>{_table(comparison, scope)}"
        yield "</details>"


def _configurations(comparison: Comparison) -> str:
    differences = comparison.config_differences
    if not differences:
        return "<h2>Configurations</h2><p>They are the same in every key.</p>"
    names = list(next(iter(differences.values())))
    rows = [
        [escape(name), *(escape(values[name]) for values in differences.values())]
        for name in names
    ]
    table = _html_table(["", *(f"<code>{escape(k)}</code>" for k in differences)], rows)
    return f"<h2>Where configurations differ</h2>{table}"


def _everything(comparison: Comparison) -> str:
    names = list(dict.fromkeys(k for own in comparison.contenders for k in own.figures))
    rows = [
        [
            escape(name),
            *(shown(own.figures.get(name, math.nan)) for own in comparison.contenders),
        ]
        for name in names
    ]
    return _html_table(["", *(escape(o.name) for o in comparison.contenders)], rows)


def _html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(
        f"<tr><th>{first}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for first, *cells in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
