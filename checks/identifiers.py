"""Refuses identifiers that the code no longer uses: the field has better words for them.

python -m checks.identifiers
"""

import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

# The old names, and the ones that replaced them.
REPLACED = {
    "ANY_NUMBER": "NO_KEY",
    "AnotherWasFirst": "DataKeyExists",
    "AtHand": "SecretCache",
    "Attempts": "LoginThrottle",
    "Caller": "Principal",
    "Children": "SandboxPool",
    "Examined": "ValidationResult",
    "HeldNames": "FileLocks",
    "KeptAnswer": "IdempotencyRecord",
    "KnownUser": "UserSnapshot",
    "LastUses": "TokenUsage",
    "Mirror": "Reconciler",
    "Nursery": "ForkServer",
    "OBSERVERS": "CAN_RESOLVE",
    "Reach": "TerminatorScope",
    "Repeats": "IdempotencyStore",
    "Rights": "Permission",
    "Rota": "JobLock",
    "ServedKeys": "KeyRelease",
    "Settled": "ChangeSet",
    "Stragglers": "StuckDeliveries",
    "TooCostly": "ResourceLimitExceeded",
    "Trouble": "RetryState",
    "Wish": "SyncOptions",
    "associated_of": "aad_of",
    "enter_mode": "require_auth_mode",
    "headerless": "allows_token_in_url",
    "present_in": "existing_ids",
    "require_walled": "require_row_level_security",
    "rights_of": "permission_of",
    "run_in_two_trips": "run_two_step_transaction",
    "run_together": "run_pipeline",
}


def old_names(file: Path) -> Iterator[str]:
    """Yields a line for each old identifier in a Python file."""
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type == tokenize.NAME and (new := REPLACED.get(token.string)):
                yield f"{file}:{token.start[0]}: {token.string} is now {new}"


def main() -> int:
    """Prints the old identifiers in `src`. Returns 1 if there are any."""
    found = [line for file in sorted(Path("src").rglob("*.py")) for line in old_names(file)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
