"""What comes from outside ends in one clear error, or works.

Each case of a list once ended in a traceback, a hang, or memory without bound.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnt import filters
from nnt.config import load_config
from nnt.errors import ConfigError, DataError, NNTError, shorten
from nnt.networks import Networks, read_weights
from nnt.tracks import Tracks, read_tracks, write_tracks

MAX_MESSAGE = 1500

quick = settings(max_examples=60)


def told(error: NNTError) -> str:
    """Message of an error, which must be for people."""
    message = str(error)
    assert 0 < len(message) < MAX_MESSAGE
    return message


# Configurations


CONFIGURATIONS = [
    ("description: !!timestamp x", "tags"),
    ("experts: !!bool x", "tags"),
    ("epochs: !!int ''", "tags"),
    ("category: !!python/object/apply:os.system ['true']", "tags"),
    (f"epochs: 0x{'f' * 5000}", "in a number, got 5002"),
    (f"epochs: {'1:' * 5000}1", "in a number, got 10001"),
    (f"learning_rate: {'1:' * 5000}1.5", "in a number, got 10003"),
    (f"seed: 0x{'f' * 5000}", "in a number, got 5002"),
    (r'description: "\ud800"', "unpaired surrogate"),
    ("description: \0", "not valid YAML"),
    (f"extends: {'a' * 5000}", "no configuration"),
    ("extends: ~nobody-of-that-name/x.yaml", "no configuration"),
    (r'extends: "\0.yaml"', "no configuration"),
    (f"? {'a' * 5000}\n: 1", "unknown key"),
    ("epochs: 1e300", "<= 1,000,000,000"),
    ("batch_size: 1e300", "<= 1,000,000,000"),
    ("restarts: 1e300", "<= 4,611,686,018,427,387,904"),
    ("in_size: 10000000000", "got 10000000000"),
    ("dist: {n_buckets: 1e12, uniform: {lower: 0, upper: 1}}", "<= 100,000"),
    ("dist: {n_buckets: 3, norm: {mean: 1e308, std: 1e-308}}", "<= 2, got 1e+308"),
    ("dist: {n_buckets: 3, norm: {mean: 2, std: 1e-308}}", "some probability"),
    ("dist: {n_buckets: 3, uniform: {lower: 1.5, upper: 2}}", "some probability"),
    ("data: {simulate: {tracks: 1e15}}", "<= 1,000,000,000"),
    (f"filter: ExpertFilter(0x{'f' * 3900})", "got <int>"),
    (f"filter: RangeFilter('RecoZ', 0x{'f' * 3900}, 1)", "finite number"),
    ("filter: RangeFilter('RecoZ', 0, 1e999)", "finite number"),
]


@pytest.mark.parametrize(
    ("text", "message"), CONFIGURATIONS, ids=[t[:40] for t, _ in CONFIGURATIONS]
)
def test_a_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert message in told(error.value)


def test_hundreds_of_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("".join(f"key{i}: 1\n" for i in range(500)))
    with pytest.raises(ConfigError, match="and 480 more"):
        load_config(path)
    path.write_text("".join(f"{i}: 1\n" for i in range(500)))
    with pytest.raises(ConfigError, match="and 480 more"):
        load_config(path)


@pytest.mark.parametrize("name", ["a" * 300, "a" * 5000, "\0", "~nobody/x.yaml", "/"])
def test_a_name_of_a_configuration(name: str) -> None:
    with pytest.raises(ConfigError, match="no configuration") as error:
        load_config(name)
    told(error.value)


@pytest.mark.parametrize(
    "pair",
    [
        "a" + ".a" * 20_000 + "=1",
        "a" * 100_000 + "=1",
        "data.files=\0",
        "description=\ud800",
        "[" * 100_000,
    ],
    ids=["deep", "long", "nul", "half", "brackets"],
)
def test_an_override(pair: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config("base", [pair])
    told(error.value)


def test_a_mapping_that_holds_itself() -> None:
    endless: dict[str, Any] = {}
    endless["data"] = endless
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_config(endless)


WORDS = st.sampled_from(
    [
        "extends: base", "epochs: ", "data: {", "files: [", "dist:", "norm: {", "1e999",
        "expert_1:", "filter: ", "RangeFilter('RecoZ', ", "0x", "- ", "? ", "!!", "&a ",
        "*a", "|\n", ">\n", "'", '"', "\\u", "\n", "  ", ": ", "]", "}", "null", ".nan",
        "2020-01-01", "<<: ", "%YAML 9.9\n", "---\n", "\t", "\N{SNOWMAN}", "\x85",
    ]
)  # fmt: skip


@quick
@given(st.one_of(st.binary(max_size=200), st.lists(WORDS, max_size=12).map("".join)))
def test_any_text_is_no_configuration_or_one(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        config = load_config(path)
    except ConfigError as error:
        told(error)
    else:
        assert load_config(config.to_dict()).to_dict() == config.to_dict()


# Filters


PARTS = st.sampled_from(
    [
        "IdentityFilter", "ExpertFilter", "RangeFilter", "ConCatFilter", "(", ")", "[",
        "]", ",", "dataset_filters.", "'RecoZ'", "'2DinvPt'", "1", "-1", "1e999",
        "None", "0x" + "f" * 200, "lower=", "=", "lambda:0", "__class__", "f'{1}'", "*",
        "\n",
        "True", "1j", "...", "if", "\\", "'", "#", "filters=", "expert=",
    ]
)  # fmt: skip


@quick
@given(text=st.lists(PARTS, max_size=14).map("".join))
def test_any_expression_is_no_filter_or_one(
    make_tracks: Callable[..., Tracks], text: str
) -> None:
    try:
        found = filters.parse(text)
    except ConfigError as error:
        told(error)
        return
    assert filters.parse(str(found)) == found
    try:
        mask = found(make_tracks(20))
    except DataError as error:
        told(error)
    else:
        assert mask.shape == (20,)


def test_what_python_cannot_print_is_shown_by_its_kind() -> None:
    assert shorten(10**5000) == "<int>"


# Track files


@pytest.fixture(scope="module")
def text(
    make_tracks: Callable[..., Tracks], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    path = tmp_path_factory.mktemp("tracks") / "rows.txt"
    write_tracks(make_tracks(30), path)
    return path.read_bytes()


TRACK_FILES: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("twice", lambda t: t.replace(b"RawTheta", b"Event"), "'Event' 2 times"),
    ("utf-16", lambda t: t.decode().encode("utf-16"), "text in UTF-16"),
    ("bzip2", bz2.compress, "bunzip2"),
    ("xz", lzma.compress, "unxz"),
    ("commas", lambda t: t.replace(b"\t", b","), "found commas"),
    ("semicolons", lambda t: t.replace(b"\t", b"; "), "found semicolons"),
    ("blank first", lambda t: b" \t\r\n" + t, "line 1: expected a header"),
    ("spaces", lambda t: t.replace(b"\t", b" "), "separated by tabs, found 1"),
    ("not ascii", lambda t: t.replace(b"\t27\t", b"\xe9", 1), "line 3: expected text"),
    ("nul at the end", lambda t: t + b"\0" * 3000, "line 33"),
    ("late binary", lambda t: t + bytes(range(256)) * 99, "line 33"),
    ("cut", lambda t: t[:-50], "line 32"),
    ("gz cut", lambda t: gzip.compress(t)[:-50], "cut off"),
    ("gz in gz", lambda t: gzip.compress(gzip.compress(t)), "binary"),
    ("one line", lambda t: t[: t.index(b"\n") + 2] + b"1" * (9 << 20), "columns"),
    ("no line", lambda t: t.replace(b"\n", b"\r"), "carriage returns alone"),
    (
        "bomb",
        lambda t: gzip.compress(t + t[t.index(b"\n") :] * 9000),
        "expands to more",
    ),
    ("long line", lambda _: gzip.compress(b"0\t" * (40 << 20), 1), "expected columns"),
    ("header alone", lambda t: t[: t.index(b"\n")], "expected rows"),
    ("empty members", lambda _: gzip.compress(b"") * 1000, "empty"),
    ("empty", lambda _: b"", "empty"),
    ("blank", lambda _: b"\n\n", "empty"),
    ("png", lambda _: b"\x89PNG\r\n\x1a\n\0\0\0", "binary"),
    ("gz binary", lambda _: gzip.compress(bytes(range(256))), "binary"),
    ("words", lambda _: b"hello world\n1 2 3\n", "expected a header"),
    ("three columns", lambda _: b"1\t2\t3\n", "expected 37 columns"),
    ("gz and more", lambda t: gzip.compress(t) + b"other than gzip", "other data"),
    ("no gz", lambda _: b"\x1f\x8b\x08\x00rubbish that is no gzip", "damaged"),
]


@pytest.mark.parametrize(
    ("change", "message"),
    [case[1:] for case in TRACK_FILES],
    ids=[case[0] for case in TRACK_FILES],
)
def test_a_track_file(
    tmp_path: Path, text: bytes, change: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "rows.gz"
    path.write_bytes(change(text))
    with pytest.raises(DataError) as error:
        read_tracks(path, use_cache=False)
    assert message in told(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/dev/zero", "pipe or a device"),
        ("/dev/null", "pipe or a device"),
        ("pipe.gz", "pipe or a device"),
        ("a\0b", ""),
        ("a" * 5000, ""),
        ("/nonexistent/*.gz", "patterns are not expanded"),
    ],
)
def test_a_path_that_is_no_file(tmp_path: Path, name: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe.gz")
    with pytest.raises(DataError) as error:
        read_tracks(tmp_path / name)
    assert message in told(error.value)


@pytest.mark.parametrize("make", [os.link, os.symlink, None])
def test_a_file_that_is_read_twice_is_reported(
    tmp_path: Path,
    text: bytes,
    caplog: pytest.LogCaptureFixture,
    make: Callable[[Path, Path], None] | None,
) -> None:
    path = tmp_path / "rows"
    path.write_bytes(text)
    other = path if make is None else tmp_path / "other"
    if make is not None:
        make(path, other)
    read_tracks([path])
    assert "twice" not in caplog.text
    read_tracks([str(path), str(other)])
    assert f"{other}: is the same file as {path}; its rows count twice" in caplog.text


@quick
@given(data=st.data())
def test_any_damage_is_told_or_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, data: st.DataObject
) -> None:
    content = bytearray(gzip.compress(text) if data.draw(st.booleans()) else text)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = start + data.draw(st.integers(0, 20))
        content[start:stop] = data.draw(st.binary(max_size=20))
    path = tmp_path_factory.getbasetemp() / "any.gz"
    path.write_bytes(content)
    try:
        read_tracks(path, use_cache=False)
    except DataError as error:
        told(error)


# Weights


def weights(**arrays: Any) -> bytes:
    return json.dumps({"expert_0": {"weights": arrays}}).encode()


WEIGHTS = {
    "nothing": weights(a=[]),
    "no columns": weights(a=[[]]),
    "a row of millions": weights(a=[[0.0] * 1_000_000]),
    "twice": weights(**{"model.a": [1.0], "a": [1.0]}),
    "a pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "1e400": b'{"expert_0": {"weights": {"a": [1e400]}}}',
    "5000 digits": b'{"expert_0": {"weights": {"a": [' + b"9" * 5000 + b"]}}}",
    "NaN": b'{"expert_0": {"weights": {"a": [NaN]}}}',
    "huge shapes": b'{"expert_0": {"shapes": {"a": [99999999999, 9]}, "weights": '
    b'{"a": [1]}}}',
    "no text": b'{"expert_0": {"weights": {"\\ud800": ["\\ud800"]}}}',
}


@pytest.mark.parametrize("content", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_weights(content: bytes) -> None:
    with pytest.raises(DataError) as error:
        read_weights(content)
    told(error.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["weights", "shapes", "model", "a"]), inner)
    ),
    max_leaves=12,
)


@quick
@given(JSON)
def test_any_json_is_no_network_or_one(value: Any) -> None:
    for content in (value, {"expert_0": value}, {"expert_0": {"weights": value}}):
        try:
            Networks(read_weights(json.dumps(content).encode()))
        except NNTError as error:
            told(error)
