"""The rules of the architecture: who may import whom, and who alone knows the time, starts tasks, makes randomness.

Each is a function from parsed sources to what breaks it.
"""

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

# From bottom to top. A module belongs to the floor of its longest prefix; one that has none breaks a rule.
CORE, BASE, HUB, EDGE, TOP = range(1, 6)
FLOORS = {
    "hubd.core": CORE,
    "hubd.clock": BASE,
    "hubd.collecting": BASE,
    "hubd.malloc": BASE,
    "hubd.config": BASE,
    "hubd.config_base": BASE,
    "hubd.config_checks": BASE,
    "hubd.config_lines": BASE,
    "hubd.config_options": BASE,
    "hubd.config_text": BASE,
    "hubd.counts": BASE,
    "hubd.faults": BASE,
    "hubd.hooks": BASE,
    "hubd.hooks.backends": EDGE,
    "hubd.hooks.brought": EDGE,
    "hubd.hooks.catalog": EDGE,
    "hubd.hooks.handle": EDGE,
    "hubd.hooks.manager": EDGE,
    "hubd.hooks.specs": EDGE,
    "hubd.ids": BASE,
    "hubd.jwt_keys": BASE,
    "hubd.log_events": BASE,
    "hubd.logs": BASE,
    "hubd.storing": BASE,
    "hubd.tasks": BASE,
    "hubd.turns": BASE,
    "hubd.arrivals": HUB,
    "hubd.asking": HUB,
    "hubd.attendance": HUB,
    "hubd.audience": HUB,
    "hubd.broker": HUB,
    "hubd.delivering": HUB,
    "hubd.explaining": HUB,
    "hubd.explaining_connections": HUB,
    "hubd.explaining_words": HUB,
    "hubd.gates": HUB,
    "hubd.hub": HUB,
    "hubd.idempotency": HUB,
    "hubd.late_acks": HUB,
    "hubd.looking_up": HUB,
    "hubd.memory": HUB,
    "hubd.publishing": HUB,
    "hubd.pump": HUB,
    "hubd.push": HUB,
    "hubd.pushing": HUB,
    "hubd.claim": BASE,
    "hubd.releasing": HUB,
    "hubd.saved": HUB,
    "hubd.scheduled_call": HUB,
    "hubd.scheduling": HUB,
    "hubd.stored_subscriptions": HUB,
    "hubd.subscribing": HUB,
    "hubd.taking_up": HUB,
    "hubd.saved_file": HUB,
    "hubd.edge": EDGE,
    "hubd.egress": EDGE,
    "hubd.egress_guard": EDGE,
    "hubd.metric_delivery": EDGE,
    "hubd.metric_kinds": EDGE,
    "hubd.metric_push": EDGE,
    "hubd.metric_store": EDGE,
    "hubd.metric_table": EDGE,
    "hubd.metrics": EDGE,
    "hubd.store": EDGE,
    "hubd.survey": EDGE,
    "hubd.__main__": TOP,
    "hubd.claiming": TOP,
    "hubd.cli": TOP,
    "hubd.commands": TOP,
    "hubd.control": TOP,
    "hubd.plugin": TOP,
    "hubd.pytest_plugin": TOP,
    "hubd.reload": TOP,
    "hubd.server": TOP,
    "hubd.storekeeper": TOP,
    "hubd.systemd": TOP,
    "hubd.phones": TOP,
    "hubd.trying": TOP,
    "hubd.testing": TOP,
    # The other side: clients of the API, which know nothing of the hub.
    "hubd.feed": TOP,
    "hubd.publisher": TOP,
}
ALONE = {"hubd.feed": {"hubd.feed"}, "hubd.publisher": {"hubd.feed"}}
"""What these may import of hubd, whatever their floor would allow."""

PURE = {
    "bisect", "collections", "dataclasses", "enum", "functools", "hashlib", "heapq", "itertools", "json", "math",
    "operator", "re", "typing",
    "msgpack", "orjson", "pydantic", "pydantic_core", "pyroaring",
}  # fmt: skip
"""All that the core may use besides itself: no I/O, clock, randomness or asyncio among them."""

IMPURE_CALLS = {"open", "print", "input", "eval", "exec", "__import__", "breakpoint"}

NETWORK = {"aiohttp", "http", "socket", "ssl", "urllib", "select", "selectors", "yarl"}

