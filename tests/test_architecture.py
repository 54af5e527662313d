"""The structure of the code: which room imports which, what plain pytest never loads, and unique names."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PACKAGE: Final = "pytest_setups"
ROOMS: Final = (
    "redaction",
    "registry",
    "api",
    "serving",
    "tagging",
    "checks",
    "proofs",
    "regression",
    "demo",
    "config",
    "run",
    "report",
    "load",
    "plugin",
    "suite",
    "cli",
)
"""A room imports only rooms that stand above it here; docs/architecture.md shows it with its reasons."""

ROOMS_WITH_PYTEST: Final = {"plugin", "suite"}


@dataclass(frozen=True)
class Import:
    """``importer`` imports the module ``imported``: at its top, inside a function, or only for types."""

    importer: str
    imported: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.importer} imports {self.imported}"


@cache
def modules(package: str = PACKAGE) -> dict[str, Path]:
    """The files of a package by the name of their module; a package stands for its ``__init__``."""
    paths = sorted((ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def imports(importer: str) -> Iterator[Import]:
    """Every import statement of a module, wherever it stands, and every ``import_module("...")``."""
    path = modules()[importer]
    for node in ast.walk(tree(path)):
        for imported in names_of(node, importer):
            yield Import(importer, imported, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")


def names_of(node: ast.AST, importer: str) -> list[str]:
    match node:
        case ast.Import(names):
            return [alias.name for alias in names]
        case ast.ImportFrom(source, names, level):
            base = absolute(source or "", level, importer)
            submodules = [f"{base}.{alias.name}" for alias in names]
            return [submodule if submodule in modules() else base for submodule in submodules]
        case ast.Call(
            ast.Name("import_module") | ast.Attribute(attr="import_module"), [ast.Constant(str(name)), *_]
        ):
            return [name]
        case _:
            return []


def absolute(source: str, level: int, importer: str) -> str:
    """The module that ``from ..source import`` means; ``level`` is the number of dots."""
    if not level:
        return source
    parts = importer.split(".")
    above = level - (modules()[importer].name == "__init__.py")
    return ".".join([*parts[: len(parts) - above], *source.split(".")]).rstrip(".")


def room(module: str) -> str | None:
    """The room of a module of the package; None outside of it and for the package itself, its public face."""
    package, _, inside = module.partition(".")
    return inside.split(".")[0] if package == PACKAGE and inside else None


ALL_IMPORTS: Final = [arrow for importer in modules() if room(importer) for arrow in imports(importer)]


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room(module) for module in modules()} - {None} == set(ROOMS)


def test_the_documentation_shows_the_rooms_in_this_order() -> None:
    table = (ROOT / "docs/architecture.md").read_text("utf-8").partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(ROOMS)


def test_a_room_imports_only_rooms_above_it() -> None:
    upwards = [
        str(arrow)
        for arrow in ALL_IMPORTS
        if (imported := room(arrow.imported))
        and ROOMS.index(imported) > ROOMS.index(str(room(arrow.importer)))
    ]
    assert upwards == []


def test_no_module_imports_itself_through_others() -> None:
    arrows: dict[str, set[str]] = {}
    for arrow in ALL_IMPORTS:
        if room(arrow.imported):
            arrows.setdefault(arrow.importer, set()).add(arrow.imported)
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_only_the_plugin_and_its_suite_know_pytest() -> None:
    strangers = [
        str(arrow)
        for arrow in ALL_IMPORTS
        if arrow.imported.split(".")[0] in {"pytest", "_pytest"}
        and room(arrow.importer) not in ROOMS_WITH_PYTEST
    ]
    assert strangers == []


def test_no_room_imports_what_the_wheel_lacks_or_the_public_face() -> None:
    absent = {"toy_model", "tests", "benchmarks", "conftest"}
    strangers = [
        str(arrow)
        for arrow in ALL_IMPORTS
        if arrow.imported == PACKAGE or arrow.imported.split(".")[0] in absent
    ]
    assert strangers == []


def test_no_two_modules_of_one_name() -> None:
    names = Counter(
        module.rpartition(".")[2] for package in (PACKAGE, "toy_model") for module in modules(package)
    )
    assert [name for name, times in names.items() if times > 1] == []


def test_no_two_classes_of_one_name() -> None:
    names = Counter(
        node.name
        for package in (PACKAGE, "toy_model")
        for path in modules(package).values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, times in names.items() if times > 1] == []


def loaded(program: str, folder: Path) -> set[str]:
    """The modules, besides those of the standard library, that a fresh interpreter holds after a program."""
    report = f"{program}; import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", report], cwd=folder, capture_output=True, text=True, check=True
    )
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}


def test_the_entry_point_loads_only_pytest_and_the_standard_library(tmp_path: Path) -> None:
    added = loaded("import pytest_setups.plugin", tmp_path) - loaded("import pytest", tmp_path)
    assert {room(module) for module in added} == {None, "config", "plugin"}
    assert {module.split(".")[0] for module in added} == {PACKAGE}


def test_plain_pytest_loads_no_more(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text("def test_own(): pass")
    session = "import pytest; assert pytest.main(['-q', *{}]) == 0"
    added = loaded(session.format([]), tmp_path) - loaded(session.format(["-p", "no:setups"]), tmp_path)
    assert {room(module) for module in added} == {None, "config", "plugin"}
    assert {module.split(".")[0] for module in added} == {PACKAGE}
