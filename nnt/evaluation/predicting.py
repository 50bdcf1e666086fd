"""Write what the networks of a run say of every track of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnt.errors import DataError
from nnt.evaluation.judged import load_networks
from nnt.fixedpoint import FixedPointNetworks
from nnt.judging import predicted_outputs
from nnt.networks import Networks
from nnt.progress import show_progress
from nnt.tracks import check_outputs, read_tracks, write_tracks


def predict(
    run: str,
    files: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    fixed_point: bool = False,
    precision: Sequence[int] | None = None,
    saturate_13_bit: bool = False,
    overwrite: bool = False,
) -> dict[Path, int]:
    """Append ``NewZ``, ``NewTheta``, ``NewNNT``, ``NewSTT`` to the tracks of files.

    As far as the networks have these outputs; all are in network units. In the
    firmware's integers, ``NewRawZ`` and the like follow: the integers themselves,
    which are ``2**precision[3]`` times the others (``2**12`` in the 3D Hough chain).

    Parameters
    ----------
    run : str
        As in `load_networks`.
    files : path or sequence of paths
        Track files.
    output : path
        File for the rows of all files, one after the other; or a directory that
        is there, for a file of the same name for each. Names that end in ``.gz``
        are compressed.
    fixed_point : bool
        Compute in the integer arithmetic of the firmware.
    precision : sequence of 6 int, optional
        Its fractional bits; default: those for which the networks were trained.
    saturate_13_bit : bool
        Keep integers in a signed word, as `nnt.fixedpoint.classic` does.
    overwrite : bool
        Replace files that are there already, never those that are read.

    Returns
    -------
    dict of Path to int
        Rows of each file that was written.

    Raises
    ------
    TrackingError
        There is no such run, or it holds no weights.
    DataError
        A file cannot be read or written, or holds rows of an expert that the run
        lacks, or the precision is none.
    ExportError
        The firmware cannot hold the networks.
    """
    listed = [files] if isinstance(files, str | Path) else list(files)
    sources = [Path(file) for file in listed]
    jobs = _jobs(sources, Path(output))
    check_outputs(list(jobs), sources, overwrite=overwrite)
    networks = load_networks(run)
    if fixed_point:
        networks = FixedPointNetworks(
            networks, precision, saturate_13_bit=saturate_13_bit
        )
    return {path: _predict(networks, own, path) for path, own in jobs.items()}


def _jobs(files: list[Path], output: Path) -> dict[Path, list[Path]]:
    """Which files go into which."""
    if not files:
        raise DataError("predict: expected at least one track file, found none")
    if not output.is_dir():
        return {output: files}
    jobs: dict[Path, list[Path]] = {}
    for file in files:
        path = output / file.name
        if path in jobs:
            raise DataError(
                f"{file} and {jobs[path][0]} have the same name, so they cannot both "
                f"go to {output}; write them to different directories"
            )
        jobs[path] = [file]
    return jobs


def _predict(networks: Networks, sources: list[Path], path: Path) -> int:
    with show_progress("Reading", "bytes") as progress:
        tracks = read_tracks(sources, progress=progress)
    output, whole = predicted_outputs(networks, tracks), None
    if isinstance(networks, FixedPointNetworks):
        unit = 2.0**networks.node_bits
        whole = {k: (values * unit).astype(np.int64) for k, values in output.items()}
    try:
        with show_progress(f"Writing {path.name}", "rows") as progress:
            write_tracks(
                tracks, path, new=output, new_raw=whole, as_read=True,
                progress=progress,
            )  # fmt: skip
    except BrokenPipeError:
        raise  # a reader that has had enough, such as `head`
    except OSError as err:
        raise DataError(f"{path}: cannot be written ({err.strerror})") from err
    return len(tracks)
