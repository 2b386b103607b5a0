"""Commands whose parameters are dataclasses of options."""

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Lets `command` take dataclasses: each of their fields becomes an option."""
    groups: dict[str, tuple[type, list[str]]] = {}
    parameters: list[Parameter] = []
    for name, parameter in signature(command).parameters.items():
        if is_dataclass(parameter.annotation):
            fields = signature(parameter.annotation).parameters
            groups[name] = parameter.annotation, list(fields)
            parameters += fields.values()
        else:
            parameters.append(parameter)

    @wraps(command)
    def grouped(**values: object) -> None:
        for name, (group, fields) in groups.items():
            values[name] = group(**{field: values.pop(field) for field in fields})
        command(**values)

    keywords = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    grouped.__signature__ = Signature(keywords)  # pyrefly: ignore[missing-attribute]
    grouped.__annotations__ = {parameter.name: parameter.annotation for parameter in keywords}
    return grouped
