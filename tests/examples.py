"""How much Hypothesis tries."""

from hypothesis import Phase

_TIMES_WHEN_LONG = 10
_FIRST = 12
_is_long = False


def try_more(is_long: bool) -> None:
    """Has more tried where `--long` was given."""
    global _is_long
    _is_long = is_long


def examples(number: int) -> int:
    """For `max_examples` of a test: `number`, or ten times as many with `--long`."""
    return number * _TIMES_WHEN_LONG if _is_long else number


def is_sampled(number: int) -> bool:
    """Whether to try the case of that number: each of the first ones, then one in three; all of
    them with `--long`."""
    return _is_long or number < _FIRST or number % 3 == 0


def phases_of_made_up_requests() -> tuple[Phase, ...]:
    """For `phases` of a test: the requests that cover the schema, and random ones with `--long`."""
    return tuple(Phase) if _is_long else (Phase.explicit,)