KNOWS_TIME = {
    "hubd.clock": "it is the clock",
    "hubd.logs": "a line says when it was written",
    "hubd.commands.explaining": "it shows moments as the clock on the wall has them",
    "hubd.feed": "a client: it gathers lines for a moment by its own loop's time",
    "hubd.testing.authority": "its certificates are good for some days from now",
    "hubd.publisher": "a client: it waits and gives up by its own loop's time",
}
STARTS_TASKS = {
    "hubd.tasks": "each has an owner, a name and an end",
    "hubd.feed": "standard input is read in a thread, which hands its lines over to the loop",
}
MAKES_RANDOMNESS = {
    "hubd.testing.webpush_service": "keys of made-up browsers",
    "hubd.commands.keys": "keys that are made once, on the command line",
    "hubd.commands.publishing": "the id of what is published once, on the command line",
    "hubd.edge.keys": "a new API key",
    "hubd.feed": "ids of a feed's lines",
    "hubd.publisher": "jitter",
    "hubd.testing.kit": "the same every time",
    "hubd.testing.plugins": "the same every time",
    "hubd.server": "the daemon's source of randomness, handed to all who need one",
}


@dataclass(frozen=True)
class Module:
    """A source file, parsed."""

    name: str
    tree: ast.Module

    @property
    def floor(self) -> int | None:
        return floor_of(self.name)


@dataclass(frozen=True)
class Import:
    """One import: of a module, seen by the type checker alone or at run time too."""

    target: str
    types_only: bool


def floor_of(name: str) -> int | None:
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        if (floor := FLOORS.get(".".join(parts[:end]))) is not None:
            return floor
    return None


def module(name: str, source: str) -> Module:
    return Module(name, ast.parse(source))


