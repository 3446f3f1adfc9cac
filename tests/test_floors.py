"""The map of the house: on which floor each module stands, and what it may import.

Imports go down or stay on their floor. The two lower floors are pure: bytes, values and `now` in,
values out; no trio, sockets, files, clock, environment, randomness or logging.
"""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import tokenomics

PACKAGE = Path(tokenomics.__file__).parent

# A name covers the modules below it; the longest name that covers a module counts.
FLOORS = {
    # Values and words.
    "": 0,  # tokenomics itself: the version
    "data": 0,  # files for the policies and the demo; no code
    "errors": 0,
    "events": 0,
    "strictjson": 0,
    "tokens": 0,
    "units": 0,
    # What decides.
    "config": 1,
    "dialects": 1,
    "echo": 1,
    "net.coding": 1,
    "net.framing": 1,
    "net.heads": 1,
    "net.message": 1,
    "net.origin": 0,
    "net.pool": 1,
    "net.proxies": 1,
    "net.redis_address": 1,
    "net.resp": 1,
    "outcome": 1,
    "policy": 1,
    "prices": 1,
    "store.frames": 1,
    "store.table": 1,
    # What touches the world.
    "config.sources": 2,
    "files": 2,
    "follow": 2,
    "line": 2,
    "logs": 2,
    "memory": 2,
    "net": 2,
    "replica": 2,
    "store": 2,
    "usage": 2,
    "webhooks": 2,
    # Apps.
    "central": 3,
    "echo.app": 3,
    "gateway": 3,
    # Where the parts are joined.
    "cli": 4,
    "__main__": 4,
}
PACKAGES = ("net", "store")  # their `__init__` is empty: pure and shell stand side by side
PURE = 1  # the highest pure floor

# What a pure module may import from outside; anything new is a decision to be made here.
PURE_IMPORTS = frozenset(
    """__future__ base64 binascii bisect collections contextlib dataclasses datetime decimal
    difflib functools h11 hashlib hmac http ipaddress itertools json math msgpack pathlib re re2
    struct types typing unicodedata urllib.parse uuid zlib zoneinfo""".split()
)
# `pathlib.Path` is a value type to settings, and IO to everybody else.
PATHS = ("config.settings", "config.build")
# What those modules hold that is not pure.
IMPURE_CALLS = frozenset(
    """breakpoint exec eval input open print datetime.now datetime.utcnow datetime.today
    date.today uuid.uuid1 uuid.uuid4 Path.cwd Path.home""".split()
)
IMPURE_METHODS = frozenset(
    """absolute chmod exists expanduser glob is_dir is_file iterdir mkdir open read_bytes read_text
    resolve rglob stat touch unlink write_bytes write_text""".split()
)

# Each foreign library behind few doors.
DOORS = {
    "cryptography": ("net.tls", "store.seal"),
    "h11": ("net",),
    "msgpack": ("store.frames",),
    "re2": ("policy.regexes",),
    "yaml": ("config.sources",),
}


class Import(NamedTuple):
    """One imported module; `late` if it stands in a function or under TYPE_CHECKING."""

    name: str
    late: bool


def covers(name: str, module: str) -> bool:
    return module == name or module.startswith(name + ".")


def parse_package() -> dict[str, ast.Module]:
    """Each module by its name below `tokenomics`, which is "" itself."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix("__init__").rstrip(".")] = ast.parse(file.read_bytes())
    return found


MODULES = parse_package()
each_module = pytest.mark.parametrize("module", MODULES)


def floor_of(module: str) -> int | None:
    names = [name for name in FLOORS if covers(name, module)]
    return FLOORS[max(names, key=len)] if names else None


def put_off(tree: ast.Module) -> set[ast.AST]:
    """What does not run when the module is imported: functions, and what is for type checkers."""
    later = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"))
    ]
    return {inner for node in later for inner in ast.walk(node)}


def imports(module: str) -> Iterator[Import]:
    later = put_off(MODULES[module])
    for node in ast.walk(MODULES[module]):
        late = node in later
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            source = node.module or ""
            for alias in node.names:
                # `from tokenomics.policy import model` imports tokenomics.policy.model
                below = f"{source}.{alias.name}"
                yield Import(below if ours(below) in MODULES else source, late)


def ours(name: str) -> str | None:
    """The name below `tokenomics`, or None for a foreign module."""
    return name.removeprefix("tokenomics").lstrip(".") if covers("tokenomics", name) else None


def own_imports(module: str) -> Iterator[tuple[str, bool]]:
    for imported in imports(module):
        name = ours(imported.name)
        if name is not None:
            yield name, imported.late


def foreign_imports(module: str) -> set[str]:
    return {i.name for i in imports(module) if ours(i.name) is None}


def pure_modules() -> list[str]:
    return [m for m in MODULES if m not in PACKAGES and (floor_of(m) or 0) <= PURE]


def dotted(node: ast.expr) -> str:
    """`datetime.now` of such an expression; of anything else the empty text."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


@each_module
def test_a_module_has_a_floor(module: str) -> None:
    assert floor_of(module) is not None, f"give tokenomics.{module} a floor in FLOORS"


@pytest.mark.parametrize("name", [*FLOORS, *PATHS, *PACKAGES, *sum(DOORS.values(), ())])
def test_a_name_in_the_tables_is_a_module(name: str) -> None:
    assert name in MODULES


@each_module
def test_imports_go_down(module: str) -> None:
    here = floor_of(module) or 0
    up = [name for name, _ in own_imports(module) if (floor_of(name) or 0) > here]
    assert up == [], f"tokenomics.{module} is on floor {here}"


@each_module
def test_an_own_module_that_is_imported_exists(module: str) -> None:
    assert {name for name, _ in own_imports(module)} <= MODULES.keys()


@pytest.mark.parametrize("module", pure_modules())
def test_a_pure_module_imports_pure_ones(module: str) -> None:
    known = PURE_IMPORTS - {"pathlib"} if module not in PATHS else PURE_IMPORTS
    found = foreign_imports(module)
    assert {name for name in found if not any(covers(pure, name) for pure in known)} == set()


@pytest.mark.parametrize("module", pure_modules())
def test_a_pure_module_asks_the_world_nothing(module: str) -> None:
    called = {dotted(n.func) for n in ast.walk(MODULES[module]) if isinstance(n, ast.Call)}
    impure = {name for name in called if any(covers_end(name, call) for call in IMPURE_CALLS)}
    if module in PATHS:
        impure |= {name for name in called if name.rpartition(".")[2] in IMPURE_METHODS}
    assert impure == set()


def covers_end(name: str, call: str) -> bool:
    """`datetime.datetime.now` ends in `datetime.now`; `self.open` does not call `open`."""
    return name == call or ("." in call and name.endswith("." + call))


@each_module
def test_a_library_is_behind_its_door(module: str) -> None:
    through_walls = [
        name
        for name in foreign_imports(module)
        for library, doors in DOORS.items()
        if covers(library, name) and not any(covers(door, module) for door in doors)
    ]
    assert through_walls == []


def test_policies_and_dialects_do_not_know_each_other() -> None:
    for here, there in (("policy", "dialects"), ("dialects", "policy")):
        modules = [m for m in MODULES if covers(here, m)]
        assert [m for m in modules for n, _ in own_imports(m) if covers(there, n)] == []


def test_modules_do_not_import_each_other_in_circles() -> None:
    graph = {m: [name for name, late in own_imports(m) if not late] for m in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
