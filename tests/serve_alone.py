"""Serves as `customer-certificates serve` does, but tells nobody of events and does no periodic
work: in a service that many tests share, a worker would do what they do themselves."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from customer_certificates import beside
from customer_certificates.cli import main
from customer_certificates.workers import Workers


@contextmanager
def _nothing(server: Workers) -> Iterator[None]:
    yield


if __name__ == "__main__":
    beside.delivering = _nothing
    sys.argv = ["customer-certificates", "serve"]
    main()
