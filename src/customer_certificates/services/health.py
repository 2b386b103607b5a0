"""Checks the health of the service."""

from typing import Annotated

import msgspec

from ..errors import Unavailable
from ..field_docs import doc
from ..gateways.cache.page_cache import PageCache
from ..gateways.database import Database


class HealthView(msgspec.Struct):
    """1 for each part that responds, 0 for each that does not."""

    api: Annotated[int, doc("This service.", 1, ge=0, le=1)]
    database: Annotated[int, doc("Required: without it the answer is 503.", 1, ge=0, le=1)]
    cache: Annotated[
        int, doc("Optional: without it the service is slower, but works.", 1, ge=0, le=1)
    ]


class ReadyView(msgspec.Struct):
    """Whether the process can take requests: both parts are 1."""

    api: Annotated[int, doc("0 while the process drains.", 1, ge=0, le=1)]
    database: Annotated[int, doc("0 if the database does not answer.", 1, ge=0, le=1)]


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
