"""Why nothing was sent, or nothing came back."""


class TargetForbidden(Exception):  # noqa: N818 - a refusal is an answer, not an error
    """Nothing is sent there. `detail` says why, `hint` what to do about it."""

    def __init__(self, detail: str, hint: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


class TargetUnreachable(Exception):  # noqa: N818
    """It gave no answer this time. `detail` says what happened."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
