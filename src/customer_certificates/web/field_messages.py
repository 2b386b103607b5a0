"""Error messages for fields of a body: the field, the value that was sent, and a valid one."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect
from msgspec.inspect import Type

from ..errors import Finding
from ..known_names import LONGEST_SHOWN, did_you_mean, shown

# The Python types of JSON values; other types of fields are objects.
_DECODED: dict[type[Type], type] = {
    inspect.NoneType: type(None),
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.ListType: list,
    **dict.fromkeys([inspect.StrType, inspect.LiteralType, inspect.DateTimeType], str),
}
# Messages never quote these fields, which are secrets or may contain secrets.
_SECRET = frozenset(["password", "passphrase", "private_key", "pkcs12", "body", "chain"])
_PEM = "-----BEGIN"
_PLACE = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)")
_MOST_NAMED = 5


def field_finding(name: str, kind: Any, raw: bytes, message: str) -> Finding:
    """Returns the finding for the field `name` of type `kind` with the JSON `raw`.

    `message` is the error of msgspec. Only the path at its end is used.
    """
    place = _PLACE.search(message)
    steps = _STEP.findall(place[1] if place else "")
    of: Type = inspect.type_info(kind)
    example = _example(of)
    value = _value(raw)
    path = name
    for index, attribute in steps:
        of, value, path = _inner(of, value, path, index, attribute)
        example = _example(of)
    json_types = {_DECODED.get(type(alternative), dict) for alternative in _alternatives(of)}
    code = "invalid_value" if type(value) in json_types else "wrong_type"
    return Finding(code, name, _detail(of, value, path), _hint(path, example))


def received(value: Any, name: str = "") -> str:
    """Returns a short description of a JSON value.

    Quotes the value if it is short and not a secret.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            number = msgspec.json.encode(value).decode() if abs(value) < 2**53 else ""
            return f"the number {number}" if 0 < len(number) <= 20 else "a number"
        case str() if not value:
            return "an empty string"
        # A long value may be a key in the wrong field.
        case str() if name in _SECRET or len(value) > LONGEST_SHOWN or value.startswith(_PEM):
            return f"a string of {_counted(len(value), 'character')}"
        case str():
            return shown(value)
        case list():
            return f"a list of {_counted(len(value), 'item')}" if value else "an empty list"
        case dict():
            return "an object"
    return "a value that cannot be read"


def example_hint(name: str, kind: Any) -> str:
    """Returns a hint with a valid value of the field `name` of type `kind`."""
    return _hint(name, _example(inspect.type_info(kind)))


def _value(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except ValueError:
        return ...


def _inner(of: Type, value: Any, path: str, index: str, attribute: str) -> tuple[Type, Any, str]:
    """Returns the type, value and path of a list item or an object member."""
    for one in _alternatives(of):
        if index and isinstance(one, inspect.ListType) and isinstance(value, list):
            return one.item_type, value[int(index)], f"{path}[{index}]"
        if attribute and isinstance(one, inspect.StructType) and isinstance(value, dict):
            fields = {field.encode_name: field.type for field in one.fields}
            return fields[attribute], value.get(attribute), f"{path}.{attribute}"
    return of, value, path


def _detail(of: Type, value: Any, path: str) -> str:
    for one in _alternatives(of):
        if isinstance(one, inspect.StructType) and isinstance(value, dict):
            return " ".join(_members(one, value, path))
    name = re.split(r"[.\[]", path)[0]
    sent = received(value, name)
    literals = [
        str(literal)
        for one in _alternatives(of)
        if isinstance(one, inspect.LiteralType)
        for literal in one.values
    ]
    question = did_you_mean(value, literals) if isinstance(value, str) else ""
    return f"{path} must be {_requirement(of)}; got {sent}.{question}"


def _members(of: inspect.StructType, value: dict[str, Any], path: str) -> Iterator[str]:
    """Yields a sentence for each missing or unknown member of an object."""
    known = {field.encode_name: field.required for field in of.fields}
    for name, is_required in known.items():
        if is_required and name not in value:
            yield f"{path}.{name} is missing."
    for name in list(value)[: len(known) + 1]:
        if name not in known:
            yield f"There is no field {shown(name)} in {path}.{did_you_mean(name, known)}"


def _hint(path: str, example: Any) -> str:
    if example is None:
        return "See /docs for an example."
    text = msgspec.json.encode(example).decode()
    if path.isidentifier():
        text = f'{{"{path}": {text}}}'
    return f"Example: {text}" if len(text) <= 120 else "See /docs for an example."


def _requirement(of: Type) -> str:
    """Returns a description of valid values."""
    if form := _extra(of):
        return form
    alternatives = _alternatives(of)
    words = _any_of(_words(one) for one in alternatives if not isinstance(one, inspect.NoneType))
    has_null = any(isinstance(one, inspect.NoneType) for one in alternatives)
    return f"{words}, or null" if has_null else words


def _words(of: Type) -> str:
    match of:
        case inspect.NoneType():
            return "null"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=least, le=most):
            return f"a whole number from {least} to {most}"
        case inspect.StrType(min_length=least, max_length=most):
            return f"a string{_range(least or 0, most, 'character')}"
        case inspect.ListType(min_length=least, max_length=most, item_type=item):
            items = "" if isinstance(item, inspect.StructType) else f" (each {_requirement(item)})"
            return f"a list{_range(least or 0, most, 'item')}{items}"
        case inspect.LiteralType(values=values):
            return _any_of([str(value) for value in values])
        case inspect.DateTimeType():
            return "a time with a time zone (RFC 3339)"
    return "an object"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _range(least: int, most: int | None, noun: str) -> str:
    if most is None:
        return f" of at least {_counted(least, noun)}" if least else ""
    return f" of {least} to {most} {noun}s" if least else f" of at most {most} {noun}s"


def _any_of(words: Iterable[str]) -> str:
    named = list(words)
    if len(named) > 2 * _MOST_NAMED:
        named = [*named[:_MOST_NAMED], f"one of {len(named) - _MOST_NAMED} others"]
    return " or ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)


def _alternatives(of: Type) -> Sequence[Type]:
    """Returns the types of a union or the type itself, without metadata."""
    while isinstance(of, inspect.Metadata):
        of = of.type
    if isinstance(of, inspect.UnionType):
        return [inner for one in of.types for inner in _alternatives(one)]
    return [of]


def _extra(of: Type) -> str:
    """Returns `Meta(extra={"form": …})` of a type, or of its only non-null alternative."""
    while isinstance(of, inspect.Metadata):
        if of.extra and "form" in of.extra:
            return str(of.extra["form"])
        of = of.type
    if isinstance(of, inspect.UnionType):
        forms = [form for one in of.types if (form := _extra(one))]
        has_null = any(isinstance(one, inspect.NoneType) for one in of.types)
        return f"{forms[0]}, or null" if len(forms) == 1 and has_null else ""
    return ""


def _example(of: Type) -> Any:
    while isinstance(of, inspect.Metadata):
        examples = (of.extra_json_schema or {}).get("examples")
        if examples:
            if examples[0] is not None:
                return examples[0]
            break
        of = of.type
    for one in _alternatives(of):
        match one:
            case inspect.BoolType():
                return True
            case inspect.IntType(ge=least):
                return max(least or 0, 1)
            case inspect.LiteralType(values=values):
                return values[0]
    return None
