"""What docs/plugins.md has to say of each hook, made from the hook's rule and specification."""

import ast
from pathlib import Path

from hubd.hooks import specs
from hubd.hooks.table import HOOKS, Fails, Rule

START = ("startup", "register_routes", "register_commands", "register_metrics", "broker", "push_backends")
"""Hooks that are called once, before the hub listens."""
_FAILS = {Fails.OPEN: "Fails open", Fails.CLOSED: "Fails closed", Fails.ABORT: "Aborts the start"}


def _kind(hook: str, rule: Rule) -> str:
    kind = "observes" if rule.observes else "start" if hook in START else "asked"
    return f"{kind}, plain function" if rule.sync else kind


def _time(rule: Rule) -> str:
    return "" if rule.sync else f"{rule.timeout_s:g} s"


def rule_line(hook: str) -> str:
    """The line below a hook's signature."""
    rule = HOOKS[hook]
    time = f" Time: {_time(rule)}." if not rule.sync else ""
    refuses = " A `Problem` refuses." if rule.may_refuse else ""
    return f"*Kind: {_kind(hook, rule)}.{time} {_FAILS[rule.fails]}.{refuses}*"


def table_row(hook: str) -> str:
    """The hook's row in the table of all."""
    rule = HOOKS[hook]
    cells = [f"[`hubd_{hook}`](#hubd_{hook})", _kind(hook, rule), _time(rule) or "–", _FAILS[rule.fails].lower()]
    cells.append("refuses" if rule.may_refuse else "is a fault")
    return f"| {' | '.join(cells)} |"


def signature(hook: str) -> str:
    """The hook as a plugin writes it: with ``self``, and types without the quotes that the specification needs."""
    tree = ast.parse(Path(specs.__file__).read_text())
    found = next(one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == f"hubd_{hook}")
    for node in ast.walk(found):
        if isinstance(node, ast.arg | ast.FunctionDef):
            field = "annotation" if isinstance(node, ast.arg) else "returns"
            said = getattr(node, field)
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                setattr(node, field, ast.parse(said.value, mode="eval").body)
            elif isinstance(said, ast.Subscript):
                setattr(node, field, ast.parse(ast.unparse(said).replace("'", ""), mode="eval").body)
    found.args.args.insert(0, ast.arg("self"))
    found.body, found.decorator_list = [ast.Pass()], []
    return ast.unparse(ast.fix_missing_locations(found)).partition(":\n")[0]
