"""First-party plugins use nothing that a stranger's can't: of hubd its public names alone, and not each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubd.plugin

PLUGINS = Path(__file__).parents[2] / "plugins"
NAMES = sorted(path.name for path in PLUGINS.iterdir() if (path / "__init__.py").is_file())
FILES = sorted(PLUGINS.rglob("*.py"))
DYNAMIC = {"__import__", "import_module", "eval", "exec"}


def broken(tree: ast.Module, own: str) -> Iterator[str]:
    """What in a source breaks the rule; ``own`` is the package that it belongs to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                if top == "hubd" or (top in NAMES and top != own):
                    yield f"import {alias.name}: only `from hubd.plugin import ...` is a plugin's"
        elif isinstance(node, ast.ImportFrom):
            yield from _broken_from(node, own)
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", "") or getattr(node.func, "attr", "")
            if name in DYNAMIC:
                yield f"{name}() could import anything"
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_self(node.value):
            yield f"{ast.unparse(node)} is somebody else's own"


def _broken_from(node: ast.ImportFrom, own: str) -> Iterator[str]:
    module = node.module or ""
    top = module.partition(".")[0]
    if node.level > 1:
        yield "a relative import that leaves its package"
    elif node.level == 0 and top in NAMES and top != own:
        yield f"{module} is another plugin"
    elif node.level == 0 and top == "hubd":
        public = hubd.plugin.__all__ if module == "hubd.plugin" else []
        for alias in node.names:
            if alias.name not in public:
                yield f"{module}.{alias.name} isn't public"


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def test_there_are_plugins() -> None:
    assert {"hubd_proxy_auth", "hubd_webhooks"} <= set(NAMES)
    assert len(FILES) > len(NAMES)


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PLUGINS)) for path in FILES])
def test_a_plugin_s_file_uses_public_names_alone(path: Path) -> None:
    own = path.relative_to(PLUGINS).parts[0]
    assert list(broken(ast.parse(path.read_text()), own)) == []


def test_all_public_names_are_there() -> None:
    assert [name for name in hubd.plugin.__all__ if not hasattr(hubd.plugin, name)] == []


@pytest.mark.parametrize(
    "source",
    [
        "import hubd",
        "import hubd.hub",
        "import hubd.plugin",
        "import aiohttp, hubd.hub as h",
        "from hubd import hub",
        "from hubd import plugin",
        "from hubd.hub import Hub",
        "from hubd.plugin import Hub",
        "from hubd.plugin import *",
        "from hubd.plugin import hookimpl, Clock, json",
        "def f():\n    from hubd.tasks import Tasks",
        "if TYPE_CHECKING:\n    from hubd.hub import Hub",
        "import hubd_proxy_auth",
        "from hubd_proxy_auth.cache import Cache",
        "from .. import hubd_proxy_auth",
        "import importlib\nimportlib.import_module('hubd.hub')",
        "__import__('hubd.hub')",
        "hub._hub.registry",
        "self._hub._hub",
    ],
)
def test_what_breaks_the_rule_is_found(source: str) -> None:
    assert list(broken(ast.parse(source), "hubd_webhooks"))


@pytest.mark.parametrize(
    "source",
    [
        "from hubd.plugin import Egress, hookimpl",
        "from hubd_webhooks.config import WebhooksConfig",
        "from .config import WebhooksConfig",
        "import aiohttp\nimport hubdish",
        "self._hub.publish()",
        "type(self).__name__",
    ],
)
def test_what_keeps_it_isn_t(source: str) -> None:
    assert list(broken(ast.parse(source), "hubd_webhooks")) == []
