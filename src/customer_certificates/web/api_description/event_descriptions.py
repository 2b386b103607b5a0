"""The bodies that webhooks receive, for the API description (OpenAPI `webhooks`)."""

from typing import Any

from ...services.events.log import EVENT_TYPES
from . import data_files


def webhooks() -> dict[str, Any]:
    """Returns the OpenAPI description of each event type."""
    fixed = data_files.data("events.json")
    return {kind: {"post": _delivery(kind, fixed)} for kind in EVENT_TYPES}


def _delivery(kind: str, fixed: dict[str, Any]) -> dict[str, Any]:
    event = {
        "id": 1,
        "type": kind,
        "timestamp": "2026-11-25T09:30:00Z",
        "data": fixed["data"][kind.partition(".")[0]],
    }
    schema = {"$ref": "#/components/schemas/EventView"}
    return {
        "operationId": "receive" + kind.replace(".", "_").title().replace("_", ""),
        "summary": f"Receive a {kind} event",
        "tags": ["webhooks"],
        "security": [],
        "parameters": fixed["parameters"],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": event}},
        },
        "responses": fixed["responses"],
    }
