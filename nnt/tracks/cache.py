"""Parsed tables kept by a key that identifies their content, such as a file hash."""

from __future__ import annotations

import io
import json
import logging
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nnt.files import cache_dir
from nnt.tracks.table import ID_DTYPE, OPTIONAL, REQUIRED, Tracks, concatenate

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
"""Raise it when the parsed table changes its form or meaning."""


def _place(key: str) -> Path:
    return cache_dir() / "tracks" / f"{key}-v{FORMAT_VERSION}"


def load(key: str) -> Tracks | None:
    """Map a cached table into memory; None if there is none that is whole."""
    place = _place(key)
    try:
        names = json.loads((place / "whole.json").read_text(encoding="utf-8"))
        arrays = {
            name: np.load(place / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in names
        }
        required = {name: arrays.pop(name) for name in REQUIRED}
        optional = {name: arrays.pop(name, None) for name in OPTIONAL}
        tracks = Tracks(**required, **optional, extras=arrays)
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None
    return tracks if _fits(tracks) else None


def _fits(tracks: Tracks) -> bool:
    """Whether what was found has the form of a table."""
    n_rows = tracks.ids.shape[0]
    sizes = [(n_rows, n_inputs) for n_inputs in tracks.chain.input_sizes]
    pairs = (tracks.targets, tracks.reference, tracks.classes)
    flat = (tracks.track_type, *tracks.extras.values())
    return (
        tracks.ids.dtype == ID_DTYPE
        and tracks.inputs.shape in sizes
        and tracks.inputs.dtype == np.float32
        and all(
            pair.shape == (n_rows, 2) and pair.dtype == np.float32
            for pair in pairs
            if pair is not None
        )
        and all(v.shape == (n_rows,) for v in flat if v is not None)
    )


def may_hold(ending: str) -> bool:
    """Whether a table is kept, whole or not, whose key has this ending."""
    return any((cache_dir() / "tracks").glob(f"*{ending}-v{FORMAT_VERSION}"))


def kept(
    key: Callable[[], str], parts: Callable[[], Iterable[Tracks]], *, look: bool = True
) -> Tracks:
    """Load a table, or make and keep it; it lives in memory where no cache takes it.

    Key and parts, the rows in their order, are asked for only when they are needed;
    `look` tells whether the table may be there already.
    """
    tracks = load(key()) if look else None
    if tracks is None and store_parts(key, parts()):
        tracks = load(key())
    return concatenate(list(parts())) if tracks is None else tracks


def store_parts(key: Callable[[], str], parts: Iterable[Tracks]) -> bool:
    """Keep a table that comes in parts, of which only one is in memory at a time.

    The key is asked for when all parts are there. False where the table could not be
    kept, such as on a full or read-only disk; a warning tells why.
    """
    folder = cache_dir() / "tracks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not mkdtemp: colleagues may share a cache, as far as the umask allows.
        draft = folder / f".draft-{secrets.token_hex(8)}"
        draft.mkdir()
        try:
            _write(draft, parts)
            place = _place(key())
            if place.exists():
                shutil.rmtree(place)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as err:
        reason = err.strerror or err
        log.warning("the table could not be cached in %s: %s", folder, reason)
        return False
    return True


def _write(draft: Path, parts: Iterable[Tracks]) -> None:
    """Append each part to one file per column; the lengths are known at the end."""
    n_rows, headers = 0, {}
    for part in parts:
        n_rows += len(part)
        columns = {name: getattr(part, name) for name in (*REQUIRED, *OPTIONAL)}
        for name, array in (columns | dict(part.extras)).items():
            if array is None:
                continue
            with (draft / f"{name}.npy").open("ab") as out:
                if name not in headers:
                    out.write(_header(array, 0))
                out.write(np.ascontiguousarray(array).view(np.uint8).data)
            headers[name] = _header(array, n_rows)
    for name, header in headers.items():
        with (draft / f"{name}.npy").open("r+b") as out:
            out.write(header)
    (draft / "whole.json").write_text(json.dumps(list(headers)), encoding="utf-8")


def _header(array: np.ndarray[Any, Any], n_rows: int) -> bytes:
    """Header of a .npy file, equally long for every number of rows."""
    out, shape = io.BytesIO(), (n_rows, *array.shape[1:])
    descr = np.lib.format.dtype_to_descr(array.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue()
