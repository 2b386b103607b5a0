"""Checks of the Compose file and the images without a Docker engine."""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "tests" / "programs.txt"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())[
    "services"
]
# A call that may name a program. To parse all modules takes long.
_NAMES_A_PROGRAM = re.compile(r"\b(run|Popen|check_output|which|program)\(\s*\[?\s*[\"']")
# Any Debian has these.
OF_EVERY_SYSTEM = {"bash", "cat", "mount", "sh", "true", "umount"}


def environment(name: str) -> dict[str, str]:
    found: dict[str, str] = SERVICES[name].get("environment", {})
    return found


def volumes(name: str) -> set[str]:
    return {volume.partition(":")[0] for volume in SERVICES[name].get("volumes", ())}


@pytest.mark.parametrize("name", ["api-prd", "https", "certificate"])
def test_a_prd_service_does_not_know_the_owner_of_the_database(name: str) -> None:
    assert "CC_DATABASE_OWNER_URL" not in environment(name)
    assert "CC_DATABASE_PASSWORD" not in str(SERVICES[name])


def test_the_test_service_can_migrate() -> None:
    """As the original's `docker-compose run api alembic upgrade head` needs it."""
    assert "CC_DATABASE_PASSWORD" in environment("api")["CC_DATABASE_OWNER_URL"]


def test_the_test_service_shares_no_volume_with_prd() -> None:
    assert not volumes("api") & (volumes("api-prd") | volumes("migrate-prd"))
    assert volumes("api-prd") == volumes("migrate-prd")


def test_the_cache_and_its_clients_share_a_password() -> None:
    password = environment("cache")["REDISCLI_AUTH"]

    assert "requirepass $$REDISCLI_AUTH" in str(SERVICES["cache"]["command"])
    for name in ("api", "api-prd"):
        assert environment(name)["CC_CACHE_URL"].startswith(f"redis://:{password}@")


@pytest.mark.parametrize("name", ["api", "api-prd", "https", "database", "cache"])
def test_a_killed_service_is_restarted(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_the_tests_keep_no_other_service_running() -> None:
    tests = SERVICES["api-test"]

    assert "depends_on" not in tests
    assert "restart" not in tests
    assert not [name for name in environment("api-test") if name.endswith("_URL")]


def test_each_base_image_can_be_named_by_its_digest() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    stages = {"dependencies", "build", "service", "test"}

    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.M)) <= {"${PYTHON_IMAGE}", *stages}
    for name, service in SERVICES.items():
        if "build" in service:
            assert service["build"]["args"]["PYTHON_IMAGE"].startswith("${CC_PYTHON_IMAGE:-"), name
        else:
            assert re.match(r"\$\{CC_[A-Z]+_IMAGE:-", service["image"]), name


def test_the_programs_that_tests_run_are_listed() -> None:
    asked = {name for path in (ROOT / "tests").rglob("*.py") for name in programs_in(path)}

    assert asked - OF_EVERY_SYSTEM == set(listed())


@pytest.mark.parametrize("file", ["Dockerfile", ".ci/run"])
def test_the_list_of_programs_is_the_only_one(file: str) -> None:
    text = (ROOT / file).read_text()

    assert "tests/programs.txt" in text
    # .ci/run runs `make test`.
    packages = set(listed().values()) - {"make"}
    assert not [package for package in packages if re.search(rf"\b{package}\b", text)]


def test_a_migration_is_written_by_the_owner_of_its_folder(tmp_path: Path) -> None:
    """If the container was not started as root, the entry point runs the command as it is."""
    owner = 1234
    (tmp_path / "alembic").mkdir(mode=0o700)
    program = tmp_path / "alembic" / "alembic"
    program.write_text('#!/bin/sh\necho "$(id -u):$(id -g) $*"\n')
    program.chmod(0o755)
    tmp_path.chmod(0o755)
    if os.geteuid() == 0:
        for path in (program, tmp_path / "alembic"):
            os.chown(path, owner, owner)
    else:
        owner = os.geteuid()

    ended = subprocess.run(
        ["sh", str(ROOT / "docker" / "entrypoint.sh"), "alembic", "revision"],
        cwd=tmp_path,
        env={"PATH": f"./alembic:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )

    group = owner if os.geteuid() == 0 else os.getegid()
    assert ended.stdout == f"{owner}:{group} revision\n"


def listed() -> dict[str, str]:
    """The Debian package of each program."""
    lines = [line for line in PROGRAMS.read_text().splitlines() if not line.startswith("#")]
    return dict(line.split() for line in lines)


def programs_in(path: Path) -> Iterator[str]:
    """The programs that a module names: looked up, or at the head of a command."""
    text = path.read_text()
    if not _NAMES_A_PROGRAM.search(text):
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = node.func.id if isinstance(node.func, ast.Name) else name
        first = node.args[0]
        if name in ("run", "Popen", "check_output") and isinstance(first, ast.List) and first.elts:
            first = first.elts[0]
        elif name not in ("which", "program"):
            continue
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value
