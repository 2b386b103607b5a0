"""The base classes of resources."""

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

Service = TypeVar("Service")


class AnswersHead:
    """A resource that answers HEAD as GET, unless `has_head` is False."""

    has_head = True
    on_head: ClassVar[Callable[..., None]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.has_head and "on_get" in vars(cls):
            cls.on_head = vars(cls)["on_get"]


class Resource(AnswersHead, Generic[Service]):
    """A resource that calls one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
