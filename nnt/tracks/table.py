"""The table of tracks in memory. Reading and writing files does not belong here."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnt.detector import N_INPUTS, N_SUPERLAYERS
from nnt.types import F32, I64

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "EXTRA_FLOATS",
    "EXTRA_INTS",
    "ID_COLUMNS",
    "INPUT_COLUMNS",
    "NEW_COLUMNS",
    "NEW_RAW_COLUMNS",
    "RAW_COLUMNS",
    "REFERENCE_COLUMNS",
    "SIZE_COLUMNS",
    "TARGET_COLUMNS",
    "Tracks",
    "concatenate",
    "make_ids",
]


ID_COLUMNS = ("Experiment", "Run", "Subrun", "Event", "Track", "nTracks", "Expert")
SIZE_COLUMNS = ("iNodes", "oNodes")
INPUT_COLUMNS = tuple(
    f"SL{sl}-{kind}"
    for sl in range(N_SUPERLAYERS)
    for kind in ("relID", "driftT", "alpha")
)
TARGET_COLUMNS = ("RecoZ", "RecoTheta")
REFERENCE_COLUMNS = ("ScaleZ", "ScaleTheta")
RAW_COLUMNS = ("RawZ", "RawTheta")
NEW_COLUMNS = ("NewZ", "NewTheta")
NEW_RAW_COLUMNS = ("NewRawZ", "NewRawTheta")
EXTRA_INTS = (*RAW_COLUMNS, *NEW_RAW_COLUMNS)
EXTRA_FLOATS = ("2DPhi", "3DTheta", "2DinvPt", *NEW_COLUMNS)

ID_DTYPE = np.dtype([(name, np.int64) for name in ID_COLUMNS])
EVENT_COLUMNS = ("Experiment", "Run", "Subrun", "Event")


def make_ids(columns: Mapping[str, npt.ArrayLike], n_rows: int) -> npt.NDArray[Any]:
    """Build the structured id array; columns that are not given are zero."""
    ids = np.zeros(n_rows, dtype=ID_DTYPE)
    for name, values in columns.items():
        ids[name] = values
    return ids


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """One row per trigger track and expert, as BASF2 writes them."""

    ids: npt.NDArray[Any]
    """Shape (N,), structured, one int64 field per name of `ID_COLUMNS`."""
    inputs: F32
    """Shape (N, 27), scaled; a missing superlayer is exactly 0 0 0."""
    targets: F32
    """Shape (N, 2): z and theta of the reconstructed track, scaled."""
    reference: F32 | None = None
    """Shape (N, 2): outputs of the network that ran, scaled; None without one."""
    extras: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """Further columns that the files held, shape (N,) each."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: npt.NDArray[Any] | slice) -> Tracks:
        return dataclasses.replace(
            self,
            ids=self.ids[rows],
            inputs=self.inputs[rows],
            targets=self.targets[rows],
            reference=None if self.reference is None else self.reference[rows],
            extras={name: values[rows] for name, values in self.extras.items()},
        )

    @property
    def expert(self) -> I64:
        """Expert that serves each row, shape (N,)."""
        expert: I64 = self.ids["Expert"]
        return expert

    @property
    def event_index(self) -> I64:
        """Dense number of the event of each row, in order of first appearance."""
        keys = [self.ids[name] for name in reversed(EVENT_COLUMNS)]
        order = np.lexsort(keys)
        new = np.zeros(len(self), dtype=np.bool_)
        for key in keys:
            new[1:] |= key[order][1:] != key[order][:-1]
        group = np.empty(len(self), dtype=np.int64)
        group[order] = np.cumsum(new)
        _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        index: I64 = rank[inverse]
        return index

    @property
    def digest(self) -> str:
        """sha256 over ids, inputs, targets and reference."""
        sha = hashlib.sha256(str(len(self)).encode())
        for part in (self.ids, self.inputs, self.targets, self.reference):
            if part is not None:
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

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All columns under their names in the files, in the files' order."""
        n_rows, n_outputs = len(self), self.targets.shape[1]
        named: dict[str, npt.NDArray[Any]] = {n: self.ids[n] for n in ID_COLUMNS}
        named["iNodes"] = np.full(n_rows, N_INPUTS)
        named["oNodes"] = np.full(n_rows, n_outputs)
        named |= dict(zip(INPUT_COLUMNS, self.inputs.T, strict=True))
        named |= dict(zip(TARGET_COLUMNS, self.targets.T, strict=True))
        reference = (
            np.zeros((n_rows, 2), np.float32)
            if self.reference is None
            else self.reference
        )
        zero = np.zeros(n_rows, dtype=np.int64)
        for i, raw in enumerate(RAW_COLUMNS):
            named[REFERENCE_COLUMNS[i]] = reference[:, i]
            named[raw] = self.extras.get(raw, zero)
        further = (*EXTRA_FLOATS, *NEW_RAW_COLUMNS)
        return named | {n: self.extras[n] for n in further if n in self.extras}

    def to_frame(self) -> pd.DataFrame:
        """As a pandas table with the column names of the files."""
        import pandas as pd

        return pd.DataFrame(self.columns())


def concatenate(tables: Sequence[Tracks]) -> Tracks:
    """Put tables one after the other; extras that not all have are dropped."""
    if len(tables) == 1:
        return tables[0]
    # A list: the order of a set of names changes from process to process.
    shared = [n for n in tables[0].extras if all(n in t.extras for t in tables)]
    references = [t.reference for t in tables if t.reference is not None]
    return Tracks(
        ids=np.concatenate([t.ids for t in tables]),
        inputs=np.concatenate([t.inputs for t in tables]),
        targets=np.concatenate([t.targets for t in tables]),
        reference=(
            np.concatenate(references) if len(references) == len(tables) else None
        ),
        extras={n: np.concatenate([t.extras[n] for t in tables]) for n in shared},
    )