def sources() -> list[Module]:
    found = []
    for path in sorted((ROOT / "hubd").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(module(name, path.read_text()))
    return found


MODULES = sources()
NAMES = {found.name for found in MODULES}


def imports_of(found: Module, known: Iterable[str] = NAMES) -> Iterator[Import]:
    """Every import, also the late ones; `from package import module` counts as the module."""
    types_only = {
        id(node)
        for block in ast.walk(found.tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(found.tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{found.name}: a relative import"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [name if name in known else node.module for name in inner]
        else:
            continue
        for target in dict.fromkeys(targets):
            yield Import(target, id(node) in types_only)


# --- Rules: from modules to what breaks them

Rule = Callable[[list[Module]], list[str]]


def unplaced(modules: list[Module]) -> list[str]:
    """Every module has its floor, so that nobody forgets to say where a new one belongs."""
    packages = {"hubd"}
    return [found.name for found in modules if found.floor is None and found.name not in packages]


def upward(modules: list[Module]) -> list[str]:
    """Nobody imports from a floor above his own, not even for the type checker."""
    known = NAMES | {found.name for found in modules}
    broken = []
    for found in modules:
        for one in imports_of(found, known):
            if one.target == "hubd" or not one.target.startswith("hubd."):
                continue
            floor = floor_of(one.target)
            outside = found.name in ALONE and one.target not in ALONE[found.name]
            if outside or floor is None or found.floor is None or floor > found.floor:
                broken.append(f"{found.name} imports {one.target}")
    return broken


def circular(modules: list[Module]) -> list[str]:
    """No circles. What only the type checker sees may close one: there is none when the program runs."""
    graph: dict[str, list[str]] = {found.name: [] for found in modules}
    for found in modules:
        known = NAMES | graph.keys()
        targets = [one.target for one in imports_of(found, known) if not one.types_only]
        graph[found.name] = [target for target in targets if target in graph and target != "hubd"]
    done: set[str] = set()
    broken: list[str] = []

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            broken.append(" -> ".join((*way[way.index(name) :], name)))
        elif name not in done:
            for target in graph[name]:
                visit(target, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())
    return broken


def impure(modules: list[Module]) -> list[str]:
    """The core is pure: it imports itself and a few pure libraries, does no I/O and waits for nothing."""
    broken = []
    for found in modules:
        if found.floor != CORE:
            continue
        for one in imports_of(found):
            if one.target.partition(".")[0] not in PURE | {"hubd"}:
                broken.append(f"{found.name} imports {one.target}")
        for node in ast.walk(found.tree):
            if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
                broken.append(f"{found.name}:{node.lineno} waits")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
                broken.append(f"{found.name}:{node.lineno} calls {node.func.id}")
    return broken


def plugged(modules: list[Module]) -> list[str]:
    """hubd never imports a plugin: one is there because the config names it."""
    return [
        f"{found.name} imports {imported.target}"
        for found in modules
        for imported in imports_of(found)
        if imported.target.startswith("hubd_")
    ]


WAITS_FOR_ANSWERS = {
    "hubd.delivering",
    "hubd.idempotency",
    "hubd.late_acks",
    "hubd.looking_up",
    "hubd.push.device_writes",
    "hubd.push.rechecking",
    "hubd.push.sending",
    "hubd.scheduling",
    "hubd.stored_subscriptions",
    "hubd.taking_up",
}


def networked(modules: list[Module]) -> list[str]:
    """Below the edge nobody knows of HTTP and sockets; the hub doesn't even know asyncio, but to wait for an answer."""
    broken = []
    for found in modules:
        floor = found.floor or TOP
        refused = NETWORK if floor <= HUB else set()
        if floor == HUB and found.name not in WAITS_FOR_ANSWERS:
            refused = refused | {"asyncio"}
        if found.name == "hubd.config_checks":
            refused = refused - {"urllib"}  # urllib.parse takes addresses apart
        for one in imports_of(found):
            if one.target.partition(".")[0] in refused:
                broken.append(f"{found.name} imports {one.target}")
    return broken


def timely(modules: list[Module]) -> list[str]:
    """Only the clock knows the time."""
    broken = []
    for found in modules:
        if found.name in KNOWS_TIME:
            continue
        for one in imports_of(found):
            if one.target.partition(".")[0] in {"time", "datetime"}:
                broken.append(f"{found.name} imports {one.target}")
        for node in ast.walk(found.tree):
            if isinstance(node, ast.Attribute) and node.attr == "time" and not is_of_self(node.value):
                broken.append(f"{found.name}:{node.lineno} reads a loop's time")
    return broken


def is_of_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def tasked(modules: list[Module]) -> list[str]:
    """Only `hubd.tasks` starts tasks."""
    starters = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe"}
    return [
        f"{found.name}:{node.lineno} uses {name}"
        for found in modules
        if found.name not in STARTS_TASKS
        for node in ast.walk(found.tree)
        if (name := used_name(node)) in starters
    ]


def random_(modules: list[Module]) -> list[str]:
    """Randomness is handed in: nobody else makes it, and nobody uses the functions of the module `random`."""
    makers = {"Random", "SystemRandom", "uuid1", "uuid4", "urandom", "token_hex", "token_bytes", "token_urlsafe"}
    broken = []
    for found in modules:
        if found.name in MAKES_RANDOMNESS:
            continue
        for node in ast.walk(found.tree):
            if isinstance(node, ast.Import) and any(alias.name in {"random", "secrets"} for alias in node.names):
                broken.append(f"{found.name}:{node.lineno} imports the whole module")
            elif isinstance(node, ast.ImportFrom) and node.module in {"random", "secrets"}:
                for alias in node.names:
                    if alias.name != "Random":  # the type of what is handed in
                        broken.append(f"{found.name}:{node.lineno} imports {alias.name}")
            elif isinstance(node, ast.Call) and used_name(node.func) in makers:
                broken.append(f"{found.name}:{node.lineno} makes randomness")
    return broken


def used_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
ORDERLESS = {"set", "frozenset", "sorted", "min", "max", "len", "sum", "any", "all"}
IN_ORDER = {"list", "tuple", "enumerate", "iter", "next", "map", "zip", "filter", "reversed", "dict", "deque", "join"}


def unordered(modules: list[Module]) -> list[str]:
    """Core and hub never go through a set where its order shows (min, sorted, len, any and `in` are fine).

    It sees what is a set by its looks: an expression, or a name that one was given to in the same file.
    """
    broken = []
    for found in modules:
        if found.floor not in (CORE, HUB):
            continue
        named = {name for node in ast.walk(found.tree) for name in names_of_sets(node)}
        harmless = {id(node) for call in ast.walk(found.tree) for node in taken_without_order(call)}
        for node in ast.walk(found.tree):
            if id(node) in harmless:
                continue
            for iterated in iterated_by(node):
                if looks_like_set(iterated, named):
                    broken.append(f"{found.name}:{iterated.lineno} goes through a set")
    return broken


def looks_like_set(node: ast.expr, named: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(value=value, attr=attr)):
            return attr in SET_METHODS or (attr == "copy" and looks_like_set(value, named))
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
            return looks_like_set(left, named) or looks_like_set(right, named)
        case ast.Name() | ast.Attribute():
            return used_name(node) in named
    return False


def names_of_sets(node: ast.AST) -> Iterator[str]:
    """Names and attributes that a set is given to here, or that are annotated as one."""
    if isinstance(node, ast.Assign) and looks_like_set(node.value, set()):
        yield from filter(None, map(used_name, node.targets))
    elif isinstance(node, ast.AnnAssign | ast.arg):
        annotation = node.annotation
        base = annotation.value if isinstance(annotation, ast.Subscript) else annotation
        if base is not None and used_name(base) in {"set", "frozenset", "AbstractSet"}:
            yield node.arg if isinstance(node, ast.arg) else used_name(node.target)


def taken_without_order(node: ast.AST) -> Iterator[ast.AST]:
    """What stands directly in a call for which order is all the same."""
    if isinstance(node, ast.Call) and used_name(node.func) in ORDERLESS:
        for argument in node.args:
            yield argument
            yield from getattr(argument, "generators", ())


def iterated_by(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.For | ast.comprehension):
        yield node.iter
    elif isinstance(node, ast.Call) and used_name(node.func) in IN_ORDER:
        yield from node.args
    elif isinstance(node, ast.List | ast.Tuple):
        yield from (element.value for element in node.elts if isinstance(element, ast.Starred))
    elif isinstance(node, ast.YieldFrom):
        yield node.value
