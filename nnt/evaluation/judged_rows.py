"""The rows on which networks are judged."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnt.errors import DataError, TrackingError
from nnt.evaluation.loaded_run import LoadedRun
from nnt.progress import show_progress
from nnt.tracks import Tracks, read_tracks
from nnt.training.data import load_split

__all__ = ["JudgedRows", "rows_for"]

log = logging.getLogger(__name__)

DEFAULT_SPLIT = "test"


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedRows:
    """A table and where it comes from."""

    label: str
    """Short name, fit for metrics and folders."""
    tracks: Tracks
    digest: str
    source: str
    split: str | None
    """Split of the training whose rows these are; None for any others."""


def rows_for(
    loaded: LoadedRun,
    data: str | Path | Sequence[str | Path],
    split: str | None = None,
) -> JudgedRows:
    """Read the files given, or else a split of the data of the training.

    Raises
    ------
    DataError
        The rows cannot be read, or there are none.
    """
    files = [data] if isinstance(data, str | Path) else data
    if files:
        return _rows_of_files(files)
    split = split or DEFAULT_SPLIT
    if loaded.config is None:
        raise DataError(
            f"{loaded.text}: a weights file does not say on which tracks it was "
            "trained; name track files with --data"
        )
    tracks = load_split(loaded.config, split)
    digest = tracks.digest
    trained_on = _digest_of_training(loaded, split)
    if trained_on is None or trained_on == digest:
        return JudgedRows(
            label=split, tracks=tracks, digest=digest, source=split, split=split
        )
    log.warning(
        "%s: the rows have changed since the training (digest now %s, then %s)",
        split,
        digest[:12],
        trained_on[:12],
    )
    label = f"{split}_{digest[:8]}"
    return JudgedRows(
        label=label, tracks=tracks, digest=digest, source=split, split=None
    )


def _rows_of_files(files: Sequence[str | Path]) -> JudgedRows:
    with show_progress("Reading", "bytes") as progress:
        tracks = read_tracks(list(files), progress=progress)
    digest = tracks.digest
    stem = re.sub(r"\W+", "_", Path(files[0]).name.split(".")[0])
    return JudgedRows(
        label=f"{stem}_{digest[:8]}",
        tracks=tracks,
        digest=digest,
        source=", ".join(str(file) for file in files),
        split=None,
    )


def _digest_of_training(loaded: LoadedRun, split: str) -> str | None:
    """Digest of the rows as the training saw them, where the run records it."""
    if loaded.run is None:
        return None
    try:
        digest = json.loads(loaded.run.read_text("summary.json"))["data"][split]
    except (TrackingError, ValueError, LookupError, TypeError):
        return None
    return digest if isinstance(digest, str) else None
