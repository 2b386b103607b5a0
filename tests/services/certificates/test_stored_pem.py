"""Certificates are stored in DER, as a text, or once for body and chain_pem."""

from typing import Any

import pytest
import sqlalchemy as sa

from customer_certificates.models import AS_BODY, Certificate, CertificateVersion, stored_size

from ...factories import a_pair
from ...tables import add_certificates, add_users


def _in_pem(text: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"


@pytest.fixture
def texts() -> list[str]:
    one, other = a_pair().body, a_pair("another.example.com").body
    return [
        *("Prüfkörper", one, one + other, one.replace("\n", "\r\n"), one.rstrip(), f" {one}"),
        *(f"{one}-----END CERTIFICATE-----\n", one + "more", one.replace("\n", "", 2)),
        *(_in_pem("AAAA"), _in_pem("AAA"), _in_pem("MIIA"), _in_pem("A=AA"), _in_pem("")),
    ]


def test_certificates_are_read_as_they_were_sent(engine: sa.Engine, texts: list[str]) -> None:
    (owner,) = add_users(engine, 1)
    other = a_pair("third.example.com").body
    for body in texts:
        for served_pem in (AS_BODY, other, None):
            columns: dict[str, Any] = {"body": body, "chain": body, "served_pem": served_pem}
            (certificate_id,) = add_certificates(engine, owner, 1, **columns)
            with engine.begin() as connection:
                version = {"certificate_id": certificate_id, "version": 2, **columns}
                connection.execute(sa.insert(CertificateVersion), version)

    expected = [(body, body, chain) for body in texts for chain in (body, other, None)]
    with engine.connect() as connection:
        for kind in (Certificate, CertificateVersion):
            columns_of = sa.select(kind.body, kind.chain, kind.chain_pem).order_by(kind.id)
            assert [tuple(row) for row in connection.execute(columns_of)] == expected


def test_a_certificate_takes_the_size_of_its_der(engine: sa.Engine, texts: list[str]) -> None:
    (owner,) = add_users(engine, 1)
    for body in texts:
        add_certificates(engine, owner, 1, body=body)

    is_postgresql = engine.dialect.name == "postgresql"
    size = "octet_length(body)" if is_postgresql else "length(CAST(body AS BLOB))"
    with engine.connect() as connection:
        query = sa.text(f"SELECT {size} FROM certificates ORDER BY id")
        assert connection.execute(query).scalars().all() == [stored_size(text) for text in texts]
    assert stored_size(texts[1]) < len(texts[1]) * 3 // 4
