"""Leaves: their dates, lifetimes, signatures, names, purposes and roles."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from . import der
from .authority import (
    ANY,
    CLIENT,
    END,
    NOW,
    SERVER,
    START,
    WWW,
    Authority,
    basic,
    dns,
    draft_leaf,
    extension,
    intermediate,
    leaf,
    name,
    private_root,
    purposes,
    raw_extension,
    root,
    san,
    san_of,
    subordinate,
    usage,
)
from .case import Case, Expected, error, info, pem, pems, sent, warning
from .keys import ec_key, rsa_key

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def cases() -> Iterator[Case]:
    yield from _dates()
    yield from _lifetimes()
    yield from _signatures()
    yield from _names()
    yield from _purposes()
    yield from _oddities()


def public(
    name: str,
    made: str,
    certificate: bytes,
    *findings: Expected,
    hostnames: tuple[str, ...] = (WWW,),
    now: datetime = NOW,
) -> Case:
    """A leaf of the usual intermediate, which is sent with it."""
    return Case(
        f"leaf-{name}",
        made,
        sent(pems(certificate, intermediate().certificate)),
        findings=findings,
        hostnames=hostnames,
        now=now,
    )


def _dates() -> Iterator[Case]:
    def at(name: str, made: str, now: datetime, *findings: Expected) -> Case:
        return public(name, made, leaf(), *findings, now=now)

    yield at(
        "expired", "A month after its end.", datetime(2027, 2, 28, tzinfo=UTC), error("expired")
    )
    yield at("expired-by-a-second", "A second after its end.", END + SECOND, error("expired"))
    yield at("last-second", "The last second, which belongs to it.", END, warning("expires_soon"))
    yield at(
        "not-yet-valid",
        "A day before it begins.",
        datetime(2026, 10, 31, tzinfo=UTC),
        warning("not_yet_valid"),
    )
    yield at("first-second", "The first second, which belongs to it.", START)
    yield at(
        "not-yet-valid-by-a-second",
        "A second before it begins.",
        START - SECOND,
        warning("not_yet_valid"),
    )
    yield at(
        "thirty-days-left",
        "Thirty days before its end.",
        END - timedelta(days=30),
        warning("expires_soon"),
    )
    yield at(
        "thirty-one-days-left",
        "A second more than thirty days before its end.",
        END - timedelta(days=30) - SECOND,
    )
    short = leaf(days=6)
    ends = START + timedelta(days=6) - SECOND
    yield public(
        "short-lived-third",
        "Six days long, and less than a third is left.",
        short,
        warning("expires_soon"),
        now=ends - timedelta(days=2) + HOUR,
    )
    yield public(
        "short-lived",
        "Six days long, and more than a third is left.",
        short,
        now=ends - timedelta(days=2) - HOUR,
    )
    yield public(
        "47-days-third",
        "47 days long, 15 days are left.",
        leaf(days=47),
        warning("expires_soon"),
        now=START + timedelta(days=32),
    )
    yield public(
        "47-days", "47 days long, 16 days are left.", leaf(days=47), now=START + timedelta(days=31)
    )
    yield public(
        "moment",
        "It begins and ends in the same second, which is now.",
        draft_leaf().but(start=NOW, end=NOW).signed(intermediate().key),
        warning("expires_soon"),
    )
    yield public(
        "upside-down",
        "It ends before it begins.",
        draft_leaf().but(start=END, end=START).signed(intermediate().key),
        error("expired"),
        error("validity_invalid"),
    )
    early = der.generalized_time(START)
    yield public(
        "generalized-time",
        "GeneralizedTime for a year before 2050, which DER forbids.",
        draft_leaf().but(start=early).signed(intermediate().key),
    )
    yield public(
        "year-9999",
        "It has no end (RFC 5280, 4.1.2.5: the year 9999).",
        draft_leaf()
        .but(end=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
        .signed(intermediate().key),
        error("lifetime_too_long"),
        warning("chain_expires_first"),
    )
    yield public(
        "year-1950",
        "It begins in the year 1950, as far back as UTCTime reaches.",
        draft_leaf().but(start=datetime(1950, 1, 1, tzinfo=UTC)).signed(intermediate().key),
    )


def _lifetimes() -> Iterator[Case]:
    limits = [
        (datetime(2018, 3, 1, tzinfo=UTC), 825),
        (datetime(2020, 9, 1, tzinfo=UTC), 398),
        (datetime(2026, 3, 15, tzinfo=UTC), 200),
        (datetime(2027, 3, 15, tzinfo=UTC), 100),
        (datetime(2029, 3, 15, tzinfo=UTC), 47),
    ]
    for since, most in limits:
        for days in (most, most + 1):
            findings = () if days == most else (error("lifetime_too_long"),)
            yield Case(
                f"lifetime-{since.year}-{days}",
                f"Valid for {days} days from {since:%Y-%m-%d} on.",
                sent(pems(leaf(start=since, days=days), intermediate().certificate)),
                now=since + HOUR,
                findings=findings,
            )
    for since, most in limits[2:]:
        before = since - SECOND
        longer = {200: 398, 100: 200, 47: 100}[most]
        yield Case(
            f"lifetime-before-{since.year}-{longer}",
            f"Valid for {longer} days, issued the second before the limit fell to {most}.",
            sent(pems(leaf(start=before, days=longer), intermediate().certificate)),
            now=since,
        )
    yield Case(
        "lifetime-200-and-a-second",
        "A second more than 200 days.",
        sent(pems(leaf(days=200 + 1 / 86400), intermediate().certificate)),
        findings=(error("lifetime_too_long"),),
    )
    yield Case(
        "lifetime-private",
        "Ten years, from a private authority.",
        sent(pems(leaf(by=private_root(), days=3650), private_root().certificate)),
        findings=(warning("lifetime_too_long"), warning("untrusted"), info("root_dropped")),
        trust="private",
        served=1,
    )
    mine = Authority(WWW, ec_key(WWW))
    yield Case(
        "lifetime-self-signed",
        "Ten years, self-signed.",
        sent(pem(leaf(by=mine, days=3650))),
        findings=(warning("lifetime_too_long"), warning("untrusted")),
        trust="self_signed",
        served=1,
    )
    yield Case(
        "lifetime-incomplete",
        "A year, and who issued it is not known.",
        sent(pem(leaf(days=366))),
        findings=(info("lifetime_too_long"), error("chain_incomplete")),
        trust="incomplete",
        served=1,
    )


def _signatures() -> Iterator[Case]:
    by_rsa = subordinate("RSA Intermediate", root(), rsa_key("2048"))
    for digest in ("sha1", "md5"):
        yield Case(
            f"leaf-signed-with-{digest}",
            f"Signed with RSA and {digest.upper()}.",
            sent(
                pems(
                    draft_leaf(by=by_rsa).but(signature=f"rsa-{digest}").signed(by_rsa.key),
                    by_rsa.certificate,
                )
            ),
            findings=(error("signature_weak"),),
        )
    yield public(
        "signed-with-ecdsa-sha1",
        "Signed with ECDSA and SHA-1.",
        draft_leaf().but(signature="ecdsa-sha1").signed(intermediate().key),
        error("signature_weak"),
    )
    mine = Authority(WWW, ec_key(WWW))
    yield Case(
        "leaf-self-signed-with-sha1",
        "Self-signed, with SHA-1.",
        sent(pem(draft_leaf(by=mine).but(signature="ecdsa-sha1").signed(mine.key))),
        findings=(error("signature_weak"), warning("untrusted")),
        trust="self_signed",
        served=1,
    )
    yield public(
        "signature-malleated",
        "s of the ECDSA signature became n - s, which holds, too.",
        _malleated(leaf()),
    )
    yield public(
        "signature-algorithms-differ",
        "What is signed names another algorithm (SHA-384) than the signature (SHA-256).",
        draft_leaf().but(inner_signature="ecdsa-sha384").signed(intermediate().key),
        error("chain_broken"),
    ).but(trust="incomplete", served=1)
    yield public(
        "signature-unknown",
        "Signed with an algorithm that nobody knows.",
        draft_leaf().but(signature="unknown").signed(intermediate().key),
        error("chain_broken"),
        error("signature_unsupported"),
    ).but(trust="incomplete", served=1)
    yield public(
        "signature-ml-dsa",
        "It claims to be signed with ML-DSA-44; the signature is none.",
        draft_leaf().but(signature="ml-dsa-44").signed(intermediate().key),
        error("chain_broken"),
        error("signature_unsupported"),
    ).but(trust="incomplete", served=1)
    for signature in ("sha224", "null-sha256"):
        yield public(
            f"signature-{signature}",
            f"The signature holds, and browsers do not accept its algorithm ({signature}).",
            draft_leaf().but(signature=f"ecdsa-{signature}").signed(intermediate().key),
            error("signature_unsupported"),
        )
    yield public(
        "signature-empty",
        "The signature has no bits.",
        _with_signature(leaf(), b""),
        error("chain_broken"),
    ).but(trust="incomplete", served=1)


def _names() -> Iterator[Case]:
    def named(
        title: str, made: str, names: bytes, *findings: Expected, hostnames: tuple[str, ...] = ()
    ) -> Case:
        return public(title, made, leaf(names=names), *findings, hostnames=hostnames)

    missing, invalid = error("san_missing"), error("san_invalid")
    yield named("san-missing", "No subjectAltName; the hostname is the common name.", b"", missing)
    yield public(
        "san-missing-no-cn",
        "No subjectAltName, and no subject.",
        draft_leaf(names=b"").but(subject=name()).signed(intermediate().key),
        missing,
        hostnames=(),
    )
    yield named("san-empty", "subjectAltName of no names.", san_of(), missing)
    yield named(
        "san-mail-and-uri",
        "An e-mail address and a URI only.",
        san(x509.RFC822Name("a@example.com"), x509.UniformResourceIdentifier("https://a.example")),
        missing,
    )
    yield named(
        "san-underscore",
        "An underscore in a label.",
        san("my_host.example.com"),
        warning("san_invalid"),
        hostnames=("my_host.example.com",),
    )
    yield named("san-blank", "A blank within the name.", san_of(dns(b"www example.com")), invalid)
    yield named("san-empty-name", "A DNS name of no characters.", san_of(dns(b"")), invalid)
    yield named(
        "san-nul",
        "A NUL within the name, as in the attack of 2009.",
        san_of(dns(b"www.example.com\0.example.net")),
        invalid,
    )
    yield named(
        "san-newline",
        "A newline and a forged log line within the name.",
        san_of(dns(b"www.example.com\nINFO all is well")),
        invalid,
    )
    yield named("san-ip-as-dns", "An IPv4 address, as a DNS name.", san("192.0.2.7"), invalid)
    yield named("san-ipv6-as-dns", "An IPv6 address, as a DNS name.", san("2001:db8::7"), invalid)
    yield named("san-url-as-dns", "A URL, as a DNS name.", san("https://www.example.com/"), invalid)
    yield named("san-port", "A name with a port.", san("www.example.com:443"), invalid)
    for title, value in {
        "in-the-middle": "www.*.example.com",
        "partial": "w*.example.com",
        "lone": "*",
        "top-level": "*.com",
        "double": "*.*.example.com",
        "last": "www.example.*",
    }.items():
        yield named(f"san-wildcard-{title}", f"The name {value}.", san(value), invalid)
    yield named(
        "san-wildcard",
        "A wildcard, and the name beneath it.",
        san("*.example.com", "example.com"),
        hostnames=("*.example.com", "example.com"),
    )
    yield named(
        "san-single-label",
        "A name without a dot.",
        san("intranet"),
        warning("san_invalid"),
        hostnames=("intranet",),
    )
    yield named(
        "san-last-dot",
        "A name with a dot at its end.",
        san("www.example.com."),
        warning("san_invalid"),
        hostnames=("www.example.com",),
    )
    yield named("san-leading-dot", "A name with a dot at its start.", san(".example.com"), invalid)
    yield named("san-two-dots", "An empty label.", san("www..example.com"), invalid)
    yield named(
        "san-hyphens",
        "Labels that begin or end with a hyphen, which some clients take.",
        san("-www.example.com", "www-.example.com", "*.www-.example.com"),
        warning("san_invalid"),
        hostnames=("-www.example.com", "www-.example.com", "*.www-.example.com"),
    )
    yield named("san-long-label", "A label of 64 letters.", san("a" * 64 + ".example.com"), invalid)
    yield named(
        "san-long-name",
        "A name of 254 letters, in labels of 63.",
        san(".".join(["a" * 63] * 3 + ["b" * 62])),
        invalid,
    )
    yield named(
        "san-longest-name",
        "A name of 253 letters, in labels of at most 63.",
        san(".".join(["a" * 63] * 3 + ["b" * 61])),
        hostnames=(".".join(["a" * 63] * 3 + ["b" * 61]),),
    )
    yield named("san-upper-case", "Capital letters.", san("WWW.Example.COM"), hostnames=(WWW,))
    yield named(
        "san-twice",
        "The same name twice, in different case.",
        san(WWW, "WWW.EXAMPLE.COM"),
        hostnames=(WWW,),
    )
    yield named(
        "san-u-label",
        "Umlauts in UTF-8 in place of an A-label.",
        san_of(dns("bücher.example".encode())),
        invalid,
    )
    yield named(
        "san-u-label-latin-1",
        "Umlauts in Latin-1.",
        san_of(dns("bücher.example".encode("latin-1"))),
        invalid,
    )
    yield named(
        "san-a-label",
        "An A-label.",
        san("xn--bcher-kva.example"),
        hostnames=("xn--bcher-kva.example",),
    )
    yield named(
        "san-a-label-of-nothing",
        "An A-label that stands for no U-label: clients compare the letters only.",
        san("xn--zzzzzzzzzzzz.example"),
        hostnames=("xn--zzzzzzzzzzzz.example",),
    )
    yield named(
        "san-ip",
        "An IPv4 and an IPv6 address.",
        san(x509.IPAddress(ip_address("192.0.2.7")), x509.IPAddress(ip_address("2001:db8::7"))),
        hostnames=("192.0.2.7", "2001:db8::7"),
    )
    yield named(
        "san-ip-mapped",
        "An IPv4 address within an IPv6 address.",
        san(x509.IPAddress(ip_address("::ffff:192.0.2.7"))),
        hostnames=("::ffff:192.0.2.7",),
    )
    for length in (0, 3, 5, 15, 17):
        yield named(
            f"san-ip-of-{length}",
            f"An IP address of {length} octets, beside the hostname.",
            san_of(der.element(0x87, bytes(length)), dns(WWW.encode())),
            invalid,
            hostnames=(WWW,),
        )
    yield named(
        "san-some-invalid",
        "One good name, one with a blank, one in UTF-8.",
        san_of(dns(b"www.example.com"), dns(b"a b.example.com"), dns("é.example".encode())),
        invalid,
        invalid,
        hostnames=(WWW,),
    )
    many = [f"host-{number}.example.com" for number in range(500)]
    yield named("san-500-names", "Five hundred names.", san(*many), hostnames=tuple(many))
    most = [f"{number}.example.com" for number in range(1001)]
    yield named(
        "san-1001-names",
        "A thousand and one names, which is one too many.",
        san(*most),
        invalid,
        hostnames=tuple(most[:1000]),
    )
    other = der.element(0xA0, der.oid("1.3.6.1.4.1.311.20.2.3"), der.tagged(0, der.element(0x0C)))
    yield named(
        "san-other-name",
        "A user principal name beside the hostname.",
        san_of(other, dns(WWW.encode())),
        hostnames=(WWW,),
    )
    yield named(
        "san-critical",
        "subjectAltName is critical, and there is no subject.",
        extension(x509.SubjectAlternativeName([x509.DNSName(WWW)]), True),
        hostnames=(WWW,),
    )
    yield named(
        "san-directory-name",
        "A directory name beside the hostname.",
        san(x509.DirectoryName(x509.Name([])), WWW),
        hostnames=(WWW,),
    )
    party = der.element(0xA1, der.element(0x0C, b"party"))
    for tag, kind, content in ((0xA3, "x400", der.sequence()), (0xA5, "edi-party", party)):
        yield named(
            f"san-{kind}",
            f"A name of the kind {kind}, which nobody reads, beside the hostname.",
            san_of(der.element(tag, content), dns(WWW.encode())),
            hostnames=(WWW,),
        )


def _purposes() -> Iterator[Case]:
    yield public("eku-absent", "No extendedKeyUsage.", leaf(eku=b""), warning("eku_missing"))
    yield Case(
        "leaf-eku-absent-private",
        "No extendedKeyUsage, from a private authority.",
        sent(pems(leaf(by=private_root(), eku=b""), private_root().certificate)),
        findings=(warning("untrusted"), info("root_dropped")),
        trust="private",
        served=1,
    )
    yield public(
        "eku-client", "For clients only.", leaf(eku=purposes(CLIENT)), error("eku_missing")
    )
    yield public("eku-both", "For servers and clients.", leaf(eku=purposes(SERVER, CLIENT)))
    yield public(
        "eku-any",
        "For any purpose: OpenSSL and Firefox do not take that for servers.",
        leaf(eku=purposes(ANY)),
        error("eku_missing"),
    )
    yield public(
        "eku-any-and-server", "For any purpose and servers.", leaf(eku=purposes(ANY, SERVER))
    )
    yield public(
        "eku-unknown",
        "For a purpose that nobody knows.",
        leaf(eku=purposes("1.3.6.1.4.1.99999.2")),
        error("eku_missing"),
    )
    yield public(
        "eku-hundred",
        "For a hundred purposes, none of them servers.",
        leaf(eku=purposes(*[f"1.3.6.1.4.1.99999.{number}" for number in range(100)])),
        error("eku_missing"),
    )
    yield public(
        "is-ca",
        "An authority issued an authority's certificate for a host.",
        leaf(role=basic(True)),
        error("is_ca"),
    )
    mine = Authority(WWW, ec_key(WWW))
    yield Case(
        "leaf-is-ca-self-signed",
        "Self-signed, CA:TRUE, as `openssl req -x509` makes it.",
        sent(pem(leaf(by=mine, role=basic(True), eku=b"", key_usage=b""))),
        findings=(warning("is_ca"), warning("untrusted")),
        trust="self_signed",
        served=1,
    )
    yield public("no-constraints", "No basicConstraints, which is well.", leaf(role=b""))
    yield public("no-key-usage", "No keyUsage, which is well.", leaf(key_usage=b""))
    yield public(
        "key-usage-encipherment",
        "keyUsage is keyEncipherment only.",
        leaf(key_usage=usage("key_encipherment")),
        error("key_usage_invalid"),
    )
    yield public(
        "key-usage-agreement",
        "keyUsage is keyAgreement only.",
        leaf(key_usage=usage("key_agreement")),
        error("key_usage_invalid"),
    )
    for use in ("crl_sign", "content_commitment", "data_encipherment"):
        yield public(
            f"key-usage-{use.replace('_', '-')}",
            f"keyUsage is {use} only, which no TLS client can use.",
            leaf(key_usage=usage(use)),
            error("key_usage_invalid"),
        )
    criticals = {
        "aia": raw_extension(
            "1.3.6.1.5.5.7.1.1",
            der.sequence(der.sequence(der.oid("1.3.6.1.5.5.7.48.1"), der.element(0x86, b"a:b"))),
            True,
        ),
        "tls-feature": extension(
            x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=True
        ),
    }
    for critical, made in criticals.items():
        yield public(
            f"critical-{critical}",
            f"A critical extension that OpenSSL does not process ({critical}).",
            leaf(more=[made]),
            error("extension_critical"),
            *([warning("must_staple")] if critical == "tls-feature" else []),
        ).but(trust="incomplete", served=2)
    yield public(
        "critical-policies",
        "certificatePolicies, critical, which every client processes.",
        leaf(
            more=[
                raw_extension(
                    "2.5.29.32", der.sequence(der.sequence(der.oid("2.23.140.1.2.1"))), True
                )
            ]
        ),
    )
    yield public(
        "critical-unknown",
        "An extension that nobody knows, and critical.",
        leaf(more=[raw_extension("1.3.6.1.4.1.99999.3", der.NULL, True)]),
        error("extension_critical"),
    ).but(trust="incomplete", served=2)
    yield public(
        "unknown",
        "An extension that nobody knows, not critical.",
        leaf(more=[raw_extension("1.3.6.1.4.1.99999.3", b"any bytes")]),
    )
    yield public(
        "precertificate",
        "A precertificate (RFC 6962), which no client takes.",
        leaf(more=[raw_extension("1.3.6.1.4.1.11129.2.4.3", der.NULL, True)]),
        error("precertificate"),
    ).but(trust="incomplete", served=2)
    yield public(
        "must-staple",
        "It demands OCSP stapling (RFC 7633).",
        leaf(more=[extension(x509.TLSFeature([x509.TLSFeatureType.status_request]))]),
        warning("must_staple"),
    )
    yield public(
        "eku-ocsp",
        "For servers, and for signing OCSP responses, which Firefox refuses.",
        leaf(eku=purposes(SERVER, "1.3.6.1.5.5.7.3.9")),
        error("eku_invalid"),
    )
    yield public(
        "netscape-client",
        "Netscape's certificate type says: for clients. OpenSSL refuses it.",
        leaf(more=[raw_extension("2.16.840.1.113730.1.1", b"\x03\x02\x07\x80")]),
        error("eku_invalid"),
    )
    yield public(
        "critical-distribution-points",
        "cRLDistributionPoints is critical: OpenSSL processes it, browsers do not.",
        leaf(
            more=[
                raw_extension(
                    "2.5.29.31",
                    der.sequence(
                        der.sequence(der.tagged(0, der.tagged(0, der.element(0x86, b"a:b"))))
                    ),
                    True,
                )
            ]
        ),
        error("extension_critical"),
    )


def _oddities() -> Iterator[Case]:
    def drafted(name: str, made: str, *findings: Expected, **changes: object) -> Case:
        return public(name, made, draft_leaf().but(**changes).signed(intermediate().key), *findings)

    def unloadable(name_of: str, made: str, value: bytes) -> Case:
        changed = {"subject": name(("2.5.4.3", value))}
        faults = error("name_malformed"), error("chain_broken"), error("not_servable")
        made_of = drafted(f"subject-{name_of}", made, *faults, **changed)
        return made_of.but(trust="incomplete", served=1)

    yield drafted(
        "upside-down-ahead",
        "It ends before it begins; both lie ahead.",
        error("validity_invalid"),
        warning("not_yet_valid"),
        start=END + timedelta(days=9),
        end=END,
    )
    yield drafted("serial-zero", "Serial number 0.", serial=0)
    yield drafted("serial-negative", "Serial number -5.", serial=-5)
    yield drafted(
        "serial-huge",
        "A serial number of 200 octets; 20 are permitted.",
        serial=int.from_bytes(b"\x55" * 200),
    )
    yield _unread(
        "serial-empty",
        "A serial number of no octets.",
        draft_leaf().but(serial=b"\x02\x00").signed(intermediate().key),
    )
    yield _unread(
        "serial-padded",
        "A serial number with a zero octet too many (BER, not DER).",
        draft_leaf().but(serial=b"\x02\x03\x00\x00\x05").signed(intermediate().key),
    )
    yield drafted(
        "version-1",
        "Version 1, without extensions.",
        error("san_missing"),
        warning("eku_missing"),
        version=0,
        extensions=(),
    ).but(hostnames=())
    for version in (3, 127):
        yield _unread(
            f"version-{version + 1}",
            f"Version {version + 1}, which there is not.",
            draft_leaf().but(version=version).signed(intermediate().key),
        )
    yield drafted(
        "no-subject",
        "An empty subject, and subjectAltName is not critical.",
        error("san_invalid"),
        subject=name(),
    )
    alone = extension(x509.SubjectAlternativeName([x509.DNSName(WWW)]), True)
    yield public(
        "no-subject-san-critical",
        "An empty subject, as Let's Encrypt issues them: subjectAltName is critical.",
        draft_leaf(names=alone).but(subject=name()).signed(intermediate().key),
    )
    for version in (0, 1):
        yield drafted(
            f"version-{version + 1}-with-extensions",
            f"Version {version + 1}, which has no extensions.",
            error("version_invalid"),
            version=version,
        )
    utf8, bmp, t61, printable = 0x0C, 0x1E, 0x14, 0x13
    cn = "2.5.4.3"
    yield drafted(
        "subject-nul", "A NUL in the common name.", subject=name("www.example.com\0.example.net")
    )
    yield drafted(
        "subject-controls",
        "An escape sequence and a newline in the common name.",
        subject=name("\x1b[2J\x1b[1;31mwww\r\nX-Header: 1"),
    )
    yield drafted(
        "subject-right-to-left",
        "Direction marks that turn the name around.",
        subject=name("www.\u202emoc.elpmaxe\u202c\u2066"),
    )
    yield drafted(
        "subject-surrogates",
        "Letters beyond the basic plane, and one unassigned.",
        subject=name("\U0001f512 \U000e0001 \uffff"),
    )
    yield drafted(
        "subject-bmp",
        "A BMPString.",
        subject=name((cn, der.element(bmp, "www.例え".encode("utf-16-be")))),
    )
    yield unloadable("bmp-odd", "A BMPString of three octets.", der.element(bmp, b"\0w\0"))
    yield unloadable(
        "universal-beyond",
        "A UniversalString with a number that is no character.",
        der.element(0x1C, b"\x00\x11\x00\x00"),
    )
    yield drafted(
        "subject-universal",
        "A UniversalString.",
        subject=name((cn, der.element(0x1C, "www.例え".encode("utf-32-be")))),
    )
    yield drafted(
        "subject-t61-latin-1",
        "A T61String of Latin-1, as it is usual.",
        subject=name((cn, der.element(t61, "Bücher".encode("latin-1")))),
    )
    yield drafted(
        "subject-ia5-latin-1",
        "An IA5String that is no ASCII.",
        warning("name_malformed"),
        subject=name((cn, der.element(0x16, "Bücher".encode("latin-1")))),
    )
    yield drafted(
        "subject-t61",
        "A T61String of ASCII.",
        subject=name((cn, der.element(t61, b"www.example.com"))),
    )
    yield unloadable("utf8-wrong", "A UTF8String that is Latin-1.", der.element(utf8, b"B\xfccher"))
    yield drafted(
        "subject-printable-asterisk",
        "A PrintableString with an asterisk.",
        info("encoding_odd"),
        subject=name((cn, der.element(printable, b"*.example.com"))),
    )
    for what, octets in (
        ("at", b"*.example.com @"),
        ("ampersand", b"A & B"),
        ("utf8", "ü".encode()),
    ):
        yield drafted(
            f"subject-printable-{what}",
            f"A PrintableString of {octets!r}.",
            warning("name_malformed"),
            subject=name((cn, der.element(printable, octets))),
        )
    yield drafted("subject-64-kib", "A common name of 64 KiB.", subject=name("x" * 65_536))
    yield drafted(
        "subject-thousand-parts",
        "A thousand organizational units.",
        subject=name(*[("2.5.4.11", der.element(utf8, b"unit"))] * 1000),
    )
    yield unloadable("unknown-part", "An attribute of INTEGER.", der.integer(5))
    yield drafted(
        "subject-empty-set",
        "A relative name of no attributes.",
        warning("name_malformed"),
        subject=der.sequence(der.element(der.SET)),
    )
    yield _unread(
        "unique-identifiers",
        "An issuerUniqueID after the extensions, out of place.",
        draft_leaf().but(more=der.element(0x81, b"\0\x01")).signed(intermediate().key),
    )


def _unread(name: str, made: str, certificate: bytes, code: str = "pem_invalid") -> Case:
    """Alone: nothing can be said but that it cannot be read."""
    return Case(
        f"leaf-{name}",
        made,
        sent(pem(certificate)),
        findings=(error(code),),
        trust="unreadable",
        hostnames=(),
        served=0,
    )


def _parts(certificate: bytes) -> tuple[bytes, bytes]:
    """The content before the signature's BIT STRING, without the header, and the signature."""
    # The header takes four octets: no leaf here is shorter than 256 or longer than 65535 octets.
    at = certificate.rindex(SIGNED_WITH) + len(SIGNED_WITH)
    return certificate[4:at], certificate[at + 3 :]


SIGNED_WITH = der.sequence(der.oid("1.2.840.10045.4.3.2"))


def _with_signature(certificate: bytes, signature: bytes) -> bytes:
    return der.sequence(_parts(certificate)[0], der.bits(signature))


def _malleated(certificate: bytes) -> bytes:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = decode_dss_signature(_parts(certificate)[1])
    return _with_signature(certificate, encode_dss_signature(r, order - s))
