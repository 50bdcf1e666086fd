"""A stored run as event files for TensorBoard."""

from __future__ import annotations

import importlib.util
import logging
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from nnt.errors import ExportError, TrackingError
from nnt.files import make_folder
from nnt.progress import show_progress
from nnt.tracking.run import IMAGE
from nnt.tracking.stored_run import StoredRun, open_run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

MAX_IMAGE_BYTES = 64 << 20
IMAGE_FOLDERS = ("images", "plots", "evaluations")
NOTE = "mlflow.note.content"
MAX_DEPTH = 3
UNSAFE = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, slots=True)
class EventFiles:
    """What was written."""

    directory: Path
    """Of the run; below it is one directory for each nested run."""
    n_runs: int
    n_points: int
    n_images: int


def write_event_files(text: str, into: Path) -> EventFiles:
    """Write scalars, images and the description of a run and of those nested in it.

    Parameters
    ----------
    text : str
        The run, as `open_run` takes it.
    into : Path
        Directory; the run gets one of its own in it.

    Raises
    ------
    TrackingError
        There is no such run, or the store does not answer.
    ExportError
        TensorBoard is not installed, or the directory holds this run already.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ExportError(
            "tensorboard is not installed; pip install 'tensorboard>=2.17'"
        )
    run = open_run(text)
    directory = into / _folder(run, run.run_id[:8])
    if any(directory.rglob("events.out.tfevents.*")):
        raise ExportError(
            f"{directory} holds event files of this run already, and TensorBoard would "
            "mix them; remove it, or choose another directory"
        )
    family = list(_family(run, directory, MAX_DEPTH))
    n_points = n_images = 0
    with show_progress("Writing", "runs") as progress:
        for i, (member, place) in enumerate(family, start=1):
            points, images = _write(member, place)
            n_points, n_images = n_points + points, n_images + images
            progress(i, len(family))
    return EventFiles(directory, len(family), n_points, n_images)


def _folder(run: StoredRun, suffix: str = "") -> str:
    name = UNSAFE.sub("_", run.name)[:80].lstrip(".") or "run"
    return f"{name}_{suffix}" if suffix else name


def _family(
    run: StoredRun, place: Path, depth: int
) -> Iterator[tuple[StoredRun, Path]]:
    yield run, place
    taken: set[str] = set()
    for child in run.children() if depth else []:
        folder = _folder(child)
        if folder in taken:
            folder = _folder(child, child.run_id[:8])
        taken.add(folder)
        yield from _family(child, place / folder, depth - 1)


def _write(run: StoredRun, place: Path) -> tuple[int, int]:
    """Write a run; return how many points and images it has."""
    from torch.utils.tensorboard import SummaryWriter

    try:
        make_folder(place)
    except OSError as err:
        raise ExportError(f"{place}: {err.strerror}; choose another directory") from err
    writer = SummaryWriter(str(place))
    try:
        if run.tags.get(NOTE):
            writer.add_text("description", run.tags[NOTE], 0, run.start_ms / 1000)
        return _write_scalars(writer, run), _write_images(writer, run)
    finally:
        writer.close()


def _write_scalars(writer: SummaryWriter, run: StoredRun) -> int:
    n_points = 0
    for name in sorted(run.metrics):
        points = run.history(name)
        for step, time_ms, value in points:
            writer.add_scalar(name, value, step, time_ms / 1000)
        n_points += len(points)
    return n_points


def _write_images(writer: SummaryWriter, run: StoredRun) -> int:
    found = []
    for folder in IMAGE_FOLDERS:
        for path in run.artifacts(folder):
            live = IMAGE.fullmatch(path)
            if live and path.endswith(".png"):
                found.append((int(live["step"]), int(live["time"]), live["key"], path))
            elif path.endswith(".png"):
                found.append((0, run.start_ms, path.removesuffix(".png"), path))
    n_images = 0
    for step, time_ms, tag, path in sorted(found):
        pixels = _pixels(run, path)
        if pixels is not None:
            writer.add_image(tag, pixels, step, time_ms / 1000, dataformats="HWC")
            n_images += 1
    return n_images


def _pixels(run: StoredRun, path: str) -> npt.NDArray[np.uint8] | None:
    """Read an image, shape (height, width, 3); None if it is none."""
    with tempfile.TemporaryDirectory() as into:
        try:
            place = run.download(path, Path(into), MAX_IMAGE_BYTES)
            with Image.open(place, formats=["PNG"]) as image:
                return np.asarray(image.convert("RGB"))
        except (TrackingError, OSError, Image.DecompressionBombError) as err:
            log.warning("run %s: %s is left out: %s", run.run_id, path, err)
            return None
