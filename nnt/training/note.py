"""The description of a training: a short report in Markdown, for the MLflow UI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nnt.config import Config
from nnt.markdown import table
from nnt.training.data import SPLITS, TrainingInputs
from nnt.training.result import ExpertResult

MAX_NAMES = 3
"""Files that are named."""
MAX_END = 80

Figures = Mapping[str, Mapping[str, float]]


def describe(
    inputs: TrainingInputs,
    description: str,
    experts: Mapping[int, ExpertResult],
    figures: Figures,
    run_id: str,
) -> str:
    """Write what was trained, from which data, and how good it is.

    MLflow shows five lines or so before a click: the working point comes first. That of
    the configuration stands in for an empty description; `figures` are those of all
    experts together, for ``val`` and ``test``.
    """
    config = inputs.config
    parts = [
        description or config.description,
        _working_point(figures.get("test", {})),
        "  \n".join(_origin(inputs)),
        _table(experts, figures),
        _pictures(config, figures.get("test", {}), run_id),
        _going_on(run_id),
    ]
    return "\n\n".join(part for part in parts if part)


def _working_point(test: Mapping[str, float]) -> str:
    name = "rejection_at_eff96"
    if name not in test:
        return ""
    text = (
        f"**Rejects {100 * test[name]:.1f} % of the background at 96 % efficiency** "
        f"(test rows, |z| < {test['cut_cm_at_eff96']:.1f} cm)"
    )
    if f"{name}_reference" in test:
        text += f"; reference {100 * test[f'{name}_reference']:.1f} %"
    text += f". z: trimmed std {test['z_trimmed_std_cm']:.2f} cm"
    if "z_trimmed_std_cm_reference" in test:
        text += f", reference {test['z_trimmed_std_cm_reference']:.2f} cm"
    return text + "."


def _origin(inputs: TrainingInputs) -> Iterator[str]:
    """Say what made the networks: configuration, data, code."""
    config, code = inputs.config, inputs.code
    changes = ", ".join(f"`{k}={v}`" for k, v in config.overridden.items())
    yield f"Configuration `{config.name}`" + (f" with {changes}" if changes else "")
    rows = " / ".join(f"{len(inputs.splits[split]):,}" for split in SPLITS)
    yield (
        f"Data: {_source(config)}; {rows} rows to train, validate and test "
        f"(digest `{inputs.digest[:12]}`)"
    )
    dirty = " with uncommitted changes" if code.is_dirty else ""
    yield f"Code: commit `{code.commit[:12]}`{dirty}"


def _source(config: Config) -> str:
    files, simulated = config.data.files, config.data.simulate
    if files is None:
        if simulated is None:
            return "none"
        return f"{simulated.tracks:,} simulated tracks, seed {simulated.seed}"
    parts = (
        [files[split] for split in SPLITS] if isinstance(files, Mapping) else [files]
    )
    names = [f"`{name.rsplit('/', 1)[-1]}`" for part in parts for name in part]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def _table(experts: Mapping[int, ExpertResult], figures: Figures) -> str:
    heads = (
        "expert", "best epoch", "val loss", "over reference",
        "test z trimmed std (cm)", "test rejection at 96 %", "ended by",
    )  # fmt: skip
    rows = [
        [
            f"[{expert}](#/runs/{result.run_id})",
            f"{result.best_epoch}/{result.epochs}",
            *_cells(result.val, result.test),
            result.ending[:MAX_END],
        ]
        for expert, result in experts.items()
    ]
    if len(experts) > 1:
        of_all = _cells(figures.get("val", {}), figures.get("test", {}))
        rows.append(["all", "", *of_all, ""])
    return table(heads, rows)


def _cells(val: Mapping[str, float], test: Mapping[str, float]) -> list[str]:
    named = (
        (val, "loss"), (val, "loss_vs_reference"),
        (test, "z_trimmed_std_cm"), (test, "rejection_at_eff96"),
    )  # fmt: skip
    return [f"{of[name]:.4g}" if name in of else "–" for of, name in named]


def _pictures(config: Config, test: Mapping[str, float], run_id: str) -> str:
    paths = ["plots/learning_curves.png"]
    if config.plot_every and test:
        paths.insert(0, "plots/test/z_against_reco.png")
    return "\n".join(
        f"![{path}](get-artifact?path={path}&run_uuid={run_id})" for path in paths
    )


def _going_on(run_id: str) -> str:
    return (
        "In another configuration, to start from these networks or to compare with "
        f"them:\n\n```\nload_pre_trained_weights: runs:/{run_id}/weights.json\n"
        f"compare_to: {run_id}\n```"
    )
