"""The process that does what no request waits for: it tells others of events, and cleans up."""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Thread
from time import sleep

from .config import Config
from .gateways.alarms import Alarm
from .gateways.announcements import Announcements
from .gateways.database import Database
from .gateways.log_format import configure_logging
from .gateways.metrics import Metrics
from .gateways.outbound import Outbound
from .gateways.smtp import Mailer
from .gateways.tls_probe import served
from .keys import master_keys_of
from .periodic import Job, run_every_second, run_jobs
from .services.audit import Audit
from .services.candidates import Candidates
from .services.configured_webhook import configure_webhook
from .services.cutovers import Cutovers
from .services.deliveries import Deliveries
from .services.disabling import Disabling
from .services.dispatcher import Dispatcher
from .services.event_pages import EventPages
from .services.events import Events
from .services.expiry import Expiry
from .services.expiry_mails import ExpiryMails
from .services.probing import Probing
from .services.registrations import Registrations
from .services.repeats import Repeats
from .services.rota import Rota
from .services.sending import Sending
from .services.serving import ServingStates
from .services.stragglers import Stragglers
from .services.webhook_secrets import WebhookSecrets

# The dispatcher's, the jobs', the cutovers' and one to spare.
_DATABASE_CONNECTIONS = 4
_LOOK_SECONDS = 1.0


def _now() -> datetime:
    return datetime.now(UTC)


def work(config: Config, *, parent_pid: int | None = None) -> None:
    """Works until SIGTERM or SIGINT; then what is being sent is finished.

    The process `parent_pid`, if given, started this one; this one ends when that one has ended.
    The schema must be at head.
    Raises MasterKeyError, Unavailable.
    """
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
    jobs = Thread(
        target=run_jobs, args=[_jobs(database, config), Rota(database, _now), stopped], name="jobs"
    )
    jobs.start()
    cutovers = Cutovers(database, Audit(database, _now), Events(database, _now), _now)
    cutting = Thread(
        target=run_every_second, args=["cutovers", cutovers.run, stopped], name="cutovers"
    )
    cutting.start()
    dispatcher.run()
    jobs.join()
    cutting.join()
    announcements.close()
    outbound.close()
    webhook_secrets.close()
    master_keys.close()
    database.close()


def _jobs(database: Database, config: Config) -> list[Job]:
    by_mail = config.smtp is not None
    expiry = Expiry(database, Events(database, _now), _now, by_mail=by_mail)
    jobs = [
        Job("tell of expiry", timedelta(minutes=1), expiry.tell),
        Job("wake deliveries", timedelta(minutes=1), Stragglers(database, _now).wake),
        Job("clean kept answers", timedelta(hours=1), Repeats(database, _now).clean),
        Job("clean registrations", timedelta(hours=1), Registrations(database, _now).clean),
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


def _stop_after(parent_pid: int, stop: Callable[[], None]) -> None:
    """Stops this process when its parent has ended, which may be before this is called."""
    while os.getppid() == parent_pid:
        sleep(_LOOK_SECONDS)
    stop()
