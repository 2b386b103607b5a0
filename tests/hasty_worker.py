"""`customer-certificates worker` whose attempts follow one another at once; for the tests."""

from datetime import timedelta

from customer_certificates.background.worker import work
from customer_certificates.config import Config
from customer_certificates.services.webhooks import queue, sender


def main() -> None:
    """The command, in a process of its own."""
    # Ten attempts may all fail, of many events, where a third of them does.
    sender.SCHEDULE = (timedelta(milliseconds=50),) * 100
    # The deliveries of a killed worker can soon be claimed again.
    sender.LEAST_LEFT = timedelta(seconds=1)
    queue.LEASE = timedelta(seconds=3)
    work(Config.from_environ())
