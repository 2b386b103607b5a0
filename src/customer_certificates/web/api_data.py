"""Reads the fixed parts of the API description."""

from importlib.resources import files
from typing import Any

import msgspec


def text(name: str) -> str:
    """Returns the content of the file `name` in the folder api_description."""
    return files("customer_certificates.web").joinpath("api_description", name).read_text("utf-8")


def data(name: str) -> Any:
    """Returns the content of the JSON file `name` in the folder api_description."""
    return msgspec.json.decode(text(name))
