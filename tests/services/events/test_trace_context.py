"""The trace of a request continues in its log line, its events and their deliveries."""

import pytest

from customer_certificates.services.events.trace_context import child_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("sent", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", "01"),
        (f"00-{TRACE}-{SPAN}-00", "00"),
        (f"00-{TRACE}-{SPAN}-ff", "01"),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be", "01"),
    ],
)
def test_a_child_has_the_same_trace_and_its_own_span(sent: str, flags: str) -> None:
    version, trace, span, its_flags = (child_of(sent) or "").split("-")

    assert (version, trace, its_flags) == ("00", TRACE, flags)
    assert len(span) == 16
    assert int(span, 16)
    assert span != SPAN
    assert child_of(sent) != child_of(sent)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0١",
        "x" * 100_000,
    ],
)
def test_any_other_text_is_ignored(sent: str | None) -> None:
    assert child_of(sent) is None
