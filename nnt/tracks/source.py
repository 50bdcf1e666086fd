"""Where the rows of a table come from: the lines of which files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnt.types import I64

__all__ = ["Source", "SourceFile", "version_of"]


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
        if self.rows is not None:
            return Source(self.files, self.rows[chosen])
        n_rows = sum(file.n_rows for file in self.files)
        if isinstance(chosen, slice):
            return Source(self.files, np.arange(*chosen.indices(n_rows)))
        return Source(self.files, np.arange(n_rows)[chosen])

    @property
    def is_in_order(self) -> bool:
        """Whether each row follows the one before, in the files as in the table."""
        return self.rows is None or bool((np.diff(self.rows) > 0).all())

    @staticmethod
    def joined(parts: Sequence[Source | None]) -> Source | None:
        """All files in a row; None where a part is not known, or not whole."""
        files: tuple[SourceFile, ...] = ()
        for part in parts:
            if part is None or part.rows is not None:
                return None
            files += part.files
        return Source(files)
