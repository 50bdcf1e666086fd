"""Overrides: values arrive as they are typed, or are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from nnt.cli import main
from nnt.config import Config, load_config
from nnt.errors import ConfigError
from nnt.filters import RangeFilter

DIST = {"n_buckets": 5, "norm": {"mean": 0, "std": 1}}
FILE = {
    "data": {"simulate": {"tracks": 300, "seed": 1}},
    "epochs": 1000,
    "expert_2": {"epochs": 4000, "batch_size": 16},
    "expert_4": {
        "epochs": 400,
        "dist": {"n_buckets": 5, "norm": {"mean": 0, "std": 1}},
    },
}


def changed(words: str) -> Config:
    return load_config({}, [words])


AS_TYPED = [
    "don't stop",
    "it's (almost [done",
    'say "when',
    "5 o'clock, 'tis late",
    "z < 1 cm: good",
    "first #2",
    "0100",
    "1:30",
    "1.10",
    "2026-11-25",
    "on",
    "null",
    "None",
    "{not: yaml",
    "*star &anchor !tag %",
    "a\\b",
    "50 % = half",
    "\N{GREEK SMALL LETTER THETA}",
]


@pytest.mark.parametrize("text", AS_TYPED)
def test_text_arrives_as_typed_and_hides_no_other_pair(text: str) -> None:
    config = changed(f"epochs=3 description={text}")
    assert (config.description, config.epochs) == (text, 3)
    words = f"description={text} epochs=3"
    if " " in text:
        with pytest.raises(ConfigError, match="epochs=3 may be a key or part"):
            changed(words)
    else:
        config = changed(words)
        assert (config.description, config.epochs) == (text, 3)


QUOTED = [
    ("'it''s fine epochs=5'", "it's fine epochs=5"),
    ('"say \\"when\\" epochs=5"', 'say "when" epochs=5'),
    ("'#1'", "#1"),
]


@pytest.mark.parametrize(("typed", "text"), QUOTED)
def test_quotes_keep_a_pair_in_a_text(typed: str, text: str) -> None:
    config = changed(f"description={typed} epochs=3")
    assert (config.description, config.epochs) == (text, 3)


PATHS = [
    ("data.files=[bob's tracks.gz, a(1.gz]", ("bob's tracks.gz", "a(1.gz")),
    ("data.files=bob's tracks.gz", ("bob's tracks.gz",)),
    ("data.files=['a, b.gz', \"c] d.gz\"]", ("a, b.gz", "c] d.gz")),
    ("data.files=[ 'seed=3 x.gz' ]", ("seed=3 x.gz",)),
]


@pytest.mark.parametrize(("pair", "files"), PATHS)
def test_names_of_files(pair: str, files: tuple[str, ...]) -> None:
    config = changed(f"{pair} data.split=[0.6, 0.2, 0.2] epochs=3")
    assert (config.data.files, config.epochs) == (files, 3)


def test_a_filter_may_hold_equal_signs() -> None:
    config = changed("filter=RangeFilter('RecoZ', lower=-0.5, upper=0.5) epochs=3")
    assert config.filter == RangeFilter("RecoZ", -0.5, 0.5)
    assert config.epochs == 3


REFUSED = [
    ("description='tis late epochs=3", "epochs in a separate -m"),
    ('description="late epochs=3', "epochs in a separate -m"),
    ("data.files=[a.gz epochs=3", "[ is never closed"),
    ("filter=ExpertFilter(1 epochs=3", "( is never closed"),
    ("act=tanh # the usual", "from # on"),
    ("data.files=my #1.gz", "from # on"),
    ("seed=0100", "leading zeros"),
    ("epochs=1:30", "base-60"),
    ("act='tanh", "not valid YAML"),
    ("epochs 3", "expected KEY=VALUE"),
    ("=3", "expected KEY=VALUE"),
    ("epochs = 3", "expected KEY=VALUE"),
    ("compare_to=None", "null"),
    ("early_stopping_patience=None", "null"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[w for w, _ in REFUSED])
def test_what_cannot_be_meant_is_refused(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as err:
        changed(words)
    assert message in str(err.value)


@pytest.mark.parametrize("word", ["null", "~", ""])
def test_null_where_a_text_may_be_absent(word: str) -> None:
    assert load_config({"compare_to": "x"}, [f"compare_to={word}"]).compare_to is None


TEXT = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1
)
WORDS = st.lists(TEXT, min_size=1, max_size=5).map(" ".join)


@given(text=WORDS, seed=st.integers(0, 10**6))
def test_any_text_arrives_or_is_refused(text: str, seed: int) -> None:
    try:
        config = changed(f"description={text} seed={seed}")
    except ConfigError:
        # Only where the text itself reads as a pair, begins with a quote, or is a
        # sentence that may go on.
        assert set("= ") & set(text) or text[0] in "'\""
    else:
        if "=" not in text and text[0] not in "'\"":
            assert config.description == text
        assert config.seed == seed


@given(words=st.lists(TEXT, min_size=1, max_size=5), seed=st.integers(0, 10**6))
def test_a_sentence_never_sets_a_key(words: list[str], seed: int) -> None:
    text = " ".join(["the", *words, f"seed={seed}", *words])
    try:
        config = changed(f"description={text}")
    except ConfigError:
        pass
    else:
        assert config.seed == load_config({}).seed


@given(files=st.lists(TEXT.map(lambda text: text.replace("$", "")), min_size=1))
def test_any_file_of_the_command_line_arrives(files: list[str]) -> None:
    from nnt.cli.common import changes

    config = load_config({}, changes([], [f"/nowhere/{file}" for file in files]))
    assert config.data.files == tuple(f"/nowhere/{file}" for file in files)


PRECEDENCE: list[tuple[list[str], str, list[Any]]] = [
    ([], "epochs", [1000, 4000, 400]),
    (["epochs=20"], "epochs", [20, 20, 20]),
    (["epochs=20", "expert_4.epochs=30"], "epochs", [20, 20, 30]),
    (["expert_4.epochs=30 epochs=20"], "epochs", [20, 20, 30]),
    (["expert_4.epochs=30"], "epochs", [1000, 4000, 30]),
    (["expert_4={epochs: 30}", "epochs=20"], "epochs", [20, 20, 30]),
    (["expert_4=null"], "epochs", [1000, 4000, 1000]),
    (["epochs=20"], "batch_size", [2048, 16, 2048]),
    (["batch_size=16"], "batch_size", [16, 16, 16]),
]


@pytest.mark.parametrize(("words", "key", "values"), PRECEDENCE)
def test_an_override_wins_for_every_expert(
    words: list[str], key: str, values: list[Any]
) -> None:
    config = load_config(FILE, words)
    assert [getattr(config.for_expert(k), key) for k in (0, 2, 4)] == values
    again = load_config(config.to_dict())
    assert [getattr(again.for_expert(k), key) for k in (0, 2, 4)] == values


def test_a_nested_override_wins_for_every_expert() -> None:
    four = load_config(FILE, ["dist={n_buckets: 7, uniform: {lower: -1, upper: 1}}"])
    assert four.for_expert(4).dist == four.dist
    four = load_config({**FILE, "dist": DIST}, ["dist.n_buckets=7"])
    assert four.for_expert(4).dist == four.dist
    assert load_config(FILE, ["dist=null"]).for_expert(4).dist is None
    narrow = {"dist": {"norm": {"std": 0.5}}}
    file = {"dist": {**DIST, "inf_bounds": True}, "expert_4": narrow}
    four = load_config(file, ["dist.n_buckets=7"]).for_expert(4)
    assert four.to_dict()["dist"] == {
        "n_buckets": 7, "inf_bounds": True, "norm": {"mean": 0.0, "std": 0.5}
    }  # fmt: skip


def test_overrides_of_a_call_win_likewise() -> None:
    config = load_config(FILE, {"epochs": 20, "expert_2.epochs": 30})
    assert [config.for_expert(k).epochs for k in (0, 2, 4)] == [20, 30, 20]


def test_the_origin_of_an_overridden_key_of_an_expert() -> None:
    arguments = ["config", "show", "baseline_v2_tanh_per_expert", "-m", "epochs=20"]
    done = CliRunner().invoke(main, [*arguments, "--expert", "4", "--origin", "--json"])
    origins = json.loads(done.stdout)
    assert origins["epochs"] == "-m"
    assert origins["batch_size"].endswith("baseline_v2_tanh_per_expert.yaml")
