"""Reads forms."""

import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import cast
from urllib.parse import parse_qsl

import falcon
import msgspec
from falcon import Request
from falcon.media import MultipartFormHandler

from ..errors import Malformed, UnsupportedMediaType
from ..services.etags import Tags
from ..web import request_parsing

_MOST_FIELDS = 200
_URL_ENCODED = falcon.MEDIA_URLENCODED


class Form(Mapping[str, str]):
    """The fields of a form, by name. A field that is missing is empty.

    `files` are the contents of the files that were chosen. A field that was sent several times,
    such as a group of checkboxes, is in `every` and in `pairs` as often.
    """

    def __init__(self, fields: list[tuple[str, str]], files: dict[str, bytes]) -> None:
        self._fields = dict(fields)
        self.pairs = fields
        self.files = files

    def __getitem__(self, name: str) -> str:
        return self._fields.get(name, "")

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def every(self, name: str) -> list[str]:
        """Returns all values of the field."""
        return [value for key, value in self.pairs if key == name]

    def filled(self, *names: str) -> dict[str, str]:
        """Returns the fields among `names` that are not blank, without outer whitespace."""
        return {name: value for name in names if (value := self[name].strip())}


EMPTY = Form([], {})


def read(req: Request) -> Form:
    """Returns the form in the body of `req`.

    Raises TooLarge, Malformed, UnsupportedMediaType, or HTTPError for a malformed multipart body.
    """
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    body = request_parsing.body_of(req)
    if media_type == falcon.MEDIA_MULTIPART:
        return _multipart(body, req.content_type or "")
    if media_type == _URL_ENCODED or not body:
        return Form(_url_encoded(body), {})
    raise UnsupportedMediaType("The body is no form. Use the console in a browser.")


def action_of(form: Form, *actions: str) -> str:
    """Returns which of the `actions` of a page the form requests. Raises Malformed."""
    action = form["action"]
    if action not in actions:
        raise Malformed("The form has no such button. Reload the page, and try again.")
    return action


def query(req: Request) -> request_parsing.Query:
    """Returns the query parameters of a search. Fields that were left empty do not count."""
    params = params_of(req)
    sent = dict(params)
    params.clear()
    for name, value in sent.items():
        text = value.strip() if isinstance(value, str) else value
        if text:
            params[name] = text
    return request_parsing.Query(req)


def params_of(req: Request) -> dict[str, str | list[str]]:
    """Returns the query parameters, which may be changed."""
    return cast("dict[str, str | list[str]]", req.params)


def number(text: str) -> int | str | None:
    """Returns a number for a field of a struct, None for an empty text.

    A text that is no number is returned, so that the struct refuses it.
    """
    text = text.strip()
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text, re.ASCII) else text or None


def labels(text: str) -> dict[str, str]:
    """Returns labels from lines like `env=production`, for a field of a struct."""
    lines = [line.strip().partition("=") for line in text.splitlines() if line.strip()]
    return {name.strip(): value.strip() for name, _, value in lines}


def parse(fields: Mapping[str, object], kind: type[request_parsing.T]) -> request_parsing.T:
    """Returns the fields as a `kind`, checked like a body of the API. Raises Malformed, Invalid."""
    return request_parsing.parse(msgspec.json.encode(fields), kind)


def expected(form: Form, name: str) -> Tags:
    """Returns the tag that the form has from `ui.tag_field(name)`: the state that it changes."""
    return Tags({form[f"tag_{name}"]})


def text_of(content: bytes) -> str | None:
    """Returns a file as text; None if it is not text."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text


def _url_encoded(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        raise _malformed() from None


def _multipart(body: bytes, content_type: str) -> Form:
    fields, files = list[tuple[str, str]](), dict[str, bytes]()
    for part in MultipartFormHandler().deserialize(BytesIO(body), content_type, len(body)):
        content = part.get_data()
        # A browser sends a file field without a file with an empty name.
        if part.filename is not None:
            if content:
                files[part.name or ""] = content
            continue
        try:
            fields.append((part.name or "", content.decode()))
        except UnicodeDecodeError:
            raise _malformed() from None
    return Form(fields, files)


def _malformed() -> Malformed:
    return Malformed("The form is malformed. Reload the page, and send the form again.")
