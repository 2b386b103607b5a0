"""Parses bodies and query parameters into typed values."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, TypeVar, get_args

import msgspec
from falcon import Request
from msgspec import NODEFAULT, Meta

from ..errors import MOST_FINDINGS, Finding, Invalid, Malformed, TooLarge
from ..known_names import did_you_mean, shown
from ..models.certificate import MOST_SERIAL_CHARACTERS
from ..pki.names.hostnames import normalise
from ..services.labels import CONDITION, MOST_CONDITIONS
from ..services.pages import LARGEST_ID
from .field_messages import example_hint, field_finding, received

LARGEST_BODY_BYTES = 256 * 1024
SHA256 = r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$(?!\n)"
SERIAL = r"^-?(0[xX])?[0-9A-Fa-f]+(:[0-9A-Fa-f]+)*$(?!\n)"
T = TypeVar("T", bound=msgspec.Struct)
V = TypeVar("V")
_Time = Annotated[datetime, Meta(tz=True)]


def read(req: Request, kind: type[T]) -> T:
    """Returns the body of `req` as a `kind`.

    Raises TooLarge, Malformed (not JSON, not an object, a required field missing) or Invalid. The
    error lists every invalid field.
    """
    return parse(body_of(req), kind)


def parse(body: bytes, kind: type[T]) -> T:
    """Returns the JSON `body` as a `kind`. Raises Malformed or Invalid, as `read` does."""
    try:
        decoded: T = _decoder(kind).decode(body)
        return decoded
    except (ValueError, RecursionError):
        # The fast decoder stops at the first error, but the response lists all errors.
        return _read_by_field(body, kind)


def unknown_parameters(req: Request, known: Sequence[str]) -> list[Finding]:
    """Returns findings for the query parameters of `req` that are not in `known`."""
    hint = f"Known query parameters: {', '.join(known)}." if known else "Leave it out."
    return [
        Finding(
            "unknown_parameter",
            name[:100],
            f"There is no query parameter {shown(name)} here.{did_you_mean(name, known)}",
            hint,
        )
        for name in req.params
        if name not in known
    ]


class Query:
    """The query parameters of a request. `check` raises all errors together."""

    def __init__(self, req: Request) -> None:
        self._params = req.params
        self._findings: list[Finding] = list(req.context.get("unknown_parameters") or ())

    def whole(self, name: str, default: int, least: int, most: int = LARGEST_ID) -> int:
        """Returns a whole number from `least` to `most`, or `default`."""
        text = self._text(name)
        if text is None:
            return default
        if text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most:
            return int(text)
        self._reject(name, f"a whole number from {least} to {most}", str(max(least, 10)))
        return default

    def days(self, name: str, default: int) -> int:
        """Returns a number of days, sent like `30d`, at most 9999."""
        text = self._text(name)
        if text is None:
            return default
        number = text.removesuffix("d")
        if text.endswith("d") and number.isascii() and number.isdigit() and len(number) <= 4:
            return int(number)
        self._reject(name, "a number of days, at most 9999d", "30d")
        return default

    def flag(self, name: str) -> bool | None:
        """Returns True or False, or None if the parameter is missing."""
        text = self._text(name)
        if text in (None, "true", "false"):
            return None if text is None else text == "true"
        self._reject(name, "true or false", "true")
        return None

    def choice(self, name: str, kind: Any) -> Any:
        """Returns a value of the Literal `kind`, or None if the parameter is missing."""
        choices = get_args(kind)
        text = self._text(name)
        if text in (None, *choices):
            return text
        self._reject(name, f"one of {', '.join(choices)}", choices[0])
        return None

    def time(self, name: str) -> datetime | None:
        """Returns a time (RFC 3339), or None if the parameter is missing."""
        text = self._text(name)
        if text is None:
            return None
        try:
            # An unencoded plus sign of the zone is decoded as a space.
            time: datetime = msgspec.convert(text.replace(" ", "+"), _Time)
            return time.astimezone(UTC)
        except (msgspec.ValidationError, OverflowError):
            self._reject(name, "a time with a time zone (RFC 3339)", "2026-12-24T00:00:00Z")
            return None

    def text(self, name: str, kind: Any, requirement: str, example: str) -> str | None:
        """Returns a string that the msgspec type `kind` accepts, or None.

        The error message contains `requirement` and `example`.
        """
        text = self._text(name)
        if text is None:
            return None
        try:
            msgspec.convert(text, kind)
        except msgspec.ValidationError:
            self._reject(name, requirement, example)
            return None
        return text

    def parsed(
        self, name: str, parse: Callable[[str], V | None], requirement: str, example: str
    ) -> V | None:
        """Returns the result of `parse`, which is None for an invalid text, or None.

        The error message contains `requirement` and `example`.
        """
        text = self._text(name)
        value = None if text is None else parse(text)
        if text is not None and value is None:
            self._reject(name, requirement, example)
        return value

    def sha256(self, name: str) -> str | None:
        """Returns a SHA-256 in lower-case hexadecimal digits, sent with or without colons."""
        return self.parsed(name, _sha256, "a SHA-256 in hexadecimal", "5d" * 32)

    def serials(self, name: str, most: int) -> tuple[str, ...]:
        """Returns up to `most` serial numbers, sent with commas between them, as stored."""

        def parse(text: str) -> tuple[str, ...] | None:
            serials = [_serial(part.strip()) for part in text.split(",")]
            if len(serials) > most or None in serials:
                return None
            return tuple(filter(None, dict.fromkeys(serials)))

        requirement = f"1 to {most} serial numbers in hexadecimal, with commas between them"
        return self.parsed(name, parse, requirement, "4aa1b2c3d4e5f607,0123ab") or ()

    def require_one(self, *names: str) -> None:
        """Adds a finding unless exactly one of the parameters was sent."""
        sent = [name for name in names if self.has(name)]
        either = f"{', '.join(names[:-1])} or {names[-1]}"
        if not sent:
            detail = f"None of {either} was sent."
            self._add_finding("required", names[0], detail, f"Send {either}.")
        elif len(sent) > 1:
            detail = f"{' and '.join(sent)} exclude each other."
            self._add_finding("invalid_parameter", sent[-1], detail, "Send only one of them.")

    def serial(self, name: str) -> str | None:
        """Returns a serial number as it is stored: lower-case hexadecimal, no leading zeros."""
        return self.parsed(name, _serial, "a serial number in hexadecimal", "4aa1b2c3d4e5f607")

    def hostname(self, name: str) -> str:
        """Returns a required hostname or IP address, normalized."""
        text = self._text(name)
        if name not in self._params:
            self._add_finding(
                "required", name, f"{name} is missing.", f"Example: {name}=www.example.com"
            )
        normal = normalise(text) if text is not None else None
        if text is not None and normal is None:
            self._reject(name, "a DNS name or an IP address", "www.example.com")
        return normal or ""

    def labels(self) -> tuple[str, ...]:
        """Returns the conditions `label`, each like `env=production`; it may be sent repeatedly."""
        sent: str | list[str] = self._params.get("label", [])
        conditions = tuple(dict.fromkeys([sent] if isinstance(sent, str) else sent))
        if len(conditions) > MOST_CONDITIONS:
            detail = (
                f"label was sent {len(conditions)} times; at most {MOST_CONDITIONS} are allowed."
            )
            self._add_finding("invalid_parameter", "label", detail, "Send fewer labels.")
            return ()
        for condition in conditions:
            if not re.match(CONDITION, condition):
                self._reject("label", "a label with its value", "env=production")
                return ()
        return conditions

    def has(self, name: str) -> bool:
        """Returns whether the parameter was sent."""
        return name in self._params

    def check(self) -> None:
        """Raises Invalid if there are findings."""
        if self._findings:
            raise invalid_parameters(self._findings)

    def _text(self, name: str) -> str | None:
        value: str | list[str] | None = self._params.get(name)
        if isinstance(value, list):
            detail = f"{name} was sent {len(value)} times."
            self._add_finding("invalid_parameter", name, detail, f"Send {name} once.")
            return None
        return value

    def _reject(self, name: str, requirement: str, example: str) -> None:
        detail = f"{name} must be {requirement}; got {received(self._params.get(name))}."
        self._add_finding("invalid_parameter", name, detail, f"Example: {name}={example}")

    def _add_finding(self, code: str, name: str, detail: str, hint: str) -> None:
        self._findings.append(Finding(code, name, detail, hint))


def _sha256(text: str) -> str | None:
    return text.replace(":", "").lower() if re.fullmatch(SHA256, text) else None


def _serial(text: str) -> str | None:
    if len(text) > MOST_SERIAL_CHARACTERS or not re.fullmatch(SERIAL, text):
        return None
    digits = text.lower().replace(":", "").removeprefix("-").removeprefix("0x").lstrip("0") or "0"
    return f"-{digits}" if text.startswith("-") else digits


@cache
def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(kind)


def body_of(req: Request) -> bytes:
    """Returns the body of `req`. Raises TooLarge, or Malformed if it is incomplete."""
    if (req.content_length or 0) > LARGEST_BODY_BYTES:
        raise _too_large()
    # Read one byte past the limit, because a chunked body has no Content-Length.
    body: bytes = req.stream.read(LARGEST_BODY_BYTES + 1)
    if len(body) > LARGEST_BODY_BYTES:
        raise _too_large()
    # A truncated body may still be valid JSON, but not the one that the client meant.
    if len(body) < (req.content_length or 0):
        raise Malformed("The body ends before its Content-Length. Send the whole body.")
    # The idempotency store compares requests by their bytes.
    req.context.body = body
    return body


def invalid_parameters(findings: Sequence[Finding]) -> Invalid:
    """Returns the error for query parameters with these findings."""
    return Invalid(_count(len(findings), "query parameter"), errors=findings)


def _too_large() -> TooLarge:
    return TooLarge(f"The body is larger than {LARGEST_BODY_BYTES} bytes. Send a smaller one.")


def _read_by_field(body: bytes, kind: type[T]) -> T:
    try:
        body.decode()
        content = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except RecursionError:
        raise Malformed(
            "The JSON in the body is nested too deeply. Send a JSON object without deep nesting."
        ) from None
    except UnicodeDecodeError:
        raise Malformed("The body is not valid UTF-8. Send JSON in UTF-8.") from None
    except msgspec.ValidationError:
        raise Malformed('The body must be a JSON object, like {"name": "value"}.') from None
    except ValueError as error:
        raise _not_json(body, error) from None
    missing, findings = list[Finding](), list[Finding]()
    values: dict[str, object] = dict.fromkeys(content)
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if name in content:
            try:
                values[name] = msgspec.json.decode(content[name], type=field.type)
            except msgspec.ValidationError as error:
                findings.append(field_finding(name, field.type, content[name], str(error)))
        elif field.default is NODEFAULT and field.default_factory is NODEFAULT:
            missing.append(
                Finding("required", name, f"{name} is missing.", example_hint(name, field.type))
            )
    for finding in getattr(kind, "faults", lambda _values: ())(values):
        (missing if finding.code == "required" else findings).append(finding)
    findings += _unknown_fields([name for name in content if name not in fields], [*fields])
    all_findings = missing + findings
    if not all_findings:
        raise Invalid("The body has a field twice, once with an invalid value. Send it once.")
    refusal = Malformed if missing else Invalid
    raise refusal(_count(len(all_findings), "field"), errors=all_findings)


def _unknown_fields(names: Sequence[str], known: Sequence[str]) -> list[Finding]:
    # The search is slow, so skip it for findings that the response leaves out.
    hint = f"Known fields: {', '.join(known)}."
    return [
        Finding(
            "unknown_field",
            name[:100],
            "There is no field "
            f"{shown(name)}.{did_you_mean(name, known) if number < MOST_FINDINGS else ''}",
            hint,
        )
        for number, name in enumerate(names)
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}s are invalid." if number > 1 else f"1 {noun} is invalid."


def _not_json(body: bytes, error: ValueError) -> Malformed:
    if not body.strip():
        return Malformed("The body is empty. Send a JSON object.")
    if place := re.search(r"\(byte (\d+)\)$", str(error)):
        return Malformed(
            f"The body is not valid JSON: the first error is at byte {place[1]}. Send a JSON "
            "object in UTF-8."
        )
    return Malformed("The body is not valid JSON: it ends too early. Send the whole JSON object.")
