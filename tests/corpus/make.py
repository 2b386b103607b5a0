"""Writes the corpus anew: `python -m tests.corpus.make`."""

from . import chain_cases, key_cases, leaf_cases, odd_cases, pem_cases, pkcs12_cases
from .authority import root
from .case import CASES, ROOTS, Case, pem


def cases() -> list[Case]:
    """All, by name."""
    made = [
        case
        for module in (pem_cases, chain_cases, leaf_cases, odd_cases, key_cases, pkcs12_cases)
        for case in module.cases()
    ]
    names = [case.name for case in made]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ValueError(f"two cases have one name: {', '.join(doubles)}")
    return sorted(made, key=lambda case: case.name)


def main() -> None:
    CASES.mkdir(exist_ok=True)
    for path in CASES.glob("*.json"):
        path.unlink()
    ROOTS.write_text(pem(root().certificate))
    made = cases()
    for case in made:
        case.write()
    print(f"{len(made)} cases")


if __name__ == "__main__":
    main()
