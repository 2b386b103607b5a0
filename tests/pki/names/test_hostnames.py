import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from customer_certificates.pki.asn1.extensions import GeneralName
from customer_certificates.pki.names.hostnames import (
    MOST_HOSTNAMES,
    covers,
    hostnames_of,
    normalise,
)


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("WWW.Example.COM", "www.example.com"),
        ("www.example.com.", "www.example.com"),
        ("*.example.com", "*.example.com"),
        ("localhost", "localhost"),
        ("foo_bar.example.com", "foo_bar.example.com"),
        ("r3---sn-a.example.com", "r3---sn-a.example.com"),
        ("x-.tumb.example.com", "x-.tumb.example.com"),
        ("-x.example.com", "-x.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER。example", "xn--bcher-kva.example"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::FFFF:c000:201", "::ffff:192.0.2.1"),
        ("1.example", "1.example"),
    ],
)
def test_hostnames_are_normalized(written: str, normalised: str) -> None:
    assert normalise(written) == normalised
    assert normalise(normalised) == normalised


@pytest.mark.parametrize(
    "no_hostname",
    [
        "",
        ".",
        "*",
        "*.",
        "*.com",
        "*.192.0.2.1",
        "w*.example.com",
        "*.*.example.com",
        "www.*.example.com",
        "a b.example",
        "a..example",
        ".example",
        "a.-example",
        "a.example-",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "192.0.2",
        "192.0.2.256",
        "fe80::1%eth0",
        "https://example.com",
        "example.com:443",
        "a\x00.example",
        "\u2028.example",
        "☃.example",
        "ü" * 60 + ".example",
        "\ud800.example",
    ],
)
def test_invalid_hostnames_have_no_normal_form(no_hostname: str) -> None:
    assert normalise(no_hostname) is None


@given(st.text(max_size=300))
def test_normalization_is_idempotent(text: str) -> None:
    made = normalise(text)

    assert made is None or (normalise(made) == made and made.isascii() and len(made) <= 253)


@pytest.mark.parametrize("hostile", ["\u0130", "ﷺ", "a\u0300", "\u200d", "xn--"])
def test_a_name_that_is_too_long_after_mapping_is_invalid(hostile: str) -> None:
    assert normalise(hostile * 60) is None
    assert normalise(hostile * 100_000) is None


@pytest.mark.parametrize(
    ("pattern", "hostname", "is_covered"),
    [
        ("example.com", "example.com", True),
        ("example.com", "www.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "xn--bcher-kva.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.www.example.com", False),
        ("*.example.com", "*.example.com", True),
        ("*.www.example.com", "*.example.com", False),
        ("*.example.com", "*.www.example.com", False),
        ("www.example.com", "*.example.com", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_wildcard_covers_one_label(pattern: str, hostname: str, is_covered: bool) -> None:
    assert covers(pattern, hostname) is is_covered


def dns(*values: str) -> list[GeneralName]:
    return [GeneralName(0x82, value.encode("latin-1")) for value in values]


def test_the_names_of_a_certificate_are_normalized_and_unique() -> None:
    mail = GeneralName(0x81, b"somebody@example.com")
    address = GeneralName(0x87, ipaddress.ip_address("2001:db8::1").packed)
    san = [*dns("WWW.example.com", "www.example.com"), mail, address]

    assert hostnames_of(san, "body") == (("www.example.com", "2001:db8::1"), ())


@pytest.mark.parametrize(
    ("value", "severity", "named", "reason"),
    [
        ("", "error", (), "empty"),
        ("www .example.com", "error", (), "space"),
        ("a\nb.example", "error", (), "a\\0Ab.example"),
        ("*.*.example.com", "error", (), "wildcard"),
        ("*.com", "error", (), "wildcard"),
        ("192.0.2.1", "error", (), "IP address"),
        (".example", "error", (), "not a hostname"),
        ("intranet", "warning", ("intranet",), "no dot"),
        ("a_b.example", "warning", ("a_b.example",), "underscore"),
        ("x-.example.com", "warning", ("x-.example.com",), "hyphen"),
        ("-x.example.com", "warning", ("-x.example.com",), "hyphen"),
        ("*.x-.example.com", "warning", ("*.x-.example.com",), "hyphen"),
        ("a.example-", "error", (), "not a hostname"),
        ("a.-example", "error", (), "not a hostname"),
        ("a.example.", "warning", ("a.example",), "ends in a dot"),
    ],
)
def test_a_name_that_clients_do_not_match_is_found(
    value: str, severity: str, named: tuple[str, ...], reason: str
) -> None:
    names, (finding,) = hostnames_of(dns(value), "body")

    assert names == named
    assert (finding.code, finding.field, finding.severity) == ("san_invalid", "body", severity)
    assert reason in finding.detail


def test_a_network_is_not_an_address() -> None:
    network = GeneralName(0x87, bytes([192, 0, 2, 0, 255, 255, 255, 0]))

    names, (finding,) = hostnames_of([network], "body")

    assert names == ()
    assert "192.0.2.0/255.255.255.0" in finding.detail


@pytest.mark.parametrize("size", [0, 3, 5, 15, 17])
def test_an_address_with_a_wrong_size_is_invalid(size: int) -> None:
    names, (finding,) = hostnames_of([GeneralName(0x87, bytes(size)), *dns("a.example")], "body")

    assert names == ("a.example",)
    assert (finding.code, finding.severity) == ("san_invalid", "error")


def test_faults_of_one_kind_are_one_finding() -> None:
    san = dns(*(f"{n} x.example" for n in range(100)))

    _, (finding,) = hostnames_of(san, "body")

    assert "«0 x.example»" in finding.detail
    assert "95 more" in finding.detail


def test_the_number_of_names_is_limited() -> None:
    san = dns(*(f"{n}.example.com" for n in range(1001)))

    names, (finding,) = hostnames_of(san, "body")

    assert len(names) == MOST_HOSTNAMES
    assert "1001 names" in finding.detail
