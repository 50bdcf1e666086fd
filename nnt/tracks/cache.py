"""Parsed tables kept by the hash of the bytes that they came from."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import platformdirs

from nnt.detector import N_INPUTS
from nnt.tracks.table import ID_DTYPE, Tracks

__all__ = ["cache_dir", "load", "store"]

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
"""Raise it when the parsed table changes its form or meaning."""


def cache_dir() -> Path:
    """Directory of the cache; the variable ``NNT_CACHE_DIR`` moves it."""
    return Path(os.environ.get("NNT_CACHE_DIR") or platformdirs.user_cache_dir("nnt"))


def _place(digest: str) -> Path:
    return cache_dir() / "tracks" / f"{digest}-v{FORMAT_VERSION}"


def load(digest: str) -> Tracks | None:
    """Map a cached table into memory; None if there is none that is whole."""
    place = _place(digest)
    try:
        names = json.loads((place / "whole.json").read_text(encoding="utf-8"))
        arrays = {
            name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in names
        }
        tracks = Tracks(
            ids=arrays.pop("ids"),
            inputs=arrays.pop("inputs"),
            targets=arrays.pop("targets"),
            reference=arrays.pop("reference", None),
            extras=arrays,
        )
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None
    return tracks if _fits(tracks) else None


def _fits(tracks: Tracks) -> bool:
    """Whether what was found has the form of a table."""
    n_rows = tracks.ids.shape[0]
    float_32 = np.dtype(np.float32)
    pairs = [tracks.targets]
    if tracks.reference is not None:
        pairs.append(tracks.reference)
    return (
        tracks.ids.dtype == ID_DTYPE
        and (tracks.inputs.shape, tracks.inputs.dtype) == ((n_rows, N_INPUTS), float_32)
        and all((p.shape, p.dtype) == ((n_rows, 2), float_32) for p in pairs)
        and all(values.shape == (n_rows,) for values in tracks.extras.values())
    )


def store(digest: str, tracks: Tracks) -> None:
    """Keep a table; a full or read-only disk costs only the speed of next time."""
    place = _place(digest)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=".draft-"))
        try:
            _write(draft, tracks)
            if place.exists():
                shutil.rmtree(place)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as err:
        log.warning("the parsed table could not be cached in %s: %s", place, err)


def _write(draft: Path, tracks: Tracks) -> None:
    arrays = {"ids": tracks.ids, "inputs": tracks.inputs, "targets": tracks.targets}
    if tracks.reference is not None:
        arrays["reference"] = tracks.reference
    arrays |= dict(tracks.extras)
    for name, array in arrays.items():
        np.save(draft / f"{name}.npy", array, allow_pickle=False)
    (draft / "whole.json").write_text(json.dumps(list(arrays)), encoding="utf-8")
