"""Track files: NNT's reader beside general ones, from the cache, and its memory.

``python -m bench read`` prints wall and CPU time of one reading of the same rows as
plain text, as one gzip member and as one member per row (the form of BASF2), by NNT
(parsed and put into the cache, then from the cache), ``numpy.loadtxt``, pandas and
pyarrow, measured in turn, medians of several rounds. Then time and peak memory of
NNT in a process of its own against the number of rows.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as csv

from bench._frame import Times, median, read_options, timed
from nnt.simulation import simulate
from nnt.tracks import Tracks, read_tracks, write_tracks

ROWS = 200_000
LARGER = (200_000, 1_000_000, 5_000_000)
ONCE_FROM_ROWS = 2_000_000
KINDS = ("plain", "gz, one member", "gz, a member per row")
NNT = "NNT, first time"
CACHED = "NNT, from the cache"

MEASURED = """
import json, sys, time
from pathlib import Path
from nnt.tracks import read_tracks
import nnt.tracks.parsing
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
before, start, cpu = peak(), time.perf_counter(), time.process_time()
tracks = read_tracks(sys.argv[1], use_cache=sys.argv[2] == "cache")
took = time.perf_counter() - start, time.process_time() - cpu
arrays = [tracks.ids, tracks.inputs, tracks.targets, *tracks.extras.values()]
arrays += [] if tracks.reference is None else [tracks.reference]
touched = sum(float(a.view("u1").max()) for a in arrays)
size = sum(a.nbytes for a in arrays)
print(json.dumps([*took, (peak() - before) / size, size]))
"""
"""Every page of the table is touched in the end: mapped memory counts as well."""


def main() -> None:
    """Print the tables."""
    options = read_options(__doc__, rounds=5, rows=ROWS, larger=LARGER)
    rows = simulate(int(options.rows * 1.1), seed=1)[: options.rows]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NNT_CACHE_DIR"] = str(Path(folder, "cache"))
        files = dict(zip(KINDS, _write(rows, Path(folder)), strict=True))
        _print_readers(files, len(rows), options.rounds)
        _print_larger(files[KINDS[0]], options.larger, options.rounds)


def _write(rows: Tracks, folder: Path) -> list[Path]:
    plain, single, members = (folder / name for name in ("a.txt", "b.gz", "c.gz"))
    write_tracks(rows, plain)
    write_tracks(rows, single)
    with plain.open("rb") as lines, members.open("wb") as out:
        for line in lines:
            out.write(gzip.compress(line, 6, mtime=0))
    return [plain, single, members]


def _again(path: Path) -> object:
    tracks = read_tracks(path)
    return tracks.inputs.sum(), tracks.targets.sum(), tracks.ids["Event"].sum()


def _loadtxt(path: Path) -> object:
    return np.loadtxt(path, skiprows=2)


def _pandas(path: Path) -> object:
    zipped = path.suffix == ".gz"
    return pd.read_csv(
        path, sep="\t", index_col=False, compression="gzip" if zipped else None
    )


def _pyarrow(path: Path) -> object:
    with pa.OSFile(str(path)) as file:
        stream = file
        if path.suffix == ".gz":
            stream = pa.CompressedInputStream(file, "gzip")
        names = [f"c{i}" for i in range(43)]
        return csv.read_csv(
            stream,
            read_options=csv.ReadOptions(column_names=names, skip_rows=2),
            parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=csv.ConvertOptions(include_columns=names[:42]),
        )


READERS: dict[str, Callable[[Path], object]] = {
    NNT: read_tracks,
    CACHED: _again,
    "numpy.loadtxt": _loadtxt,
    "pandas": _pandas,
    "pyarrow": _pyarrow,
}


def _print_readers(files: dict[str, Path], n_rows: int, rounds: int) -> None:
    for path in files.values():
        read_tracks(path)  # compiles, or loads what was compiled
    timed_in: dict[tuple[str, str], list[Times]] = defaultdict(list)
    for _ in range(rounds):
        for kind, path in files.items():
            shutil.rmtree(os.environ["NNT_CACHE_DIR"], ignore_errors=True)
            for name, read in READERS.items():
                timed_in[kind, name].append(timed(partial(read, path)))
    print(
        f"{n_rows:,} rows, {os.cpu_count()} cores, medians of {rounds} rounds: wall s "
        "(CPU s), and times that of NNT's first reading by either clock"
    )
    print(f"{'':22}" + "".join(f"{kind:>32}" for kind in files))
    for name in READERS:
        print(f"{name:22}", end="")
        for kind in files:
            found, ours = median(timed_in[kind, name]), median(timed_in[kind, NNT])
            print(f"{f'{found} {found.over(ours)}':>32}", end="")
        print()


def _print_larger(plain: Path, sizes: list[int], rounds: int) -> None:
    header, rows = plain.read_bytes().split(b"\n\n", 1)
    packed = gzip.compress(rows, 2)
    own_rows = rows.count(b"\n")
    print(
        f"\nNNT in a process of its own, gz with {own_rows:,} rows a member: wall s "
        "(CPU s), CPU us a row, peak memory over the table's size"
    )
    ways = {"first": "cache", "from the cache": "cache", "without cache": "none"}
    print(f"{'rows':>11} {'table MB':>9}" + "".join(f"{way:>36}" for way in ways))
    for n_rows in sizes:
        path = plain.with_name("larger.gz")
        with path.open("wb") as out:
            out.write(gzip.compress(header + b"\n\n"))
            for _ in range(n_rows // own_rows):
                out.write(packed)
        measured: dict[str, list[Any]] = {way: [] for way in ways}
        for _ in range(rounds if n_rows <= ONCE_FROM_ROWS else 1):
            shutil.rmtree(os.environ["NNT_CACHE_DIR"], ignore_errors=True)
            for way, cache in ways.items():
                measured[way].append(_in_its_own_process(path, cache))
        size = measured["first"][0][3]
        print(f"{n_rows:11,} {size / 1e6:9,.0f}", end="")
        for way in ways:
            wall, cpu, memory, _ = np.median(measured[way], axis=0)
            told = f"{wall:.2f} ({cpu:.2f})  {cpu / n_rows * 1e6:.2f}  {memory:.2f}"
            print(f"{told:>36}", end="")
        print(flush=True)
        path.unlink()


def _in_its_own_process(path: Path, cache: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path), cache],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)
