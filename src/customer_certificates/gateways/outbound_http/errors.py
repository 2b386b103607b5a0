"""The errors of outbound requests."""


class TargetForbidden(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """The target is blocked. `detail` gives the reason, `hint` the remedy."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


class TargetUnreachable(Exception):  # noqa: N818
    """The target did not respond. `detail` says what happened."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
