"""What is given in addition to a file: ``-m KEY=VALUE`` and the `overrides` of a call.

One ``-m`` may hold several pairs, separated by spaces. A value arrives as it is typed,
or is refused: a quote or a bracket opens something only where YAML lets it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nnt.config.files import Layer
from nnt.config.yaml_text import (
    NON_PRINTABLE,
    OPTIONAL_TEXT_KEYS,
    TEXT_KEYS,
    has_comment,
    read_yaml,
)
from nnt.errors import ConfigError, shorten

COMMAND_LINE, CALL = "-m", "<overrides>"
"""Origins of keys that are given in addition to a file."""
PAIR = re.compile(r"[A-Za-z_][\w.]{,199}=")
SENTENCE = "description"
NULL = ("null", "Null", "NULL", "~", "")
QUOTES, OPENING, CLOSING = "\"'", "[{(", "]})"

Overrides = Mapping[str, Any] | Sequence[str | Mapping[str, Any]]
"""Dotted keys and values, or texts ``key=value``, among which may be mappings."""


def override_layers(overrides: Overrides) -> list[Layer]:
    """Read overrides, later ones over earlier ones.

    Raises
    ------
    ConfigError
        One is not ``KEY=VALUE``, or it is not clear where its value ends.
    """
    is_call = isinstance(overrides, Mapping)
    layers: list[Layer] = []
    for given in [overrides] if isinstance(overrides, str | Mapping) else overrides:
        if isinstance(given, Mapping):
            found = [_nested(str(key), item) for key, item in given.items()]
        else:
            found = [_read_pair(pair) for pair in split_pairs(given)]
        layers += [(CALL if is_call else COMMAND_LINE, values) for values in found]
    return layers


def split_pairs(words: str) -> list[str]:
    """Split the text of one ``-m`` at the spaces that start a new ``key=``.

    Raises
    ------
    ConfigError
        A quote or bracket that is never closed hides another pair, or a pair may be
        part of a description.

    Examples
    --------
    >>> split_pairs("epochs=20 data.files=[my tracks.gz] seed=3 description=it's fine")
    ['epochs=20', 'data.files=[my tracks.gz]', 'seed=3', "description=it's fine"]
    """
    pairs, rest = [], words.strip()
    while rest:
        end = _end_of_pair(rest)
        pair, rest = rest[:end].rstrip(), rest[end:].lstrip()
        if rest and _is_sentence(pair):
            following = rest.split()[0]
            raise ConfigError(
                f"-m {shorten(words)}: {following} may be a key or part of the "
                f"{SENTENCE}; put the {SENTENCE} in quotes, or give {following} in a "
                "separate -m"
            )
        pairs.append(pair)
    return pairs


def _is_sentence(pair: str) -> bool:
    """Whether a pair is a text of several words, in which ``key=`` may be a word."""
    key, _, value = pair.partition("=")
    is_quoted = value.startswith(tuple(QUOTES))
    return key == SENTENCE and not is_quoted and len(value.split()) > 1


def _end_of_pair(words: str) -> int:
    """Find where the first pair ends; `words` begin with it."""
    match = PAIR.match(words)
    start = match.end() if match else 0
    opening = _opening(words[: start - 1], words[start:]) if match else OPENING
    opened: list[str] = []
    quote, before, hidden = "", "=", ""
    i = start
    while i < len(words):
        char = words[i]
        if char.isspace() and (pair := PAIR.match(words, i + 1)):
            if not opened and not quote:
                return i
            hidden = hidden or pair.group()[:-1]
        if quote:
            escaped = quote == '"' and char == "\\"
            doubled = quote == "'" and words.startswith("''", i)
            quote = "" if char == quote and not doubled else quote
            i += escaped or doubled
        elif char in QUOTES and (i == start or (opened and before in "[{(,:=")):
            quote = char
        elif char in opening:
            opened.append(char)
        elif opened and char in CLOSING:
            opened.pop()
        before = before if char.isspace() else char
        i += 1
    if hidden and (opened or quote):
        raise ConfigError(
            f"-m {shorten(words)}: {quote or opened[-1]} is never closed, so that "
            f"{hidden} would belong to the value; give {hidden} in a separate -m"
        )
    return len(words)


def _opening(key: str, value: str) -> str:
    """Name the brackets that open something in the value of a key."""
    if _is_text(key, value):
        return ""
    return "[{" if value.startswith(("[", "{")) else OPENING


def _is_text(key: str, value: str) -> bool:
    """Whether a value is text as it is typed; a list of texts is YAML."""
    is_list = _last(key) == "teach_from" and value.startswith("[")
    return _last(key) in TEXT_KEYS and not is_list


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _read_pair(pair: str) -> dict[str, Any]:
    match = PAIR.match(pair)
    if match is None:
        raise ConfigError(
            f"-m {shorten(pair)}: expected KEY=VALUE, for example -m epochs=20"
        )
    key, words = pair[: match.end() - 1], pair[match.end() :]
    if _is_text(key, words) and not words.startswith(tuple(QUOTES)):
        return _nested(key, _as_typed(_last(key), words))
    source = f"-m {shorten(key)[1:-1]}"
    value = read_yaml(words, source)
    if "#" in words and has_comment(words):
        raise ConfigError(
            f"{source}: YAML drops {shorten(words)} as a comment, from # on; "
            "quote the value"
        )
    return _nested(key, value)


def _as_typed(key: str, words: str) -> str | None:
    """Take text as it is typed; where a key may be null, null and nothing are."""
    if (odd := NON_PRINTABLE.search(words)) is not None:
        raise ConfigError(
            f"-m {key}: {shorten(odd.group())} is not a valid character in text"
        )
    return None if key in OPTIONAL_TEXT_KEYS and words in NULL else words


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}
