"""The background worker: delivers webhooks, sends notices, and purges old records."""

import os
import signal
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from threading import Thread
from time import sleep

from ..composition import Services
from ..config import Config
from ..gateways.database.notifications import Notifications
from ..gateways.database.schema import require_head
from ..gateways.log_format import configure_logging
from ..gateways.signals import SignalSafeEvent
from ..gateways.tls_probe import served
from ..services.certificates.versions.cutovers import Cutovers
from ..services.challenges.contests import Contests
from ..services.challenges.rounds import ChallengeRounds
from ..services.email.expiry_notices import ExpiryNoticeEmails
from ..services.email.verification_links import VerificationEmails
from ..services.expiry.notifier import Expiry
from ..services.fleet.gauges import FleetGauges
from ..services.hostnames.notice_delivery import HostnameNoticeDelivery
from ..services.job_lock import JobLock
from ..services.keys.erasure import KeyErasure
from ..services.rate_counts import RateCounts
from ..services.terminators.probe_job import ProbeJob
from ..services.webhooks.disabling import Disabling
from ..services.webhooks.dispatcher import Dispatcher
from ..services.webhooks.managed_endpoint import configure_webhook
from ..services.webhooks.queue import DeliveryQueue
from ..services.webhooks.sender import WebhookSender
from ..services.webhooks.stuck_deliveries import StuckDeliveries
from .scheduler import Job, run_every_second, run_jobs

# Connections for the dispatcher, jobs, cutovers, gauges, verification emails, erasures and
# challenges, and one spare.
_DATABASE_CONNECTIONS = 11
_PARENT_CHECK_SECONDS = 1.0


def work(config: Config, *, parent_pid: int | None = None) -> None:
    """Runs the worker until SIGTERM or SIGINT.

    Finishes the deliveries in progress first. Also stops after the process `parent_pid` ends, if
    given. Raises SchemaError unless the schema is at head; MasterKeyError, Unavailable.
    """
    require_head(config.database_url)
    configure_logging()
    with Services(config, threads=_DATABASE_CONNECTIONS) as services:
        _work(services, parent_pid)


def _work(services: Services, parent_pid: int | None) -> None:
    config, database, now = services.config, services.database, services.now
    configure_webhook(database, config.webhook_url, now())
    dispatcher = _dispatcher(services)
    stopped = SignalSafeEvent()

    def stop(*_: object) -> None:
        stopped.set()
        dispatcher.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if parent_pid is not None:
        Thread(target=_stop_after, args=[parent_pid, stop], daemon=True).start()
    if config.metrics_port:
        services.metrics.serve(config.host, config.metrics_port)
    challenges = ChallengeRounds(database, services.proving, services.check_limits, now)
    verification = _verification_emails(services)
    jobs = _jobs(services, verification)
    threads = [
        Thread(target=run_jobs, args=[jobs, JobLock(database, now), stopped]),
        *(
            Thread(target=run_every_second, args=[name, run, stopped], name=name)
            for name, run in _prompt_jobs(services, challenges, verification)
        ),
    ]
    with closing(challenges), closing(Notifications(database.listen, dispatcher.wake)):
        for thread in threads:
            thread.start()
        dispatcher.run()
        for thread in threads:
            thread.join()


def _dispatcher(services: Services) -> Dispatcher:
    database, metrics, now = services.database, services.metrics, services.now
    return Dispatcher(
        DeliveryQueue(database, services.webhook_secrets, now),
        WebhookSender(services.outbound, metrics, now, services.config.webhook_secret),
        Disabling(database, services.audit, services.events),
        metrics,
        now,
    )


def _jobs(services: Services, verification: VerificationEmails | None) -> list[Job]:
    """Returns the jobs that one worker in the cluster runs at a time."""
    config, database, now = services.config, services.database, services.now
    mailer = services.mailer
    expiry = Expiry(database, services.events, now, by_mail=mailer is not None)
    notices = HostnameNoticeDelivery(database, services.revisions, services.audit, services.events)
    jobs = [
        Job("send expiry notices", timedelta(minutes=1), expiry.notify),
        Job(
            "release stuck deliveries", timedelta(minutes=1), StuckDeliveries(database, now).release
        ),
        Job("send hostname notices", timedelta(seconds=10), notices.run),
        Job("add to summary counters", timedelta(seconds=10), services.summary_counters.fold),
        Job("purge idempotent responses", timedelta(hours=1), services.idempotency.purge),
        Job("purge rate counts", timedelta(hours=1), RateCounts(database, now).purge),
        Job("purge console sessions", timedelta(hours=1), services.console_sessions.purge),
        Job("purge console links", timedelta(hours=1), services.console_links.purge),
        Job("purge challenges", timedelta(hours=1), Contests(database, now).purge),
        Job("purge events", timedelta(hours=1), services.event_pages.purge),
    ]
    if verification:
        jobs.append(Job("purge verification links", timedelta(hours=1), verification.purge))
    if mailer:
        emails = ExpiryNoticeEmails(database, mailer, now)
        jobs.append(Job("send email", timedelta(minutes=1), emails.send))
    if config.probe_addresses:
        reports, addresses = services.terminator_reports, config.probe_addresses
        probes = ProbeJob(database, services.candidates, reports, served, addresses, now)
        jobs.append(Job("probe terminators", timedelta(minutes=1), probes.run))
    return jobs


def _prompt_jobs(
    services: Services, challenges: ChallengeRounds, verification: VerificationEmails | None
) -> list[tuple[str, Callable[[], int]]]:
    """Returns the jobs that each worker runs without waiting for others."""
    database = services.database
    cutovers = Cutovers(database, services.hostnames, services.audit, services.events, services.now)
    gauges = FleetGauges(
        database,
        services.summary,
        services.terminator_states,
        services.backlogs,
        services.metrics.fleet,
        services.now,
    )
    jobs: list[tuple[str, Callable[[], int]]] = [
        ("cutovers", cutovers.run),
        ("challenges", challenges.run),
        ("gauges", gauges.run),
    ]
    if verification:
        jobs.append(("verification email", verification.run))
    if database.has_log_file:
        jobs.append(("erasure of deleted keys", KeyErasure(database).run))
    return jobs


def _verification_emails(services: Services) -> VerificationEmails | None:
    url, mailer = services.config.public_url, services.mailer
    if mailer is None or url is None:
        return None
    return VerificationEmails(services.database, mailer, url, services.now)


def _stop_after(parent_pid: int, stop: Callable[[], None]) -> None:
    """Stops this process once its parent has ended.

    Works even if the parent ended before this call.
    """
    while os.getppid() == parent_pid:
        sleep(_PARENT_CHECK_SECONDS)
    stop()
