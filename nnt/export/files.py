"""From a run to the files that the trigger loads, with their manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nnt.errors import ExportError, did_you_mean
from nnt.export.payload import Payload
from nnt.export.settings import Settings, check_bits
from nnt.export.source import (
    NAMES_OF_CUTS,
    Request,
    Source,
    class_cuts,
    word_cuts,
)
from nnt.export.targets import TARGETS, Target
from nnt.files import make_folder, write_atomically
from nnt.fixedpoint.integers import NODE_BITS
from nnt.networks import read_weights
from nnt.tracking import (
    StoredRun,
    open_run,
    read_run_weights,
    untrained_experts,
    weights_file,
)
from nnt.version import __version__

log = logging.getLogger(__name__)

MANIFEST = "MANIFEST.json"
FACTS = {
    "parent_run_id": "mlflow.parentRunId",
    "config": "config",
    "git_commit": "git.commit",
    "git_dirty": "git.dirty",
    "data_digest": "data.digest",
    "nnt_version_of_training": "nnt.version",
    "outcome": "nnt.outcome",
}
"""Name in the manifest -> tag of the run."""

CUT_SOURCES = ("test_fixed_point/", "test/", "val_fixed_point/", "val/")
"""Where the cuts on the class are read from, the best first."""


def export(
    source: Source,
    target: str,
    folder: Path,
    *,
    settings: Settings | None = None,
    precision: tuple[int, ...] | None = None,
    saturate_13_bit: bool = False,
    overwrite: bool = False,
    payload: Payload | None = None,
) -> dict[str, Any]:
    """Write files for deployment; nothing is left where a check fails.

    Parameters
    ----------
    target : str
        A key of `TARGETS`.
    folder : Path
        Made if it is not there; it gets the files and ``MANIFEST.json``.
    overwrite : bool
        Replace existing files.
    source, settings, precision, saturate_13_bit, payload
        As of `Request`.

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    ExportError
        The target cannot hold the networks, a check failed, or files are there.
    """
    if target not in TARGETS:
        raise ExportError(f"unknown target {target!r}; {did_you_mean(target, TARGETS)}")
    request = Request(
        source=source,
        settings=settings,
        precision=precision,
        saturate_13_bit=saturate_13_bit,
        payload=payload,
    )
    _check_request(request, target, TARGETS[target])
    with tempfile.TemporaryDirectory(prefix="nnt-export-") as made:
        manifest = _write(request, target, Path(made))
        _hand_out(Path(made), [*manifest["files"], MANIFEST], folder, overwrite)
    return manifest


def _write(request: Request, target: str, work: Path) -> dict[str, Any]:
    report = TARGETS[target].load()(request, work)
    contents = {path.name: path.read_bytes() for path in sorted(work.iterdir())}
    bits = report.get("precision")
    # Where the precision cannot be chosen, it is that of the 3D Hough chain.
    node_bits = int(bits[3]) if isinstance(bits, list) else NODE_BITS
    manifest = {
        "nnt_version": __version__,
        "target": target,
        "source": request.source.name,
        **request.source.facts,
        **report,
        **_settings_fact(request, TARGETS[target]),
        **word_cuts(request.source.class_cuts, node_bits),
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in contents.items()
        },
    }
    text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
    (work / MANIFEST).write_text(text, encoding="utf-8")
    _check_cuts(work / MANIFEST, request.source, node_bits)
    return manifest


def _check_request(request: Request, name: str, target: Target) -> None:
    fixed = "the precision is fixed; leave --precision out"
    other = "uses no settings of the classic chain; leave --settings out"
    never = "has no range of validity; leave --valid-from out, or export --to basf2"
    floats = (
        "saturate_13_bit is for graphs that compute outputs (onnx); these files hold "
        "only weights; leave it out"
    )
    for given, is_taken, words in (
        (request.precision, target.takes_precision, fixed),
        (request.settings, target.takes_settings, other),
        (request.payload, target.takes_payload, never),
        (request.saturate_13_bit or None, target.computes_outputs, floats),
    ):
        if given is not None and not is_taken:
            raise ExportError(f"{name}: {words}")
    if request.precision is not None:
        check_bits(request.precision)


def _settings_fact(request: Request, target: Target) -> dict[str, str]:
    """Say which ID ranges, patterns and scales went into the files."""
    if not target.holds_settings:
        return {}
    if request.settings is not None:
        return {"settings": request.settings.place}
    log.warning(
        "without --settings, the ID ranges, patterns and scales are BASF2's defaults; "
        "a network needs those with which its training data were written: give that "
        "configuration with --settings FILE"
    )
    return {"settings": "BASF2's defaults; --settings was not given"}


def _check_cuts(path: Path, source: Source, bits: int) -> None:
    """Read the cuts back: of all words, those beyond are the outputs that are kept."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    words = np.arange(-(2**bits), 2**bits + 1)
    for name, cuts in source.class_cuts.items():
        for percent, cut in cuts.items():
            integer = manifest[NAMES_OF_CUTS[name]][percent]["integer"]
            if not np.array_equal(words > integer, words / 2**bits > cut):
                raise ExportError(
                    f"{path}: the cut on {name} for {percent} % came back as "
                    f"{integer}, which does not keep the outputs above {cut:.9g}"
                )


def _hand_out(work: Path, names: list[str], folder: Path, overwrite: bool) -> None:
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise ExportError(
            f"{folder}: holds {', '.join(there)} already; choose another folder, or "
            "give --overwrite to replace them"
        )
    try:
        make_folder(folder)
        # The manifest comes last: a folder with one is complete.
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in names:
            write_atomically(folder / name, (work / name).read_bytes())
    except OSError as err:
        raise ExportError(f"{folder}: cannot be written ({err.strerror})") from err
    log.info("%s: %d files", folder, len(names))


def load_source(run: str) -> Source:
    """Read the experts of a run, or of a ``weights.json``, and what made them.

    Raises
    ------
    TrackingError, DataError
        The run or the file cannot be read.
    ExportError
        The run is a comparison, or an expert has not been trained.
    """
    path = weights_file(run)
    if path is not None:
        experts = read_weights(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Source(name=run, experts=experts, facts={"weights_sha256": digest})
    stored = open_run(run)
    _check_kind(stored)
    content = read_run_weights(stored)
    return Source(
        f"run {stored.run_id}",
        read_weights(content),
        _facts(stored) | {"weights_sha256": hashlib.sha256(content).hexdigest()},
        class_cuts(stored.metrics, CUT_SOURCES),
    )


def _check_kind(run: StoredRun) -> None:
    """Refuse a run whose networks nobody should deploy."""
    for tag, kind, others in (
        ("nnt.compared", "a comparison", "one of the runs that it compares"),
        ("nnt.evaluated", "an evaluation", "the run that it judges"),
    ):
        if named := " or ".join(run.tags.get(tag, "").split()):
            raise ExportError(
                f"run {run.run_id} is {kind} and holds no networks; export {others}: "
                f"{named}"
            )
    if untrained := untrained_experts(run):
        named = ", ".join(map(str, untrained))
        parent = run.tags.get("mlflow.parentRunId", run.run_id)
        raise ExportError(
            f"run {run.run_id} ({run.name}): not trained: expert {named}, whose "
            f"weights are still random; finish the training with --resume {parent}"
        )


def _facts(run: StoredRun) -> dict[str, str]:
    facts = {"run_id": run.run_id, "run_name": run.name, "tracking_uri": run.shown_uri}
    known = {name: run.tags.get(tag) for name, tag in FACTS.items()}
    return facts | {name: fact for name, fact in known.items() if fact is not None}
