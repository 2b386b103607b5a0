"""Serves as `customer-certificates serve` does, but tells nobody of events and does no periodic
work: in a service that many tests share, a worker would do what they do themselves."""

import sys
from contextlib import nullcontext

from customer_certificates import beside
from customer_certificates.cli import main

if __name__ == "__main__":
    beside.delivering = lambda server: nullcontext()  # type: ignore[assignment]
    sys.argv = ["customer-certificates", "serve"]
    main()
