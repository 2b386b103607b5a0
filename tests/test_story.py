"""A certificate's lifecycle, over a real socket."""

from .factories import a_pair, a_user
from .service import Service


def test_a_certificate_is_uploaded_activated_listed_and_deleted(service: Service) -> None:
    pair = a_pair()
    with service.client() as client:
        registered = client.post("/users", json=a_user(name="Ada", email="Ada@Example.com"))
        assert registered.status_code == 201
        user = registered.headers["Location"]
        assert client.get(user).json()["email"] == "Ada@Example.com"

        uploaded = client.post(
            f"{user}/certificates", json={"body": pair.body, "private_key": pair.private_key}
        )
        assert uploaded.status_code == 201
        certificate = uploaded.headers["Location"]
        assert client.get(f"{user}/certificates", params={"active": "true"}).json() == []

        activated = client.patch(f"{certificate}/active", json={"active": True})
        assert (activated.status_code, activated.json()) == (
            202,
            {"id": uploaded.json()["id"], "active": True},
        )

        listed = client.get(f"{user}/certificates", params={"active": "true"})
        assert [shown["body"] for shown in listed.json()] == [pair.body]
        unchanged = client.get(
            f"{user}/certificates",
            params={"active": "true"},
            headers={"If-None-Match": listed.headers["ETag"]},
        )
        assert (unchanged.status_code, unchanged.content) == (304, b"")

        assert client.delete(certificate).status_code == 204
        assert client.delete(certificate).status_code == 404
        assert client.get(f"{user}/certificates").json() == []

        assert client.delete(user).status_code == 204
        assert client.get(f"{user}/certificates").status_code == 404
