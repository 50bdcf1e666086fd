"""Write the files of a target, then hand them out with their manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nnt import __version__
from nnt.errors import ExportError, NNTError, did_you_mean
from nnt.export.classic_files import write_basf2, write_fpga, write_json
from nnt.export.hough3d_files import write_3dh
from nnt.export.onnx_files import write_onnx
from nnt.export.settings import Settings
from nnt.export.source import Source
from nnt.files import write_atomically
from nnt.fixedpoint import check_precision

__all__ = ["MANIFEST", "TARGETS", "export"]

log = logging.getLogger(__name__)

MANIFEST = "MANIFEST.json"

Write = Callable[
    [Source, Path, Settings | None, tuple[int, ...] | None], dict[str, Any]
]

TARGETS: dict[str, Write] = {
    "json": write_json,
    "basf2": write_basf2,
    "fpga": write_fpga,
    "3dh": write_3dh,
    "onnx": write_onnx,
}
"""Target -> what writes its files into a folder and reads them back."""


def export(
    source: Source,
    target: str,
    folder: Path,
    *,
    settings: Settings | None = None,
    precision: tuple[int, ...] | None = None,
    saturate_13_bit: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write files for deployment; nothing is left where a check fails.

    Parameters
    ----------
    source : Source
        Trained experts.
    target : str
        A key of `TARGETS`.
    folder : Path
        Made if it is not there; it gets the files and ``MANIFEST.json``.
    settings : Settings, optional
        The configuration with which BASF2 wrote the training data; default: that
        of NNT's detector.
    precision : tuple of 6 int, optional
        Fractional bits in place of those that the experts were trained for, or
        else those of the settings.
    saturate_13_bit : bool
        For ``onnx``: keep integer outputs in a signed word.
    overwrite : bool
        Replace files that are there.

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
        raise ExportError(f"target {target!r}: {did_you_mean(target, TARGETS)}")
    if precision is not None:
        _check_bits(precision)
    write = TARGETS[target]
    if saturate_13_bit:
        if target != "onnx":
            raise ExportError(
                f"{target}: saturate_13_bit is for graphs that compute outputs (onnx); "
                "these files hold weights, and the firmware's words do the rest"
            )
        write = partial(write_onnx, saturate_13_bit=True)
    with tempfile.TemporaryDirectory(prefix="nnt-export-") as made:
        work = Path(made)
        report = write(source, work, settings, precision)
        names = sorted(path.name for path in work.iterdir())
        manifest = {
            "nnt_version": __version__,
            "target": target,
            "source": source.name,
            **source.facts,
            **report,
            "files": {name: _entry(work / name) for name in names},
        }
        text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
        (work / MANIFEST).write_text(text, encoding="utf-8")
        _hand_out(work, [*names, MANIFEST], folder, overwrite)
    return manifest


def _check_bits(precision: tuple[int, ...]) -> None:
    try:
        check_precision(precision)
    except NNTError as err:
        raise ExportError(str(err)) from err


def _entry(path: Path) -> Mapping[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _hand_out(work: Path, names: list[str], folder: Path, overwrite: bool) -> None:
    there = [name for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise ExportError(
            f"{folder}: holds {', '.join(there)} already; choose another folder, or "
            "give --overwrite to replace them"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The manifest comes last: a folder with one is complete.
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in names:
            write_atomically(folder / name, (work / name).read_bytes())
    except OSError as err:
        raise ExportError(f"{folder}: cannot be written ({err.strerror})") from err
    log.info("%s: %d files", folder, len(names))
