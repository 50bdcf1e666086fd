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

from nnt.tracks.table import Tracks

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
        if len({len(array) for array in arrays.values()}) != 1:
            return None
        return Tracks(
            ids=arrays.pop("ids"),
            inputs=arrays.pop("inputs"),
            targets=arrays.pop("targets"),
            reference=arrays.pop("reference", None),
            extras=arrays,
        )
    except (OSError, ValueError, KeyError, EOFError):
        return None


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
