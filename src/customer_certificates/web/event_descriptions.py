"""The bodies that webhooks receive, for the API description (OpenAPI `webhooks`)."""

from typing import Any

from ..services.events.log import EVENT_TYPES

_HEADERS = {
    "webhook-id": ("The id of the event, the same for each attempt.", "evt_1"),
    "webhook-timestamp": ("The time of the attempt, in seconds since 1970.", "1764063000"),
    "webhook-signature": ("Signatures as specified by Standard Webhooks.", "v1,…"),
    "traceparent": (
        "A span in the trace of the request that caused the event, if any.",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
}
_DATA: dict[str, dict[str, Any]] = {
    "certificate": {
        "user_id": 1,
        "certificate_id": 3,
        "version": 1,
        "active": True,
        "hostnames": ["www.example.com"],
        "not_after": "2027-02-23T00:00:00Z",
        "fingerprint_sha256": "5d" * 32,
    },
    "hostname": {"user_id": 1, "hostnames": ["www.example.com"]},
    "user": {"user_id": 1},
    "webhook": {"user_id": 1, "webhook_id": 2},
}


def webhooks() -> dict[str, Any]:
    """Returns the OpenAPI description of each event type."""
    return {kind: {"post": _delivery(kind)} for kind in EVENT_TYPES}


def _delivery(kind: str) -> dict[str, Any]:
    event = {
        "id": 1,
        "type": kind,
        "timestamp": "2026-11-25T09:30:00Z",
        "data": _DATA[kind.partition(".")[0]],
    }
    return {
        "operationId": "receive" + kind.replace(".", "_").title().replace("_", ""),
        "summary": f"Receive a {kind} event",
        "tags": ["webhooks"],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": name != "traceparent",
                "description": description,
                "schema": {"type": "string", "examples": [example]},
            }
            for name, (description, example) in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/EventView"},
                    "example": event,
                }
            },
        },
        "responses": {
            "2XX": {"description": "The event was delivered."},
            "410": {"description": "The endpoint is gone. The service disables the webhook."},
            "default": {"description": "The service retries the delivery later."},
        },
    }
