"""The project's own rules, where a program can check them."""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import hubd
from hubd.config import default_config_text

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "hubd").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Parts of what pydantic, PyJWT and aiohttp take and give, in the versions that go with them.
BROUGHT_ALONG = {
    *("pydantic_core", "annotated_types", "cryptography", "yarl", "multidict"),
    *("h2", "hpack", "hyperframe", "http_ece", "py_vapid", "google", "requests"),
}
IMPORTED_AS = {"prometheus-client": "prometheus_client", "pyjwt": "jwt", "firebase-admin": "firebase_admin"}
OPTIONAL = [*PROJECT["optional-dependencies"]["postgres"], *PROJECT["optional-dependencies"]["fcm"]]
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
"""What hubd imports only where the config asks for it."""
LONGEST_FILE, LONGEST_FUNCTION = 400, 50


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_config_toml_is_what_default_config_prints() -> None:
    assert (ROOT / "config.toml").read_text() == default_config_text(), "mend: hubd default-config > config.toml"


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "hubd").rglob("*.js"))], ids=name_of)
def test_a_file_has_under_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_function_has_under_50_lines(path: Path) -> None:
    assert [name for name, lines in functions(path) if lines >= LONGEST_FUNCTION] == []


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{node.name} (line {node.lineno})", node.end_lineno - node.lineno + 1


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    declared = {IMPORTED_AS.get(name, name) for name in map(package_name, [*PROJECT["dependencies"], *OPTIONAL])}
    own = {path.name for path in (ROOT / "plugins").iterdir()}
    assert third_party_imports([*SOURCES, *PLUGINS]) - own - BROUGHT_ALONG - {"pytest"} == declared
    # Whoever loads this module has it: pytest itself does.
    assert third_party_imports([ROOT / "hubd/pytest_plugin.py"]) == {"pytest"}
    others = [path for path in SOURCES if path.name != "pytest_plugin.py"]
    assert "pytest" not in third_party_imports(others)


def package_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9_-]+", requirement)
    assert found
    return found[0].lower()


def third_party_imports(paths: Iterable[Path] = SOURCES) -> set[str]:
    names: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"hubd"}


def test_the_command_is_where_the_package_says() -> None:
    module, _, function = PROJECT["scripts"]["hubd"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_changelog_knows_this_version() -> None:
    assert hubd.__version__ in (ROOT / "CHANGELOG.md").read_text()


def test_every_public_make_target_is_in_its_help_and_exists() -> None:
    text = (ROOT / "Makefile").read_text()
    described = set(re.findall(r"(?m)^([a-z-]+):.*## ", text))
    assert described == {
        "help",
        "run",
        "install",
        "test",
        "test-long",
        "bench",
        "bench-all",
        "bench-deps",
        "check",
        "format",
        "clean",
    }
    phony = re.search(r"(?m)^\.PHONY: (.*)$", text)
    assert phony
    assert set(phony[1].split()) == described | {"node", "chromium", "firefox", "nginx", "caddy", "cc", "postgres"}
