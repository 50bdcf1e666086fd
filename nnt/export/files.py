"""From a run to the files that the trigger loads, with their manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnt.errors import ExportError, did_you_mean
from nnt.export.payload import Payload
from nnt.export.settings import Settings
from nnt.export.source import (
    CUT_PREFIXES,
    File,
    Report,
    Request,
    Source,
    word_cuts,
    write_files,
)
from nnt.export.targets import TARGETS, Target
from nnt.files import make_folder, write_atomically
from nnt.fixedpoint.integers import NODE_BITS
from nnt.networks import check_precision
from nnt.version import __version__

log = logging.getLogger(__name__)

MANIFEST = "MANIFEST.json"

NOT_TAKEN = {
    "precision": "the precision is fixed; leave --precision out",
    "settings": "uses no settings of the classic chain; leave --settings out",
    "payload": (
        "has no range of validity; leave --valid-from out, or export --to basf2"
    ),
    "saturate_13_bit": (
        "saturate_13_bit is for graphs that compute outputs (onnx); these files hold "
        "only weights; leave it out"
    ),
}
"""Field of a request -> what to do where a target does not take it."""


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
    ExportError, DataError
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
    kind = TARGETS[target]
    for option, words in NOT_TAKEN.items():
        if getattr(request, option) not in (None, False) and option not in kind.takes:
            raise ExportError(f"{target}: {words}")
    if precision is not None:
        check_precision(precision)
    with tempfile.TemporaryDirectory(prefix="nnt-export-") as made:
        work = Path(made)
        report = kind.load()(request, work)
        report |= _settings_fact(request, kind)
        manifest = _write_manifest(work, target, source, report)
        _hand_out(work, [*manifest["files"], MANIFEST], folder, overwrite)
    return manifest


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


def _write_manifest(
    work: Path, target: str, source: Source, report: Report
) -> dict[str, Any]:
    contents = {path.name: path.read_bytes() for path in sorted(work.iterdir())}
    bits = report.get("precision")
    # Where the precision cannot be chosen, it is that of the 3D Hough chain.
    node_bits = int(bits[3]) if isinstance(bits, list) else NODE_BITS
    manifest = {
        "nnt_version": __version__,
        "target": target,
        "source": source.name,
        **source.facts,
        **report,
        **word_cuts(source.class_cuts, node_bits),
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in contents.items()
        },
    }
    text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
    check = partial(_check_cuts, source, node_bits)
    write_files(work, [File(MANIFEST, text.encode(), check)])
    return manifest


def _check_cuts(source: Source, bits: int, content: bytes) -> Report:
    """Of all words, those beyond a cut are the outputs that are kept."""
    manifest = json.loads(content)
    words = np.arange(-(2**bits), 2**bits + 1)
    for name, cuts in source.class_cuts.items():
        for percent, cut in cuts.items():
            own = manifest[f"{CUT_PREFIXES[name]}class_cuts"][percent]
            if not np.array_equal(words > own["integer"], words / 2**bits > cut):
                raise ExportError(
                    f"the cut on {name} for {percent} % came back as {own['integer']}, "
                    f"which does not keep the outputs above {cut:.9g}"
                )
    return {"cuts": "exact"}


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
