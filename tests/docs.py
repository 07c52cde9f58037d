"""Reads the project's Markdown: sections, tables, fenced blocks, conversations, HTTP examples."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PROTOCOL = (ROOT / "docs/protocol.md").read_text()
_FENCE = re.compile(r"(?ms)^```([^\n]*)\n(.*?)^```$")
_HEADING = re.compile(r"(?m)^(#+) (.*)$")


class Exchange(NamedTuple):
    """What a client says, and what it then hears."""

    says: list[dict[str, Any]]
    hears: list[dict[str, Any]]


class HttpMessage(NamedTuple):
    """An HTTP example: its first line, its headers, its body (None without one)."""

    first: str
    headers: dict[str, str]
    body: Any


def fenced(text: str) -> list[tuple[str, str]]:
    """All fenced blocks: what they say they are, and what is in them."""
    return _FENCE.findall(text)


def blocks(kind: str, text: str) -> list[str]:
    """The fenced blocks of one kind."""
    return [block for found, block in fenced(text) if found == kind]


def outside_of_blocks(text: str) -> str:
    """The prose."""
    return _FENCE.sub("", text)


def _blind(text: str) -> str:
    """The text with its blocks blanked, so that a '#' in one is no heading; every place stays where it was."""
    return _FENCE.sub(lambda block: re.sub(r"[^\n]", " ", block[0]), text)


def section(title: str, text: str = PROTOCOL) -> str:
    """What stands under a heading, with the headings below it."""
    found = [match for match in _HEADING.finditer(_blind(text)) if match[2] == title]
    assert len(found) == 1, f"{title}: {len(found)} headings"
    start, level = found[0].end(), len(found[0][1])
    following = (match.start() for match in _HEADING.finditer(_blind(text), start) if len(match[1]) <= level)
    return text[start : next(following, len(text))]


def headings(text: str, level: int) -> list[str]:
    """The headings of one level."""
    return [match[2] for match in _HEADING.finditer(_blind(text)) if len(match[1]) == level]


def slugs(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    found: dict[str, int] = {}
    made = set()
    for match in _HEADING.finditer(_blind(text)):
        slug = re.sub(r"[^\w\- ]", "", match[2].lower()).replace(" ", "-")
        made.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return made


def table(text: str, of: str | None = None) -> list[list[str]]:
    """The cells of the first table of a section, or of the one whose first head is ``of``; without head and ruler.

    Without ``of`` the tables of all the section's own text count, as far as its first heading below.
    """
    below = _HEADING.search(_blind(text))
    own = text if of else text[: below.start() if below else len(text)]
    rows = []
    for lines in re.findall(r"(?m)(?:^\|.*\n)+", own):
        cells = [_cells(line) for line in lines.splitlines()]
        if of is None or cells[0][0] == of:
            rows += cells[2:]
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split(" |")]


def ticked(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", text)


def conversation(text: str) -> Iterator[Exchange]:
    """The examples with arrows: one exchange for each block."""
    for block in blocks("text", text):
        lines = [(line[0], json.loads(line[2:])) for line in block.splitlines()]
        assert {arrow for arrow, _ in lines} <= {"→", "←"}
        yield Exchange(
            [said for arrow, said in lines if arrow == "→"], [heard for arrow, heard in lines if arrow == "←"]
        )


def http_blocks(text: str) -> list[HttpMessage]:
    """The HTTP examples, requests and answers in turn."""
    found = []
    for block in blocks("http", text):
        head, _, body = block.partition("\n\n")
        first, *lines = head.splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        found.append(HttpMessage(first, headers, json.loads(body) if body.strip() else None))
    return found
