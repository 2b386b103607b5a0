"""How much Hypothesis tries."""

from hypothesis import Phase

_TIMES_WHEN_LONG = 10
_is_long = False


def try_more(is_long: bool) -> None:
    """Has more tried where `--long` was given."""
    global _is_long
    _is_long = is_long


def examples(number: int) -> int:
    """For `max_examples` of a test: `number`, or ten times as many with `--long`."""
    return number * _TIMES_WHEN_LONG if _is_long else number


def phases_of_made_up_requests() -> tuple[Phase, ...]:
    """For `phases` of a test: the requests that cover the schema, and random ones with `--long`."""
    return tuple(Phase) if _is_long else (Phase.explicit,)
