"""YAML text to plain values and back: nothing is executed or changed silently.

YAML 1.1 reads some words as what few people mean by them. What cannot be meant is
refused (``0100`` is 64, ``1:30`` is 90), what can be meant is read (``1e-3`` is a
number), and the keys that hold text hold it as it is written (``version: 1.10``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from nnt.errors import ConfigError, shorten

OPTIONAL_TEXT_KEYS = ("extends", "compare_to", "load_pre_trained_weights", "teach_from")
TEXT_KEYS = ("name", "version", "description", "category", *OPTIONAL_TEXT_KEYS)
"""Keys whose value is text, or a list of texts, whatever YAML would make of it."""
ABSENT_WORDS = ("None", "none", "NONE", "nil", "Nil", "NIL", "")
"""What other languages write for null."""
WORDS_OF_YAML = " (YAML reads on, off, yes, no as true or false: quote them)"
MAX_DIGITS = 100
"""Characters of a number: the time to read one grows with their square."""
MAX_LISTED = 20
FLOAT = re.compile(
    r"^[-+]?(?:(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*)(?:[eE][-+]?\d+)?"
    r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
)
LEADING_ZERO = re.compile(r"[-+]?0[0-9_]")
TAG = "tag:yaml.org,2002:"
NUMBERS = (f"{TAG}int", f"{TAG}float")
TEXT = f"{TAG}str"
NON_PRINTABLE = yaml.reader.Reader.NON_PRINTABLE
"""Matches characters that no YAML file may hold."""


def shown(value: object) -> str:
    """Show a value in a message by the words of YAML, in one line of bounded length.

    Examples
    --------
    >>> shown(None), shown(True), shown((1, 2))
    ('null', 'true', '[1, 2]')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return shorten(list(value) if isinstance(value, tuple) else value)


class StrictLoader(yaml.SafeLoader):
    """Plain YAML: no duplicate keys, no aliases, no numbers that surprise."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.problems: list[str] = []
        """What is wrong, with its line, though it can be read."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases, a few lines of which may stand for gigabytes, and tags."""
        events: Any = self  # its stubs leave the events untyped
        event = events.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _error(event, "aliases (*name) are not supported, use extends")
        if event.tag is not None:
            raise _error(event, f"tags ({shorten(event.tag)}) are not supported")
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Refuse numbers that are endless or surprising, and halves of characters."""
        value: Any = super().construct_scalar(node)
        if node.tag in NUMBERS:
            if len(value) > MAX_DIGITS:
                words = f"expected at most {MAX_DIGITS} characters in a number"
                raise _error(node, f"{words}, got {len(value)}")
            if surprise := _surprise(value):
                self._note(node, surprise)
                return "0"
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise _error(node, f"an unpaired surrogate ({shorten(value)})")
        return value

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Any, Any]:
        """Note every key that appears twice or is not text."""
        seen: set[Any] = set()
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                words = f"expected text as key, got {shown(key)}{WORDS_OF_YAML}"
                self._note(key_node, words)
                continue
            if key in seen:
                self._note(key_node, f"key {shorten(key)} appears twice")
            seen.add(key)
            if key in TEXT_KEYS:
                is_list = isinstance(value_node, yaml.SequenceNode)
                for node_of_text in value_node.value if is_list else [value_node]:
                    if _is_word(node_of_text):
                        node_of_text.tag = TEXT
        return {} if self.problems else super().construct_mapping(node, deep=True)

    def _note(self, node: yaml.Node, words: str) -> None:
        self.problems.append(str(_error(node, words)))


def _error(at: Any, words: str) -> yaml.YAMLError:
    return yaml.YAMLError(f"line {at.start_mark.line + 1}: {words}")


def _is_word(node: yaml.Node) -> bool:
    """Whether a value is one unquoted word, but not null."""
    return (
        isinstance(node, yaml.ScalarNode)
        and node.style is None
        and node.tag != f"{TAG}null"
    )


def _surprise(number: str) -> str:
    """Say what a number would be that looks like another one."""
    found = ""
    if ":" in number:
        found = f"{number} is a base-60 number in YAML; write it in base 10"
    elif LEADING_ZERO.match(number):
        plain = re.sub(r"^([-+]?)[0_]+(?=\d)", r"\1", number)
        found = f"{number} has leading zeros, which YAML reads as octal; write {plain}"
    return found and f"{found}, or quote it if it is meant as text"


# The first resolver that matches wins, so integers keep theirs. Dates stay text.
StrictLoader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != f"{TAG}timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver(f"{TAG}float", FLOAT, list("-+.0123456789"))


def read_yaml(text: str, source: str) -> Any:
    """Read one YAML value; raise `ConfigError` that names the source."""
    try:
        loader = StrictLoader(text)
        value = loader.get_single_data()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as err:
        raise ConfigError(f"{source}: not valid YAML: {_reason(err)[:400]}") from err
    if loader.problems:
        raise ConfigError(listed([f"{source}: {what}" for what in loader.problems]))
    return value


def _reason(err: Exception) -> str:
    """Say on one line where YAML ends to be YAML, and why."""
    if isinstance(err, yaml.MarkedYAMLError) and err.problem_mark is not None:
        mark = err.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}"
        if "'\\t'" in (err.problem or ""):
            return f"{where}: a tab, which YAML does not allow here: use spaces"
        if "could not determine a constructor" in (err.problem or ""):
            return f"{where}: << and = mean something else in YAML; quote them as text"
        context = f"{err.context}, " if err.context else ""
        return " ".join(f"{where}: {context}{err.problem}".split())
    if isinstance(err, yaml.reader.ReaderError):
        return f"character {err.position + 1}: {shorten(err.character)} is not allowed"
    if isinstance(err, RecursionError):
        return "nested too deeply"
    return " ".join(str(err).split())


def has_comment(text: str) -> bool:
    """Whether YAML would leave a part of valid text out, from a # on."""
    end = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if "#" in text[end : token.start_mark.index]:
            return True
        end = max(end, token.end_mark.index)
    return "#" in text[end:]


def listed(mistakes: Sequence[str]) -> str:
    """Put mistakes one below the other; of hundreds, the first ones."""
    left = len(mistakes) - MAX_LISTED
    return "\n".join([*mistakes[:MAX_LISTED], *[f"and {left} more"] * (left > 0)])


def as_yaml(values: Mapping[str, Any]) -> str:
    """Write plain values as YAML, keys in their order."""
    return yaml.safe_dump(
        dict(values), sort_keys=False, allow_unicode=True, default_flow_style=None
    )


def nodes(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Give every value, mappings too, with its dotted key."""
    for key, item in values.items():
        yield f"{prefix}{key}", item
        if isinstance(item, Mapping):
            yield from nodes(item, f"{prefix}{key}.")


def as_parameter(value: Any) -> str | int | float:
    """Give a value as it is logged: a list or null as YAML text."""
    if isinstance(value, str | int | float):
        return value
    written: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return written.removesuffix("...\n").strip()


def flatten(values: Mapping[str, Any]) -> dict[str, str | int | float]:
    """Give every value under its dotted key; lists and null as YAML text."""
    return {
        key: as_parameter(value)
        for key, value in nodes(values)
        if not isinstance(value, Mapping)
    }
