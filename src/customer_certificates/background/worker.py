"""The background worker: delivers webhooks, sends notices, and purges old records."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread
from time import sleep

from ..composition.keys import master_keys_of
from ..composition.ownership import ownership_rules
from ..composition.proofs import Proofs, proofs_of
from ..config import Config
from ..gateways.database import Database
from ..gateways.database.notifications import Announcements
from ..gateways.database.schema import require_head
from ..gateways.log_format import configure_logging
from ..gateways.metrics import Metrics
from ..gateways.outbound_http import Outbound
from ..gateways.signals import Alarm
from ..gateways.smtp import Mailer
from ..gateways.tls_probe import served
from ..services.audit.log import Audit
from ..services.certificates.candidates import Candidates
from ..services.certificates.versions.cutovers import Cutovers
from ..services.challenges.contests import Contests
from ..services.challenges.rounds import ChallengeRounds
from ..services.email.expiry_notices import ExpiryMails
from ..services.email.verification_links import VerificationMails
from ..services.events.listing import EventPages
from ..services.events.log import Events
from ..services.expiry.notifier import Expiry
from ..services.hostnames.notice_delivery import HostnameNoticeDelivery
from ..services.hostnames.ownership import Hostnames
from ..services.idempotency import Repeats
from ..services.job_lock import Rota
from ..services.keys.erasure import KeyErasure
from ..services.rate_counts import RateCounts
from ..services.revisions import Revisions
from ..services.terminators.probe_job import Probing
from ..services.terminators.reports import ServingStates
from ..services.webhooks.disabling import Disabling
from ..services.webhooks.dispatcher import Dispatcher
from ..services.webhooks.managed_endpoint import configure_webhook
from ..services.webhooks.queue import Deliveries
from ..services.webhooks.secrets import WebhookSecrets
from ..services.webhooks.sender import Sending
from ..services.webhooks.stuck_deliveries import Stragglers
from .scheduler import Job, run_every_second, run_jobs

# Connections for the dispatcher, jobs, cutovers, verification emails, erasures and challenges, and
# one spare.
_DATABASE_CONNECTIONS = 10
_LOOK_SECONDS = 1.0


def _now() -> datetime:
    return datetime.now(UTC)


def work(config: Config, *, parent_pid: int | None = None) -> None:
    """Works until SIGTERM or SIGINT, then finishes the deliveries in progress.

    Also ends after the process `parent_pid`, if given. Raises SchemaError unless the schema is at
    head; MasterKeyError, Unavailable.
    """
    require_head(config.database_url)
    configure_logging()
    metrics = Metrics(config.metrics_folder)
    master_keys = master_keys_of(config)
    database = Database(config.database_url, metrics, threads=_DATABASE_CONNECTIONS)
    configure_webhook(database, config.notify_url, _now())
    outbound = Outbound(
        https_only=config.asks_credentials,
        allowed=config.webhook_allowed,
        own=config.own_addresses,
        roots_pem=config.roots_pem,
    )
    webhook_secrets = WebhookSecrets(database, master_keys, _now)
    dispatcher = Dispatcher(
        Deliveries(database, webhook_secrets, _now),
        Sending(outbound, metrics, _now, config.notify_secret),
        Disabling(database, Audit(database, _now), Events(database, _now), _now),
        metrics,
        _now,
    )
    stopped = Alarm()

    def stop(*_: object) -> None:
        stopped.set()
        dispatcher.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if parent_pid is not None:
        Thread(target=_stop_after, args=[parent_pid, stop], daemon=True).start()
    if config.metrics_port:
        metrics.serve(config.host, config.metrics_port)
    announcements = Announcements(database.listen, dispatcher.wake)
    hostnames = Hostnames(database, _now, ownership_rules(config))
    proofs = proofs_of(config, database, hostnames, Audit(database, _now), _now)
    challenges = ChallengeRounds(database, proofs.proving, proofs.limits, _now)
    verification = _verification_mails(database, config)
    jobs = _jobs(database, config, proofs)
    cutovers = Cutovers(database, hostnames, Audit(database, _now), Events(database, _now), _now)
    prompt: list[tuple[str, Callable[[], int]]] = [
        ("cutovers", cutovers.run),
        ("challenges", challenges.run),
    ]
    if verification:
        jobs.append(Job("clean verification links", timedelta(hours=1), verification.clean))
        prompt.append(("verification mails", verification.run))
    if database.has_log_file:
        prompt.append(("erasures of deleted keys", KeyErasure(database).run))
    threads = [
        Thread(target=run_jobs, args=[jobs, Rota(database, _now), stopped], name="jobs"),
        *(
            Thread(target=run_every_second, args=[name, run, stopped], name=name)
            for name, run in prompt
        ),
    ]
    for thread in threads:
        thread.start()
    dispatcher.run()
    for thread in threads:
        thread.join()
    challenges.close()
    announcements.close()
    outbound.close()
    webhook_secrets.close()
    master_keys.close()
    database.close()


def _jobs(database: Database, config: Config, proofs: Proofs) -> list[Job]:
    by_mail = config.smtp is not None
    expiry = Expiry(database, Events(database, _now), _now, by_mail=by_mail)
    notices = HostnameNoticeDelivery(
        database, Revisions(database, _now), Audit(database, _now), Events(database, _now)
    )
    jobs = [
        Job("tell of expiry", timedelta(minutes=1), expiry.tell),
        Job("wake deliveries", timedelta(minutes=1), Stragglers(database, _now).wake),
        Job("notify of hostnames", timedelta(seconds=10), notices.run),
        Job("clean kept answers", timedelta(hours=1), Repeats(database, _now).clean),
        Job("clean rate counts", timedelta(hours=1), RateCounts(database, _now).clean),
        Job("clean challenges", timedelta(hours=1), Contests(database, _now).clean),
        Job("clean events", timedelta(hours=1), EventPages(database, _now).clean),
    ]
    if config.smtp and config.mail_from:
        mailer = Mailer(config.smtp, config.mail_from, config.roots_pem)
        letters = ExpiryMails(database, mailer, _now)
        jobs.append(Job("send letters", timedelta(minutes=1), letters.send))
    if config.probe_addresses:
        serving = ServingStates(database, Audit(database, _now), Events(database, _now), _now)
        probing = Probing(
            database, Candidates(database), serving, served, config.probe_addresses, _now
        )
        jobs.append(Job("probe terminators", timedelta(minutes=1), probing.run))
    return jobs


def _verification_mails(database: Database, config: Config) -> VerificationMails | None:
    if not (config.smtp and config.mail_from and config.public_url):
        return None
    mailer = Mailer(config.smtp, config.mail_from, config.roots_pem)
    return VerificationMails(database, mailer, config.public_url, _now)


def _stop_after(parent_pid: int, stop: Callable[[], None]) -> None:
    """Stops this process after its parent has ended, even if that was before this call."""
    while os.getppid() == parent_pid:
        sleep(_LOOK_SECONDS)
    stop()
