"""The architecture rules that no linter checks."""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from customer_certificates import errors
from customer_certificates.errors import Refusal
from customer_certificates.web.problems import STATUSES

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "customer_certificates"
FILES = sorted(SOURCE.rglob("*.py"))

ROOMS = {
    "background",
    "cli",
    "client",
    "console",
    "crypto",
    "gateways",
    "maintenance",
    "middleware",
    "models",
    "pki",
    "resources",
    "server",
    "services",
    "web",
}
FRAMEWORKS = {
    "falcon": {"app.py", "console", "middleware", "resources", "web"},
    "sqlalchemy": {"gateways", "models", "services"},
}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0]


def imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names | modules}


def test_the_packages_are_those_listed() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir()} - {"__pycache__"}

    assert folders == ROOMS


def test_a_package_has_at_most_14_files() -> None:
    """`models` has one file for each table."""
    files = Counter(path.parent.relative_to(SOURCE).as_posix() for path in FILES)

    assert {name: number for name, number in files.items() if number > 14} == {
        "models": files["models"]
    }


def test_a_function_over_40_lines_says_why() -> None:
    long = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 40
        and "# Over 40 lines: " not in (ast.get_source_segment(path.read_text(), node) or "")
    ]

    assert long == []


def test_no_file_has_a_vague_name() -> None:
    stray = [path for path in FILES if re.search(r"util|helper|common|misc", path.stem)]

    assert stray == []


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_is_imported_only_in_its_packages(framework: str) -> None:
    rooms = {room_of(path) for path in FILES if framework in imports(path)}

    assert rooms <= FRAMEWORKS[framework]


def test_only_gateways_commit() -> None:
    guilty = [path for path in FILES if re.search(r"\.(commit|rollback)\(", path.read_text())]

    assert {room_of(path) for path in guilty} <= {"gateways"}


def test_no_resource_has_a_try_statement() -> None:
    """Only problems.py, and problem_pages.py of the console, map refusals to responses."""
    guilty = {
        path.relative_to(SOURCE).as_posix()
        for room in ("console", "resources")
        for path in (SOURCE / room).rglob("*.py")
        if any(isinstance(node, ast.Try) for node in ast.walk(ast.parse(path.read_text())))
    }

    assert guilty == {f"console/{name}.py" for name in ("forms", "problem_pages")}


def test_services_do_not_read_the_clock() -> None:
    guilty = [
        path
        for path in (SOURCE / "services").rglob("*.py")
        if re.search(r"\.now\(|time\.time\(|utcnow", path.read_text().replace("self._now(", ""))
    ]

    assert guilty == []


def test_every_refusal_has_a_status() -> None:
    refusals = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, Refusal) and kind is not Refusal
    }

    assert set(STATUSES) == refusals


def test_the_architecture_fits_on_a_page() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) <= 80
