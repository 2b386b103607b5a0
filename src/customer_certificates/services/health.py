"""Whether the service can do its work."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ..errors import Unavailable
from ..gateways.cache.page_cache import Pages
from ..gateways.database import Database


class HealthView(msgspec.Struct):
    """1 for each part that answers, 0 for each that does not."""

    api: Annotated[int, Meta(ge=0, le=1, description="This service.", examples=[1])]
    database: Annotated[int, Meta(ge=0, le=1, description="Without it: 503.", examples=[1])]
    cache: Annotated[
        int, Meta(ge=0, le=1, description="Without it: slower, not broken.", examples=[1])
    ]


class Health:
    """Asks the parts that the service depends on."""

    def __init__(self, database: Database, pages: Pages) -> None:
        self._database = database
        self._pages = pages

    def check(self) -> HealthView:
        """How each part does now."""
        try:
            self._database.ping()
            database = 1
        except Unavailable:
            database = 0
        return HealthView(api=1, database=database, cache=int(self._pages.is_up()))
