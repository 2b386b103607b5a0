"""A search reads a limited part of the table for each page."""

import pytest
import sqlalchemy as sa

from customer_certificates.gateways.database import Database
from customer_certificates.services.fleet.criteria import FleetFilter
from customer_certificates.services.fleet.search import Fleet

from ...tables import NOW, add_certificates, add_users


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_page_ends_where_too_few_certificates_match(
    database: Database, engine: sa.Engine, limit: int
) -> None:
    """And the next page continues there, up to the end of the table."""
    (user,) = add_users(engine, 1)
    matching = add_certificates(engine, user, 3, active=False)
    add_certificates(engine, user, 7)
    matching += add_certificates(engine, user, 1, active=False)
    add_certificates(engine, user, 2)
    fleet = Fleet(database, lambda: NOW, walk=4)

    found: list[list[int]] = []
    page = fleet.page(FleetFilter(status="inactive"), None, limit)
    while True:
        found.append([item.id for item in page.items])
        if page.next_after is None:
            break
        page = fleet.page(FleetFilter(status="inactive"), page.next_after, limit)

    assert [one for ids in found for one in ids] == matching
    assert [] in found
    assert max(map(len, found)) <= min(limit, 3)


def test_a_search_without_certificates_ends(database: Database, engine: sa.Engine) -> None:
    fleet = Fleet(database, lambda: NOW, walk=4)

    assert fleet.page(FleetFilter(servable=False), None, 10) == ([], None)
