"""The page of a comparison: whatever names hold is text, and nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from some_networks import expert

from nnt.evaluation.comparison import Comparison, Difference, NetworkResult
from nnt.evaluation.judged import JudgedRows, LoadedRun
from nnt.evaluation.page import BEST_BY, MAX_SIDE_BY_SIDE, best_by_rejection, page
from nnt.networks import Networks
from nnt.tracks import Tracks

EVIL = "<script>alert(1)</script>\" onload='x' {{ 7 * 7 }} & \\ é名"


class Reader(HTMLParser):
    """Tags, addresses and texts of a page; complains about tags left open."""

    EMPTY = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def comparison(make_rows: Tracks, n: int, name: str) -> Comparison:
    figures = {"n_tracks": 30.0, "rejection_at_eff96": 0.5, "loss": 0.1}
    of_all = [figures | {"rejection_at_eff96": 0.5 + k / 10} for k in range(n)]
    difference = Difference(value=0.1, error=0.01, direction=1)
    networks = [
        NetworkResult(
            name=f"{name} {k}",
            figures={"all": of_all[k], "expert_1": figures},
            errors={"all": {"rejection_at_eff96": 0.05}, "expert_1": {}},
            differences={"all": {"rejection_at_eff96": difference}} if k else {},
            replicas={},
            trained_on=0.5,
        )
        for k in range(n)
    ]
    return Comparison(
        rows=JudgedRows(label="x", tracks=make_rows, digest=name, source=name),
        filter=name,
        networks=networks,
        config_differences={name: {own.name: name for own in networks}},
    )


@pytest.mark.parametrize("n", [1, 3, MAX_SIDE_BY_SIDE + 1])
def test_names_are_text_wherever_they_stand(
    make_tracks: Callable[..., Tracks], n: int
) -> None:
    rows = make_tracks(30)
    found = comparison(rows, n, EVIL)
    plain = comparison(rows, n, "name")
    pictures = {EVIL: b"\x89PNG", "learning_curves": b"\x89PNG"}
    evil = Reader(page(found, pictures))
    usual = Reader(page(plain, {"name": b"\x89PNG", "learning_curves": b"\x89PNG"}))
    # The same page but for its texts.
    assert evil.tags == usual.tags
    assert any(EVIL in text for text in evil.texts)
    assert all("49" not in text for text in evil.texts)


def test_the_page_needs_nothing_else(make_tracks: Callable[..., Tracks]) -> None:
    rows = make_tracks(30)
    text = page(comparison(rows, 3, "name"), {"z_residual": b"\x89PNG"})
    read = Reader(text)
    assert read.addresses
    assert all(a.startswith("data:image/png;base64,") for a in read.addresses)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "z residual of all tracks." in read.texts
    assert "▲" in text
    for heading in ("Metrics", "Plots", "By expert", "Runs", "All metrics"):
        assert heading in read.texts


def test_the_template_is_part_of_the_package() -> None:
    template = files("nnt.evaluation") / "templates" / "comparison.html"
    assert "<!doctype html>" in template.read_text(encoding="utf-8")
    ignored = (Path(__file__).parent.parent / ".gitignore").read_text().splitlines()
    # What git ignores, the wheel leaves out.
    assert not {"*.html", "templates", "templates/"} & set(ignored)


def with_runs(found: Comparison, figures: list[dict[str, float]]) -> Comparison:
    """Put figures into the first networks, which are those of runs."""
    networks = found.networks.copy()
    for i, (own, more) in enumerate(zip(networks, figures, strict=False)):
        of_all = {**own.figures, "all": {**own.figures["all"], **more}}
        networks[i] = replace(own, figures=of_all, loaded=loaded("x"))
    return replace(found, networks=networks)


def test_rows_are_those_of_the_run_that_they_were_split_for(
    make_tracks: Callable[..., Tracks],
) -> None:
    found = comparison(make_tracks(30), 2, "champion")
    rows = replace(found.rows, split="test", owner=loaded("challenger"))
    texts = Reader(page(replace(found, rows=rows), {})).texts
    assert "30 of the test split of challenger" in texts


def loaded(name: str) -> LoadedRun:
    return LoadedRun(text="x", name=name, networks=Networks({0: expert(0)}))


CLASS = "rejection_at_eff96_by_class"


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ([{CLASS: 0.9}, {CLASS: 0.8}], ("n 0", CLASS)),
        ([{CLASS: 0.8}, {CLASS: 0.9}], ("n 1", CLASS)),
        ([{CLASS: 0.9}, {}], ("n 2", "rejection_at_eff96")),
        ([{}, {}], ("n 2", "rejection_at_eff96")),
    ],
)
def test_the_best_is_by_class_where_every_run_has_one(
    make_tracks: Callable[..., Tracks],
    figures: list[dict[str, float]],
    expected: tuple[str, str],
) -> None:
    found = with_runs(comparison(make_tracks(30), 3, "n"), figures)
    best = best_by_rejection(found)
    assert best is not None
    assert (best[0].name, best[1]) == expected
    assert BEST_BY[expected[1]] in Reader(page(found, {})).texts


def test_the_cost_of_the_hardware_is_that_of_each_run(
    make_tracks: Callable[..., Tracks],
) -> None:
    found = with_runs(comparison(make_tracks(30), 3, "n"), [{}, {}])
    first, second, data = found.networks
    costs = {"hardware/multiplications": 12345.0, "hardware/weight_bits": 99.0}
    first = replace(first, hardware=costs)
    texts = Reader(page(replace(found, networks=[first, second, data]), {})).texts
    start = texts.index("Hardware cost")
    shown = [text for text in texts[start:] if text.strip()]
    heads = ["network", "multiplications", "weight bits"]
    assert shown[2:12] == [*heads, "n 0", "12,345", "99", "n 1", "–", "–", "Runs"]
    assert "Hardware cost" not in page(found, {})
