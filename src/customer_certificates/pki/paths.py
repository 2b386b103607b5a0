"""The way from a leaf up to a root, through whatever certificates there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .certificates import Certificate, title
from .links import Signatures, has_weak_signature, matches_key, too_few_bits, why_no_issuer
from .material import Trust
from .roots import MOST_DEPTH, Refused, Roots, verify_beneath
from .wording import moment

# Both are far above what honest chains need, and bound what a hostile one costs.
_MOST_STEPS = 200
_MOST_REPEATED_NAMES = 1


@dataclass(frozen=True, slots=True)
class Path:
    """`certificates` go from the leaf upwards, each signed by the next, the root left out.

    `root` is None where none was reached; then `broken` says what is wrong with the next link, or
    is None where there is no certificate of the issuer's name. `is_missing`: another certificate
    of that name might continue the path.
    """

    certificates: tuple[Certificate, ...]
    trust: Trust
    root: Certificate | None = None
    broken: str | None = None
    is_missing: bool = False


def find(
    leaf: Certificate,
    sent: Sequence[Certificate],
    known: Sequence[Certificate],
    roots: Roots,
    at: datetime,
) -> Path:
    """The best path from `leaf` at the time `at`: to a public root, else to a root among `sent`,
    else as far as it goes. What was sent is preferred to what is known from elsewhere."""
    pool: dict[bytes, list[Certificate]] = {}
    for one in (*sent, *known):
        pool.setdefault(one.subject, []).append(one)
    search = _Search(pool, frozenset(one.fingerprint for one in sent), roots, at)
    if leaf.self_issued and search.signatures.holds(leaf, leaf):
        return Path((leaf,), "self_signed", leaf)
    return search.by_names(leaf) or search.by_signatures(leaf)


class _Search:
    def __init__(
        self,
        pool: dict[bytes, list[Certificate]],
        sent: frozenset[str],
        roots: Roots,
        at: datetime,
    ) -> None:
        self.signatures = Signatures()
        self._pool = pool
        self._sent = sent
        self._roots = roots
        self._at = at
        self._steps = _MOST_STEPS
        self._private: Path | None = None
        self._furthest: Path | None = None

    def by_names(self, leaf: Certificate) -> Path | None:
        """The path that names and key identifiers suggest, if a verifier accepts it.

        This is the usual case, and verifies each signature once.
        """
        path = [leaf]
        while not self._roots.named(path[-1].issuer):
            candidates = self._candidates(path)
            if not candidates or why_no_issuer(candidates[0], path):
                return None
            path.append(candidates[0])
        answer = self._roots.verify(path, self._at)
        if isinstance(answer, Refused):
            return None
        return Path(tuple(path), "public", answer.root)

    def by_signatures(self, leaf: Certificate) -> Path:
        """The best path of all; the faults of the others are told where there is none."""
        public = self._explore([leaf])
        if public:
            return public
        if self._private:
            return self._private
        furthest = self._furthest or Path((leaf,), "incomplete", is_missing=True)
        if leaf.self_issued and len(furthest.certificates) == 1 and not furthest.broken:
            fault = f"{title(leaf)} names itself as its issuer, and its own key did not sign it"
            return Path((leaf,), "incomplete", None, fault)
        return furthest

    def _explore(self, path: list[Certificate]) -> Path | None:
        """The first public path that begins with `path`; others are remembered on the way."""
        last = path[-1]
        for root in self._roots.named(last.issuer):
            if not self.signatures.holds(last, root):
                self._break(path, _not_signed(last, root), is_missing=True)
            elif fault := self._refusal(path, root):
                self._break(path, fault)
            else:
                return Path(tuple(path), "public", root)
        for issuer in self._candidates(path):
            self._steps -= 1
            if self._steps < 0:
                break
            fault = why_no_issuer(issuer, path)
            if fault:
                self._break(path, f"{title(issuer)} {fault}")
            elif not self.signatures.holds(last, issuer):
                self._break(path, _not_signed(last, issuer), is_missing=True)
            elif issuer.self_issued and self.signatures.holds(issuer, issuer):
                self._end_privately(path, issuer)
            elif found_above := self._explore([*path, issuer]):
                return found_above
        if len(path) > MOST_DEPTH:
            self._break(path, f"it is longer than {MOST_DEPTH} certificates")
        self._remember(Path(tuple(path), "incomplete", is_missing=True))
        return None

    def _candidates(self, path: list[Certificate]) -> list[Certificate]:
        """Who may have issued the last of `path`, the likeliest first; nobody twice in a path."""
        last = path[-1]
        if len(path) > MOST_DEPTH:
            return []
        found = [
            one
            for one in self._pool.get(last.issuer, ())
            if not any(one.spki == passed.spki and one.subject == passed.subject for passed in path)
        ]
        # A verifier goes back to every certificate of a name: repeated ones multiply its work.
        names = {one.subject for one in path}
        if len(path) - len(names) >= _MOST_REPEATED_NAMES and last.issuer in names:
            return []
        if len(found) > 1:
            found.sort(
                key=lambda one: (
                    not matches_key(last, one),
                    not one.is_valid(self._at),
                    one.fingerprint not in self._sent,
                )
            )
        return found

    def _refusal(self, path: list[Certificate], root: Certificate) -> str | None:
        """Why a verifier does not go from `path` to the public `root`, though signatures hold."""
        if not root.is_valid(self._at):
            return _not_in_force(root)
        answer = self._roots.verify(path, self._at)
        if not isinstance(answer, Refused) or self._is_told_elsewhere(path):
            return None
        return f"a verifier refuses it: {answer.reason}"

    def _is_told_elsewhere(self, path: list[Certificate]) -> bool:
        """Whether a finding of its own says why a verifier refuses `path`."""
        return any(not one.is_valid(self._at) or has_weak_signature(one) for one in path) or any(
            too_few_bits(one) for one in path[1:]
        )

    def _end_privately(self, path: list[Certificate], root: Certificate) -> None:
        if not root.is_valid(self._at):
            self._break(path, _not_in_force(root))
            return
        if root.has_name_constraints or any(one.has_name_constraints for one in path):
            answer = verify_beneath(root, path, self._at)
            if isinstance(answer, Refused):
                self._break(path, f"a verifier refuses it: {answer.reason}")
                return
        self._private = self._private or Path(tuple(path), "private", root)

    def _break(self, path: list[Certificate], fault: str, is_missing: bool = False) -> None:
        self._remember(Path(tuple(path), "incomplete", None, fault, is_missing))

    def _remember(self, path: Path) -> None:
        """Keeps the furthest; of two as far, the one that says what is wrong."""
        best = self._furthest
        if best is None or _worth(path) > _worth(best):
            self._furthest = path


def _worth(path: Path) -> tuple[int, bool]:
    return len(path.certificates), path.broken is not None


def _not_signed(child: Certificate, issuer: Certificate) -> str:
    return f"{title(issuer)} has the issuer's name, and its key did not sign {title(child)}"


def _not_in_force(root: Certificate) -> str:
    span = f"from {moment(root.not_before)} to {moment(root.not_after)}"
    return f"the root {title(root)} is valid {span} only"
