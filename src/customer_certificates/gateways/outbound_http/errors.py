"""The errors of outbound requests."""

from ...errors import Failure


class TargetForbidden(Failure):
    """The target is blocked. `detail` gives the reason, `hint` the remedy."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.hint = hint


class TargetUnreachable(Failure):
    """The target did not respond. `detail` says what happened."""
