from falcon.testing import TestClient
from .factories import *
from .service import Service


def test_a(client: TestClient, owner: int) -> None:
    r = client.simulate_post(f"/users/{owner}/certificates", json=an_upload(active=True))
    assert r.status_code == 201
    r = client.simulate_get(f"/users/{owner}/certificates", params={"active": "true"})
    assert r.status_code == 200, r.text
    assert len(r.json) == 1
    assert (
        client.simulate_get(
            f"/users/{owner}/certificates", headers={"If-None-Match": r.headers["etag"]}
        ).status_code
        == 304
    )


def test_b(service: Service) -> None:
    with service.client() as c:
        assert c.post("/users", json=a_user()).status_code == 201
