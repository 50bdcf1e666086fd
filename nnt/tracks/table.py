"""The table of tracks in memory. Reading and writing files does not belong here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnt.detector import CLASSIC, HOUGH3D, N_INPUTS, N_SUPERLAYERS, N_TARGETS, Chain
from nnt.errors import DataError
from nnt.types import F32, I64, BoolArray

if TYPE_CHECKING:
    import pandas as pd

INPUT_KINDS = ("relID", "driftT", "alpha")


def input_columns(n_inputs: int) -> tuple[str, ...]:
    """Names of the inputs, superlayer by superlayer; 27 or 126 of them."""
    more = n_inputs // N_SUPERLAYERS - len(INPUT_KINDS)
    kinds = (*INPUT_KINDS, *(f"extra_input{i}" for i in range(more)))
    return tuple(f"SL{sl}-{kind}" for sl in range(N_SUPERLAYERS) for kind in kinds)


EVENT_COLUMNS = ("Experiment", "Run", "Subrun", "Event")
ID_COLUMNS = (*EVENT_COLUMNS, "Track", "nTracks", "Expert")
SIZE_COLUMNS = ("iNodes", "oNodes")
INPUT_COLUMNS = input_columns(N_INPUTS)
TARGET_COLUMNS = ("RecoZ", "RecoTheta")
REFERENCE_COLUMNS = ("ScaleZ", "ScaleTheta")
RAW_COLUMNS = ("RawZ", "RawTheta")
NEW_COLUMNS = {"z": "NewZ", "theta": "NewTheta", "nnt": "NewNNT", "stt": "NewSTT"}
"""What networks predict, by the name of the output, in network units."""
NEW_RAW_COLUMNS = {k: name.replace("New", "NewRaw") for k, name in NEW_COLUMNS.items()}
"""The same as integers of the firmware."""
TYPE_NAMES = ("real", "background", "fake_of_empty_event", "fake", "unknown")
"""By track type."""
FAKE_TYPES = (2, 3)
"""Track types of fake tracks."""
EXTRA_INTS = (*RAW_COLUMNS, *NEW_RAW_COLUMNS.values())
EXTRA_FLOATS = ("2DPhi", "3DTheta", "2DinvPt", *NEW_COLUMNS.values())
CLASS_COLUMNS = ("RecoNNTClassification", "RecoSTTClassification")
TYPE_COLUMN = "TrackType"

ID_DTYPE = np.dtype([(name, np.int64) for name in ID_COLUMNS])
REQUIRED = ("ids", "inputs", "targets")
OPTIONAL = ("reference", "classes", "track_type")
"""Arrays that a table may lack."""
UNNAMED_EVENTS = -1
"""Experiment of rows whose files name no events."""


def version_of(descriptor: int) -> tuple[int, int]:
    """Bytes of an open file, and nanoseconds of its last modification."""
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file as it was when it was read."""

    path: Path
    """Absolute: the working directory may change."""
    version: tuple[int, int]
    """What `version_of` said."""
    n_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Rows of files, in the order of the files."""

    files: tuple[SourceFile, ...]
    rows: I64 | None = None
    """Numbers of the rows, counted from 0 through all files; None: all of them."""

    def __getitem__(self, chosen: npt.NDArray[Any] | slice) -> Source:
        rows = self.rows
        if rows is None:
            rows = np.arange(sum(file.n_rows for file in self.files))
        return Source(self.files, rows[chosen])

    @property
    def is_in_order(self) -> bool:
        """Whether each row follows the one before, in the files as in the table."""
        return self.rows is None or bool((np.diff(self.rows) > 0).all())

    @staticmethod
    def joined(parts: Sequence[Source | None]) -> Source | None:
        """All files in a row; None where a part is not known, or not whole."""
        whole = [part for part in parts if part is not None and part.rows is None]
        if len(whole) < len(parts):
            return None
        return Source(tuple(file for part in whole for file in part.files))


def grouped(keys: Sequence[npt.NDArray[Any]]) -> tuple[I64, BoolArray]:
    """Bring rows of equal keys together, in their order, the last key counting most.

    Returns
    -------
    order : int64 array, shape (N,)
        Number of the row at each place.
    starts : bool array, shape (N,)
        Whether a place is the first of a group, and so its first row.
    """
    order = np.lexsort(keys)  # stable
    starts = np.arange(len(order)) == 0
    for key in keys:
        along = key[order]
        starts[1:] |= along[1:] != along[:-1]
    return order, starts


def make_ids(columns: Mapping[str, npt.ArrayLike], n_rows: int) -> npt.NDArray[Any]:
    """Build the structured id array; columns that are not given are zero."""
    ids = np.zeros(n_rows, dtype=ID_DTYPE)
    for name, values in columns.items():
        ids[name] = values
    return ids


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Tracks:
    """One row per trigger track and expert, or per track, as BASF2 writes them."""

    ids: npt.NDArray[Any]
    """Shape (N,), structured, one int64 field per name of `ID_COLUMNS`."""
    inputs: F32
    """Shape (N, 27) or (N, 126), scaled; a missing superlayer is exactly 0 0 0."""
    targets: F32
    """Shape (N, 2): z and theta of the reconstructed track, scaled."""
    reference: F32 | None = None
    """Shape (N, 2): outputs of the network that ran, scaled; NaN in rows without
    one; None if no row has one."""
    extras: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """Further columns that the files held, shape (N,) each."""
    classes: F32 | None = None
    """Shape (N, 2): NNT and STT, each -1 or 1; None in the classic chain."""
    track_type: I64 | None = None
    """Shape (N,), from 0: real, background, fake of an event without tracks, fake
    of one with tracks, unknown; None in the classic chain."""
    source: Source | None = None
    """The lines of files that the rows are from, where they are from files."""

    @property
    def chain(self) -> Chain:
        """Chain of the trigger that the rows are of."""
        return CLASSIC if self.track_type is None else HOUGH3D

    @property
    def fake(self) -> BoolArray | None:
        """Fake tracks, shape (N,); None in the classic chain."""
        types = self.track_type
        return None if types is None else np.isin(types, FAKE_TYPES)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        held = [name for name in OPTIONAL if getattr(self, name) is not None]
        parts = ["ids", f"inputs {self.inputs.shape}", "targets", *held, *self.extras]
        return f"<Tracks, {self.chain.name}: {len(self):,} rows of {', '.join(parts)}>"

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Tracks:
        chosen: dict[str, Any] = {}
        for name in (*REQUIRED, *OPTIONAL, "source"):
            values = getattr(self, name)
            chosen[name] = None if values is None else values[rows]
        extras = {name: column[rows] for name, column in self.extras.items()}
        return Tracks(**chosen, extras=extras)

    @property
    def inputs_by_superlayer(self) -> F32:
        """Shape (N, 9, 3) or (N, 9, 14): relID, drift time, crossing angle, pattern."""
        n_kinds = self.inputs.shape[1] // N_SUPERLAYERS
        return self.inputs.reshape(len(self), N_SUPERLAYERS, n_kinds)

    @property
    def expert(self) -> I64:
        """Expert that serves each row, shape (N,)."""
        expert: I64 = self.ids["Expert"]
        return expert

    @property
    def event_index(self) -> I64:
        """Dense number of the event of each row, in order of first appearance."""
        order, starts = grouped([self.ids[name] for name in reversed(EVENT_COLUMNS)])
        rank = np.argsort(np.argsort(order[starts]))
        index = np.empty(len(self), dtype=np.int64)
        index[order] = rank[np.cumsum(starts) - 1]
        return index

    @property
    def digest(self) -> str:
        """sha256 over ids, inputs, targets, reference, classes and track types."""
        sha = hashlib.sha256(str(len(self)).encode())
        for name in (*REQUIRED, *OPTIONAL):
            if (part := getattr(self, name)) is not None:
                sha.update(np.ascontiguousarray(part).view(np.uint8).data)
        return sha.hexdigest()

    @property
    def pt_gev(self) -> F32 | None:
        """Transverse momentum of the trigger track, where the file has it."""
        inverse = self.extras.get("2DinvPt")
        if inverse is None:
            return None
        with np.errstate(divide="ignore"):
            pt: F32 = (1 / np.abs(inverse)).astype(np.float32)
        return pt

    @property
    def whole_reference(self) -> F32 | None:
        """Reference outputs, shape (N, 2); None unless every row has them."""
        if self.reference is None or np.isnan(self.reference).any():
            return None
        return self.reference

    @property
    def names_events(self) -> bool:
        """Whether the files said which rows are of one event; else each is its own."""
        return not (self.ids["Experiment"] == UNNAMED_EVENTS).any()

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All columns under their names in the files, in the files' order."""
        classic = self.chain is CLASSIC
        ids = ID_COLUMNS if classic else EVENT_COLUMNS if self.names_events else ()
        named: dict[str, npt.NDArray[Any]] = {name: self.ids[name] for name in ids}
        if classic:
            for name, size in zip(SIZE_COLUMNS, (N_INPUTS, N_TARGETS), strict=True):
                named[name] = np.broadcast_to(np.int64(size), len(self))
        names = (*input_columns(self.inputs.shape[1]), *TARGET_COLUMNS)
        named |= dict(zip(names, (*self.inputs.T, *self.targets.T), strict=True))
        if classic:
            named |= self._reference_columns()
        if self.classes is not None and self.track_type is not None:
            named |= dict(zip(CLASS_COLUMNS, self.classes.T, strict=True))
            named[TYPE_COLUMN] = self.track_type
        further = (*EXTRA_FLOATS, *NEW_RAW_COLUMNS.values())
        return named | {n: self.extras[n] for n in further if n in self.extras}

    def _reference_columns(self) -> dict[str, npt.NDArray[Any]]:
        """Zeros are what BASF2 writes where no network has run."""
        reference = self.whole_reference
        if reference is None:
            zeros = np.zeros((len(self), 2), np.float32)
            held = self.reference
            reference = zeros if held is None else np.nan_to_num(held)
        named: dict[str, npt.NDArray[Any]] = {}
        for i, raw in enumerate(RAW_COLUMNS):
            named[REFERENCE_COLUMNS[i]] = reference[:, i]
            named[raw] = self.extras.get(raw, np.zeros(len(self), dtype=np.int64))
        return named

    def to_frame(self) -> pd.DataFrame:
        """As a pandas table with the column names of the files."""
        import pandas as pd

        return pd.DataFrame(self.columns())


def concatenate(tables: Sequence[Tracks]) -> Tracks:
    """Put tables one after the other; extras that not all have are dropped.

    Raises
    ------
    DataError
        They are of different chains, or have different numbers of inputs.
    """
    if len(tables) == 1:
        return tables[0]
    kinds = {
        f"the {t.chain.name} chain with {t.inputs.shape[1]} inputs" for t in tables
    }
    if len(kinds) > 1:
        raise DataError(
            f"tables of {' and '.join(sorted(kinds))} cannot be joined; use files of "
            "one kind"
        )

    def joined(name: str) -> Any:
        """All parts in a row; None if one is missing."""
        parts = [getattr(t, name) for t in tables]
        return None if any(p is None for p in parts) else np.concatenate(parts)

    # A list: the order of a set of names changes from process to process.
    shared = [n for n in tables[0].extras if all(n in t.extras for t in tables)]
    return Tracks(
        **{name: joined(name) for name in (*REQUIRED, *OPTIONAL)},
        extras={n: np.concatenate([t.extras[n] for t in tables]) for n in shared},
        source=Source.joined([t.source for t in tables]),
    )
