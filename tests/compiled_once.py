"""Compiles equal statements once in a process, in which tests make the same services many times."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine.interfaces import Compiled, Dialect

from customer_certificates.gateways import prepared

_compiled: dict[tuple[object, ...], Compiled] = {}
_compile = prepared.compile_statement


def compile_once() -> None:
    """Replaces the compilation of prepared statements by one that remembers."""
    prepared.compile_statement = _remembered


def _remembered(statement: Any, dialect: Dialect, columns: Sequence[str] | None) -> Compiled:
    # The key that SQLAlchemy's own cache uses. It is without the values, which are defaults here.
    key = statement._generate_cache_key()
    if key is None:
        return _compile(statement, dialect, columns)
    values = tuple(repr(bind.effective_value) for bind in key.bindparams)
    name = (key.key, values, dialect.name, columns and tuple(columns))
    if name not in _compiled:
        _compiled[name] = _compile(statement, dialect, columns)
    return _compiled[name]
