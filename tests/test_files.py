"""Files are whole or not there, and have the mode that the umask allows."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from nnt.files import (
    check_writable,
    is_replaceable,
    is_standard_output,
    make_folder,
    open_whole,
    previous_of,
    write_atomically,
)
from nnt.networks import ExpertWeights, Form, write_weights
from nnt.simulation import simulate
from nnt.tracks import cache, write_tracks


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_one_expert(path: Path) -> None:
    form = Form(2, (), ("z",))
    state = {name: np.ones(shape, np.float32) for name, shape in form.shapes.items()}
    write_weights(path, {0: ExpertWeights(state, form)})


WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: write_atomically(path, b"x"),
    "weights": write_one_expert,
    "tracks": lambda path: write_tracks(simulate(5), path),
}


def test_writing_replaces_whole_and_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"one", b"two", b"three"):
        write_atomically(path, data, keep_previous=True)
    assert (path.read_bytes(), previous_of(path).read_bytes()) == (b"three", b"two")
    assert sorted(tmp_path.iterdir()) == [path, previous_of(path)]


@pytest.mark.parametrize("during", ["the block", "flushing"])
def test_failed_writing_leaves_the_file_as_it_was(
    during: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object = None) -> None:
        raise OSError(28, "full")

    def write() -> None:
        with open_whole(path, keep_previous=True) as file:
            file.write(b"two")
            if during == "the block":
                fail()

    path = tmp_path / "file"
    path.write_bytes(b"one")
    if during == "flushing":
        monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="full"):
        write()
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077, 0o027])
@pytest.mark.parametrize("writer", WRITERS)
def test_new_files_have_the_mode_that_the_umask_allows(
    writer: str, mask: int, tmp_path: Path
) -> None:
    with umask(mask):
        WRITERS[writer](tmp_path / "file")
    assert mode(tmp_path / "file") == 0o666 & ~mask


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_that_is_replaced_keeps_its_mode(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o640)
    with umask(0o022):
        WRITERS[writer](path)
    assert mode(path) == 0o640


@pytest.mark.parametrize("mask", [0o022, 0o002])
def test_a_cache_can_be_shared_as_the_umask_allows(
    mask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNT_CACHE_DIR", str(tmp_path / "cache"))
    with umask(mask):
        cache.store_parts(lambda: "key", [simulate(5)])
    for path in (tmp_path / "cache").rglob("*"):
        assert mode(path) == (0o777 if path.is_dir() else 0o666) & ~mask


@pytest.mark.parametrize("there", [True, False], ids=["file", "dangling"])
@pytest.mark.parametrize("writer", WRITERS)
def test_symbolic_links_are_written_through(
    writer: str, there: bool, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    target = tmp_path / "data" / "file"
    if there:
        target.write_bytes(b"old")
    link, second = tmp_path / "link", tmp_path / "second"
    link.symlink_to(Path("data") / "file")
    second.symlink_to(link)
    WRITERS[writer](second)
    assert (link.is_symlink(), second.is_symlink()) == (True, True)
    assert target.is_file()
    assert target.read_bytes() != b"old"
    assert sorted(tmp_path.rglob("*")) == sorted(
        [tmp_path / "data", target, link, second]
    )


@pytest.mark.parametrize("by_link", [False, True], ids=["itself", "link"])
@pytest.mark.parametrize("writer", WRITERS)
def test_pipes_are_written_through(writer: str, by_link: bool, tmp_path: Path) -> None:
    pipe, path = tmp_path / "pipe", tmp_path / "link" if by_link else tmp_path / "pipe"
    os.mkfifo(pipe)
    if by_link:
        path.symlink_to(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    WRITERS[writer](path)
    reader.join()
    WRITERS[writer](tmp_path / "file")
    assert got == [(tmp_path / "file").read_bytes()]
    assert pipe.is_fifo()
    assert not is_replaceable(path)


def test_devices_stay_devices(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for path in (Path("/dev/null"), link):
        before = path.stat()
        write_atomically(path, b"x")
        assert path.stat().st_rdev == before.st_rdev
        assert not is_replaceable(path)
    assert sorted(tmp_path.iterdir()) == [link]


@pytest.mark.parametrize(
    "name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"]
)
def test_standard_output_is_appended_to_wherever_it_goes(
    name: str, tmp_path: Path
) -> None:
    code = (
        "import pathlib, sys; from nnt.files import *\n"
        "print('before', flush=True); path = pathlib.Path(sys.argv[1])\n"
        "assert is_standard_output(path) and not is_replaceable(path)\n"
        "check_writable(path); write_atomically(path, b'written\\n'); print('after')"
    )
    (tmp_path / "link").symlink_to("/dev/stdout")
    for out in ("file", "/dev/null"):
        with (tmp_path / out).open("wb") as file:
            told = [sys.executable, "-c", code, name]
            subprocess.run(told, stdout=file, check=True, cwd=tmp_path)
    assert (tmp_path / "file").read_text() == "before\nwritten\nafter\n"
    assert not is_standard_output(tmp_path / "file")


def test_a_socket_is_refused_and_stays(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(OSError, match="No such device"):
            write_atomically(tmp_path / "s", b"x")
    assert (tmp_path / "s").is_socket()


@pytest.mark.parametrize(
    "path", ["none/file", "file/file", "folder", "loop", "n" * 256], ids=lambda n: n[:9]
)
def test_what_cannot_be_written_is_found_before_and_named(
    path: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    for attempt in (check_writable, WRITERS["bytes"]):
        with pytest.raises(OSError, match=r".") as told:
            attempt(tmp_path / path)
        assert told.value.filename in (str(tmp_path / path), tmp_path / path)
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_is_made_only_where_nothing_else_is(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "b", Path("/dev/null")):
        with pytest.raises(OSError, match="Not a directory"):
            make_folder(place)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 255), b"x")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_that_cannot_be_replaced_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: Path, __: Path) -> None:
        raise OSError(16, "Device or resource busy")

    path = tmp_path / "mounted"
    path.write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", busy)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
