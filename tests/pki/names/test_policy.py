"""Names that nobody can claim, and names that an operator must grant."""

import pytest

from customer_certificates.pki.names.policy import NamePolicy

POLICY = NamePolicy(
    ["platform.example.org", "*.internal.example.org"], ["edge.example.net", "192.0.2.99"]
)


@pytest.mark.parametrize(
    ("hostname", "restriction"),
    [
        ("www.example.com", None),
        ("*.example.com", None),
        ("*.www.example.com", None),
        ("www.shop.test", None),
        ("*.shop.example", None),
        # Wildcards directly under public suffixes.
        ("*.co.uk", "forbidden"),
        ("*.foo.ck", "forbidden"),
        ("*.xn--p1ai.xn--p1ai", None),
        ("*.github.io", "reserved"),
        ("somebody.github.io", None),
        ("*.somebody.github.io", None),
        # Single labels and special-use names.
        ("intranet", "reserved"),
        ("localhost", "reserved"),
        ("printer.local", "reserved"),
        ("*.corp.internal", "reserved"),
        ("router.home.arpa", "reserved"),
        ("abc.onion", "reserved"),
        ("local.example.com", None),
        # Reserved subtrees, and the wildcard that covers one.
        ("platform.example.org", "reserved"),
        ("a.b.platform.example.org", "reserved"),
        ("*.platform.example.org", "reserved"),
        ("*.example.org", "reserved"),
        ("notplatform.example.org", None),
        ("x.internal.example.org", "reserved"),
        ("edge.example.net", "reserved"),
        ("*.example.net", "reserved"),
        ("example.net", None),
        # Addresses.
        ("192.0.2.99", "reserved"),
        ("192.0.2.98", None),
        ("2001:db8::1", None),
    ],
)
def test_restrictions_of_names(hostname: str, restriction: str | None) -> None:
    assert POLICY.restriction(hostname) == restriction
