"""The registrable domain of a hostname."""

import pytest

from customer_certificates.pki.names.registrable import registrable_domain


@pytest.mark.parametrize(
    ("hostname", "domain"),
    [
        ("www.example.co.uk", "example.co.uk"),
        ("*.a.example.co.uk", "example.co.uk"),
        ("www.customer.github.io", "customer.github.io"),
        ("github.io", "github.io"),
        # The last two numbers of an address are nobody's domain.
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_registrable_domain(hostname: str, domain: str) -> None:
    assert registrable_domain(hostname) == domain
