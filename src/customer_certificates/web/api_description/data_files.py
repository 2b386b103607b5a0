"""Reads the fixed parts of the API description."""

from importlib.resources import files
from typing import Any

import msgspec


def text(name: str) -> str:
    """Returns the content of the file `name` in this folder."""
    return files("customer_certificates.web.api_description").joinpath(name).read_text("utf-8")


def data(name: str) -> Any:
    """Returns the content of the JSON file `name` in this folder."""
    return msgspec.json.decode(text(name))
