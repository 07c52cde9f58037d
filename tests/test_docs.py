"""The docs say what the code does: every name, code, route and limit is in them, and none that doesn't exist."""

import ast
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from random import Random

import pytest

from hubd.config import Config
from hubd.core import protocol
from hubd.core.errors import DISCONNECTS, STATUS_OF
from hubd.core.notification import HUB_FIELDS
from hubd.core.publish import CHANNELS, SEGMENT_BYTES, PublishBody
from hubd.edge.app import Edge
from hubd.edge.keys import ApiKeys
from hubd.tasks import Tasks
from hubd.testing import make_hub
from tests.docs import (
    PROTOCOL,
    ROOT,
    blocks,
    conversation,
    fenced,
    headings,
    http_blocks,
    outside_of_blocks,
    section,
    slugs,
    table,
    ticked,
)

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted((ROOT / "hubd").rglob("*.py"))


def trees(folder: str = "") -> Iterator[ast.Module]:
    for path in SOURCES:
        if str(path.relative_to(ROOT)).startswith(f"hubd/{folder}"):
            yield ast.parse(path.read_text())


def text_of(node: ast.AST | None) -> str:
    """What a string literal says; empty for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def texts(found: Iterable[ast.AST]) -> set[str]:
    """What all the string literals among these say."""
    return {text for node in found if (text := text_of(node))}


def nodes(folder: str = "") -> Iterator[ast.AST]:
    for tree in trees(folder):
        yield from ast.walk(tree)


# What clients say, and what the hub says


def test_every_action_has_its_section_and_no_other_has() -> None:
    assert headings(section("Actions"), 3) == [f"`{word}`" for word in protocol._ACTIONS]


@pytest.mark.parametrize("word", sorted(set(protocol._ACTIONS) - {"publish"}))
def test_the_fields_of_an_action(word: str) -> None:
    rows = table(section(f"`{word}`", section("Actions")))
    documented = {name for row in rows for name in ticked(row[0])}
    assert documented == set(protocol._ACTIONS[word].model_fields) - {"action", "ref"}


def test_the_fields_of_a_publish() -> None:
    fields = set(PublishBody.model_fields)
    over_http = section("`POST /api/notifications`")
    assert {name for row in table(over_http) for name in ticked(row[0])} == fields
    by_connection = section("`publish`", section("Actions")).partition("beside `action` and `ref`: ")[2]
    assert set(ticked(by_connection.partition("\n")[0])) == fields - {"deliver_at"}


def control_frames() -> dict[str, set[str]]:
    """Every control frame in the code, with its fields."""
    found: dict[str, set[str]] = {}
    for node in nodes():
        if isinstance(node, ast.Dict):
            fields = {text_of(key): text_of(value) for key, value in zip(node.keys, node.values, strict=True) if key}
            if word := fields.pop("hub", ""):
                found.setdefault(word, set()).update(fields)
    return found


def test_every_control_frame_has_its_section_and_no_other_has() -> None:
    assert sorted(headings(section("Control frames"), 3)) == sorted(f"`{word}`" for word in control_frames())


@pytest.mark.parametrize(("word", "fields"), sorted(control_frames().items()))
def test_the_fields_of_a_control_frame(word: str, fields: set[str]) -> None:
    examples = [json.loads(block) for block in blocks("json", section(f"`{word}`", section("Control frames")))]
    assert {example["hub"] for example in examples} == {word}
    assert fields | {"hub"} <= {field for example in examples for field in example}


def test_the_close_codes() -> None:
    rows = table(section("Close codes"))
    documented = [(int(code), reason.strip("`"), reconnect == "yes") for code, reason, reconnect, _ in rows]
    assert documented == [tuple(why) for why in DISCONNECTS]


def test_the_reasons_of_gaps() -> None:
    told = [node for node in nodes() if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "put_gaps"]
    found = [node for node in nodes() if isinstance(node, ast.FunctionDef) and node.name == "_replay_from"]
    reasons = {text for call in told for text in texts(call.args)}
    reasons |= {text for function in found for text in texts(ast.walk(function)) if " " not in text}
    rows = table(section("Order, cursor, replay, gaps"), of="`reason`")
    assert {row[0].strip("`") for row in rows} == reasons


def test_what_the_hub_adds_to_a_payload() -> None:
    documented = {row[0].strip("`") for row in table(section("Notifications"))}
    assert documented == {*HUB_FIELDS, "type"}
    may_not = section("Notifications").partition("A payload must not\nset ")[2].partition("nor any key")[0]
    assert sorted(ticked(may_not)) == sorted(HUB_FIELDS)


# HTTP


def test_every_call_is_in_the_table_and_no_other_is() -> None:
    hub, *_ = make_hub()
    edge = Edge(hub, keys=ApiKeys(()), tasks=Tasks(), random=Random(1), dev=True)
    served = {
        f"{route.method} {route.resource.canonical}"
        for route in edge.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    pages = {call for call in served if "/demo" in call or call.endswith((".js", " /"))}
    assert {"GET /", "GET /demo/", "GET /hubd.js"} <= pages
    documented = [name for row in table(section("HTTP API")) for name in ticked(row[0])]
    calls = [name for name in documented if name.split()[0].isupper()]
    assert len(calls) == len(set(calls))
    assert set(calls) | {"GET /notifications"} == served - pages


def test_every_call_that_is_mentioned_anywhere_exists() -> None:
    known = {name for row in table(section("HTTP API")) for name in ticked(row[0])} | {"GET /notifications"}
    known |= {"GET /hubd.js", "GET /api/push/vapid-public-key"}  # the second is a plugin's
    mentioned = {word for word in ticked(PROTOCOL) if re.fullmatch(r"(GET|PUT|POST|DELETE) /\S*", word)}
    assert mentioned <= known


def test_how_large_a_segment_may_be() -> None:
    text = section("Segments")
    assert f"up to {SEGMENT_BYTES:,} bytes" in text and f"more than {CHANNELS:,} channels" in text


def test_the_problem_codes() -> None:
    rows = table(section("Problems"))
    assert {code.strip("`"): int(status) for code, status, _ in rows} == STATUS_OF
    assert all(status in list(HTTPStatus) for status in STATUS_OF.values())


def test_every_query_parameter() -> None:
    read: set[str] = set()
    for node in nodes("edge"):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("request.query.get", "query_int")):
            read |= texts(node.args[:2])
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "request.query":
            read |= texts([node.left])
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "request.query":
            read |= texts([node.slice])
    connecting = {row[0].strip("`") for row in table(section("Connecting"), of="query parameter")}
    assert read == connecting | {"limit", "prefix"}
    assert {"limit", "prefix"} <= set(ticked(section("`GET /api/channels`")))


def test_every_claim() -> None:
    read: set[str] = set()
    for node in nodes("edge/tokens"):
        # claims.get("sub"), and helpers that take (claims, "exp")
        if isinstance(node, ast.Call) and "claims" in {ast.unparse(part) for part in [*node.args, node.func]}:
            read |= texts(node.args)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "claims.get":
            read |= texts(node.args[:1])
    documented = {name for row in table(section("Users: tokens")) for name in ticked(row[0])}
    assert len(read) > 5
    assert documented == read


# Config


def test_every_limit_with_its_default() -> None:
    config = Config()
    for name in ("limits", "replay"):
        rows = table(section("Limits"), of=f"`[{name}]`")
        options = getattr(config, name)
        assert {row[0].strip("`"): json.loads(row[1]) for row in rows} == options.model_dump()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.name))
def test_every_option_that_is_named_exists(page: Path) -> None:
    config = Config()
    text = page.read_text()
    for section_, option in re.findall(r"`\[(\w+)\] (\w+)`", text):
        assert hasattr(getattr(config, section_), option), f"[{section_}] {option}"


def test_no_word_that_the_code_does_not_know() -> None:
    """Names with an underscore in backticks are the code's: options, codes, fields."""
    known = texts(nodes())
    known |= {ast.unparse(node.target) for node in nodes() if isinstance(node, ast.AnnAssign)}
    known |= {*tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["hubd"]}
    prose = outside_of_blocks((ROOT / "README.md").read_text()) + outside_of_blocks(PROTOCOL)
    words = {word for word in ticked(prose) if re.fullmatch(r"[a-z]+(_[a-z]+)+", word)}
    assert len(words) > 40
    assert words - known - {"order_updates"} == set()


# Form


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.name))
def test_json_examples_parse(page: Path) -> None:
    text = page.read_text()
    for block in blocks("json", text):
        json.loads(block)
    for exchange in conversation(text):
        assert exchange.says or exchange.hears
    for message in http_blocks(text):
        assert message.first


def test_every_block_says_what_it_is() -> None:
    kinds = {kind for kind, _ in fenced(PROTOCOL)}
    assert kinds == {"json", "text", "http", "js", ""}
    assert [block for kind, block in fenced(PROTOCOL) if kind == ""] == blocks("", section("Connecting"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.name))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", outside_of_blocks(page.read_text()))
    for link in links:
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in slugs(path.read_text()), link


def test_the_readme_shows_the_demo_and_the_licence() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "](docs/demo.png)" in readme
    assert "[MIT licence](LICENSE)" in readme
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    first_screen = readme[: readme.index("## A page")]
    assert "make run" in first_screen
    assert "make test" in first_screen
