"""How many examples Hypothesis tries."""

_TIMES_WHEN_LONG = 10
_times = 1


def try_more(is_long: bool) -> None:
    """Has `examples` give ten times as many where `--long` was given."""
    global _times
    _times = _TIMES_WHEN_LONG if is_long else 1


def examples(number: int) -> int:
    """For `max_examples` of a test: `number`, or more with `--long`."""
    return number * _times
