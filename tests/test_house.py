"""The house rules: imports point downhill, heavy libraries have one owner, and `tutelage --help` stays quick.

The rules are one function over source text, so that the sabotage table can show that each of them bites.
"""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "schemas": {"schemas"},
    "pipelines": {"schemas", "pipelines"},
    "audit": {"schemas", "audit"},
    "train": {"schemas", "train"},
    "cli": {"schemas", "pipelines", "audit", "train", "cli"},
}
OWNER = {"apache_beam": "pipelines", "duckdb": "audit", "torch": "train"}
SCHEMAS_NEEDS_ONLY = {"numpy", "pyarrow", "pydantic", "yaml"}
# numpy serves the two modules that pipelines and audit must agree on to the bit (docs/decisions/0012-fingerprints.md).
SCHEMAS_WITH_NUMPY = {"prompt_text.py", "shingles.py"}
# What a cli module may import before a command is called; all of it together has to load in well under 0.3 s.
CLI_LOADS_EARLY = {"typer", "rich", "tutelage.cli", "tutelage.schemas.errors", "tutelage.schemas.version"}


class Import(NamedTuple):
    line: int
    name: str  # dotted and absolute; `from a import b` is a.b
    early: bool  # happens when the module is imported, not when a function of it is called


class _Imports(ast.NodeVisitor):
    def __init__(self, package: str) -> None:
        self.package = package  # of the module that is read, for relative imports
        self.found: list[Import] = []
        self._function_depth = 0

    def _add(self, node: ast.AST, name: str) -> None:
        self.found.append(Import(node.lineno, name, early=self._function_depth == 0))  # type: ignore[attr-defined]

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        parts = self.package.split(".")
        anchor = parts[: len(parts) - node.level + 1] if node.level else []
        module = ".".join([*anchor, *([node.module] if node.module else [])])
        for alias in node.names:
            self._add(node, f"{module}.{alias.name}")

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        if called in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
            self._add(node, str(node.args[0].value))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        # `if TYPE_CHECKING:` is for mypy alone: it loads nothing, but it still couples.
        if "TYPE_CHECKING" in ast.unparse(node.test):
            self._function_depth += 1
            self.generic_visit(node)
            self._function_depth -= 1
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        # Decorators and defaults run at import, only the body waits.
        for part in [*node.decorator_list, node.args]:
            self.visit(part)
        self._function_depth += 1
        for statement in node.body:
            self.visit(statement)
        self._function_depth -= 1

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)


def violations(package: str, source: str) -> list[str]:
    """House rules that a module of `tutelage.<package>` breaks; package is "" for tests, benchmarks and docs."""
    layer = package.split(".")[0]
    imports = _Imports(f"tutelage.{package}")
    imports.visit(ast.parse(source))
    return [
        f"line {line}: imports {name}: {why}" for line, name, early in imports.found for why in _why(layer, name, early)
    ]


def _why(layer: str, name: str, early: bool) -> Iterator[str]:
    top, *below = name.split(".")
    if top in MAY_IMPORT:
        yield f"the bare name makes a second copy of every class; import tutelage.{name}"
    if layer == "":
        return
    if top == "tutelage" and below[0] not in MAY_IMPORT[layer]:
        yield f"{layer} may import {', '.join(sorted(MAY_IMPORT[layer]))}; the others meet it in Parquet files"
    if top in OWNER and layer != OWNER[top]:
        yield f"only {OWNER[top]} imports {top}"
    if layer == "schemas" and top not in {"tutelage", *SCHEMAS_NEEDS_ONLY, *sys.stdlib_module_names}:
        yield f"schemas needs the standard library, {', '.join(sorted(SCHEMAS_NEEDS_ONLY))} and nothing else"
    if layer == "cli" and early and not _is_quick(name):
        yield "would slow every command down; import it inside the function that needs it"


def _is_quick(name: str) -> bool:
    if name.split(".")[0] in sys.stdlib_module_names:
        return True
    return any(name == quick or name.startswith(f"{quick}.") for quick in CLI_LOADS_EARLY)


def _package_of(module: Path) -> str:
    return ".".join(module.relative_to(ROOT).parent.parts)


MODULES = sorted(path for layer in MAY_IMPORT for path in (ROOT / layer).rglob("*.py"))


def test_there_are_modules_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_the_house_rules(module: Path) -> None:
    assert violations(_package_of(module), module.read_text(encoding="utf-8")) == []


