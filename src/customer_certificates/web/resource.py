"""The base class of resources that call one service."""

from typing import Generic, TypeVar

Service = TypeVar("Service")


class Resource(Generic[Service]):
    """A resource that calls `service`."""

    def __init__(self, service: Service) -> None:
        self._service = service
