"""Checks the health of the service."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ..errors import Unavailable
from ..gateways.cache.page_cache import PageCache
from ..gateways.database import Database


class HealthView(msgspec.Struct):
    """1 for each part that responds, 0 for each that does not."""

    api: Annotated[int, Meta(ge=0, le=1, description="This service.", examples=[1])]
    database: Annotated[
        int, Meta(ge=0, le=1, description="Required: without it the answer is 503.", examples=[1])
    ]
    cache: Annotated[
        int,
        Meta(
            ge=0,
            le=1,
            description="Optional: without it the service is slower, but works.",
            examples=[1],
        ),
    ]


class ReadyView(msgspec.Struct):
    """Whether the process can take requests: both parts are 1."""

    api: Annotated[int, Meta(ge=0, le=1, description="0 while the process drains.", examples=[1])]
    database: Annotated[
        int, Meta(ge=0, le=1, description="0 if the database does not answer.", examples=[1])
    ]


class Health:
    """Checks the parts that the service depends on."""

    def __init__(self, database: Database, pages: PageCache) -> None:
        self._database = database
        self._pages = pages
        self._is_draining = False

    def check(self) -> HealthView:
        """Returns the current health of each part."""
        return HealthView(api=1, database=self._database_is_up(), cache=int(self._pages.is_up()))

    def readiness(self) -> ReadyView:
        """Returns whether the process can take requests now."""
        return ReadyView(api=int(not self._is_draining), database=self._database_is_up())

    def start_draining(self) -> None:
        """Makes the process unready until it exits."""
        self._is_draining = True

    def _database_is_up(self) -> int:
        try:
            self._database.ping()
        except Unavailable:
            return 0
        return 1