def test_numpy_stays_in_the_contracts_of_texts() -> None:
    with_numpy = set()
    for module in MODULES:
        imports = _Imports("tutelage.schemas")
        imports.visit(ast.parse(module.read_text(encoding="utf-8")))
        if _package_of(module) == "schemas" and any(found.name.split(".")[0] == "numpy" for found in imports.found):
            with_numpy.add(module.name)
    assert with_numpy == SCHEMAS_WITH_NUMPY


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_nobody_outside_the_packages_imports_a_bare_name(folder: str) -> None:
    own = [
        path for part in (ROOT / folder).glob("[!.]*") for path in [part, *part.rglob("*.py")] if path.suffix == ".py"
    ]
    assert own
    broken = {str(path): found for path in own if (found := violations("", path.read_text(encoding="utf-8")))}
    assert broken == {}


@pytest.mark.parametrize(
    ("package", "source", "complaint"),
    [
        ("schemas", "from tutelage.pipelines import plan", "schemas may import schemas"),
        ("schemas", "from ..pipelines import plan", "schemas may import schemas"),
        ("schemas", "import httpx", "and nothing else"),
        ("schemas", "def f():\n    import scipy", "and nothing else"),
        ("pipelines", "import tutelage.audit.lineage", "pipelines may import"),
        ("pipelines", "from tutelage import train", "pipelines may import"),
        ("pipelines", "import duckdb", "only audit imports duckdb"),
        ("pipelines", "def f():\n    import duckdb", "only audit imports duckdb"),
        ("pipelines", "from importlib import import_module\nimport_module('torch')", "only train imports torch"),
        ("pipelines.teachers", "from ...audit import lineage", "pipelines may import"),
        ("audit", "from tutelage.pipelines.journal import Frame", "audit may import"),
        ("audit", "import apache_beam as beam", "only pipelines imports apache_beam"),
        ("audit", "from apache_beam.io import ReadFromParquet", "only pipelines imports apache_beam"),
        ("train", "from tutelage.cli.main import run", "train may import"),
        ("train", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tutelage.audit import x", "train may"),
        ("pipelines", "import schemas.rows", "bare name"),
        ("cli", "def f():\n    from train import losses", "bare name"),
        ("", "from schemas.rows import Completion", "bare name"),
        ("cli", "import torch", "only train imports torch"),
        ("cli", "def f():\n    import duckdb", "only audit imports duckdb"),
        ("cli", "import pyarrow", "inside the function"),
        ("cli", "import httpx", "inside the function"),
        ("cli", "from tutelage.pipelines import harvest", "inside the function"),
        ("cli", "from tutelage.schemas import manifest", "inside the function"),
        ("cli", "try:\n    import yaml\nexcept ImportError:\n    pass", "inside the function"),
        ("cli", "class A:\n    import yaml", "inside the function"),
        ("cli", "def f(x=__import__('yaml')): ...", "inside the function"),
    ],
)
def test_a_planted_violation_is_found(package: str, source: str, complaint: str) -> None:
    found = violations(package, source)
    assert len(found) >= 1
    assert any(complaint in line for line in found), found


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("schemas", "import hashlib, pyarrow\nfrom pydantic import BaseModel\nimport yaml"),
        ("schemas", "from . import errors\nfrom .errors import ConfigError"),
        ("pipelines", "import apache_beam as beam\nimport httpx\nfrom tutelage.schemas import rows"),
        ("pipelines.teachers", "from .protocol import Reply\nfrom ..config import Job\nfrom ...schemas import rows"),
        ("audit", "import duckdb"),
        ("train", "import torch"),
        ("cli", "import typer\nfrom rich.table import Table\nfrom tutelage.schemas.errors import TutelageError"),
        (
            "cli",
            "def f():\n    import pyarrow\n    from tutelage.pipelines import harvest",
        ),
        (
            "cli",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tutelage.schemas.manifest import Manifest",
        ),
        ("", "import duckdb\nfrom tutelage.pipelines import harvest"),
    ],
)
def test_an_allowed_import_is_left_alone(package: str, source: str) -> None:
    assert violations(package, source) == []


def test_every_folder_of_code_is_installed() -> None:
    installed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(installed) == sorted({f"tutelage.{_package_of(module)}" for module in MODULES})


def test_every_data_file_beside_the_code_is_installed() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    shipped = {
        path for name, globs in patterns.items() for glob in globs for path in (ROOT / name.split(".")[1]).glob(glob)
    }
    data = {
        path
        for layer in MAY_IMPORT
        for path in (ROOT / layer).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }
    assert data - shipped == set()


def test_no_tests_package_shadows_the_real_ones() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py")), "with it, pytest puts the repository root on sys.path"
