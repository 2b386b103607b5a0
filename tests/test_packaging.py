"""The client commands need only the base dependencies; the extra `server` adds the service's."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
import typer

from customer_certificates.cli import app
from customer_certificates.config import SETTINGS

ROOT = Path(__file__).parent.parent
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))

_IMPORT_CLIENT = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({modules!r}))  # None: the import of such a module fails.
from customer_certificates import client
for module in pkgutil.walk_packages(client.__path__, client.__name__ + "."):
    importlib.import_module(module.name)
"""
_RUN = """
import sys
sys.modules.update(dict.fromkeys({modules!r}))
sys.argv = ["customer-certificates", *{words!r}]
from customer_certificates.cli import main
main()
"""


def server_modules() -> list[str]:
    """The modules that only the extra `server` installs."""
    lines = [line for line in requires("customer-certificates") or [] if "'server'" in line]
    names = {re.split(r"[^a-z0-9-]", line.lower())[0] for line in lines}
    return [
        module
        for module, distributions in packages_distributions().items()
        if any(name.lower().replace("_", "-") in names for name in distributions)
    ]


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_the_client_needs_no_package_of_the_service() -> None:
    modules = server_modules()
    assert {"falcon", "sqlalchemy", "psycopg", "redis", "uvloop"} <= {*modules}

    ended = python(_IMPORT_CLIENT.format(modules=modules))

    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("words", [["serve"], ["token", "list"]])
def test_a_command_of_the_service_names_the_missing_extra(words: list[str]) -> None:
    ended = python(_RUN.format(modules=server_modules(), words=words))

    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.endswith("Install the service: pip install 'customer-certificates[server]'")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_systemd_unit_names_existing_commands_and_settings(unit: Path) -> None:
    text = unit.read_text()
    commands = re.findall(r"^Exec\w+=\S+/customer-certificates (\w+)", text, re.MULTILINE)
    settings = {name.removesuffix("_FILE") for name in re.findall(r"\bCC_[A-Z_]+", text)}

    assert commands
    known = typer.main.get_command(app).commands  # pyrefly: ignore[missing-attribute]
    assert {*commands} <= {*known}
    assert settings <= {*SETTINGS}


def test_the_image_has_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = (ROOT / "Dockerfile").read_text()

    assert f"ARG VERSION={project['version']}\n" in labels
