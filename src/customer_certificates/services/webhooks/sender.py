"""Signs and sends deliveries, in order, and classifies the responses."""

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

import msgspec

from ... import __version__
from ...crypto import webhook_signatures
from ...field_docs import doc
from ...gateways.metrics import Metrics
from ...gateways.outbound_http import Outbound, PostResponse, TargetForbidden, TargetUnreachable
from ..events.trace_context import child_of
from .queue import ClaimedDelivery, DeliveryBatch, Outcome

# The wait after each attempt but the last, as proposed by Standard Webhooks: three days in total.
SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
)
_JITTER = 0.2
# The least duration of one delivery's attempts. If an endpoint has failed for so long, and another
# delivery is given up, it is disabled.
LONGEST_FAILING = sum(SCHEDULE, timedelta()) * (1 - _JITTER)
_GONE = 410
_DEFECT = "The service failed to send this. This is a bug in the service."
# How many attempts of a delivery are kept (the last ones).
_KEPT_ATTEMPTS = 50
# An attempt takes 15 s. The rest of a lease must suffice for it, and for storing the result.
LEAST_LEFT = timedelta(seconds=20)
# An attempt that takes longer is slow, and ends its batch.
SLOW_SECONDS = 1.0
_HEADERS = {
    "content-type": "application/json",
    "user-agent": f"customer-certificates/{__version__}",
}

_encode = msgspec.json.Encoder().encode
_attempts = msgspec.json.Decoder(list[msgspec.Raw])
_log = logging.getLogger(__name__)


class AttemptView(msgspec.Struct):
    """One attempt to send a delivery."""

    at: Annotated[datetime, doc("When the attempt was made.", tz=True)]
    status: Annotated[int | None, doc("The status of the response. null: no response.", 200)]
    seconds: Annotated[float, doc("How long the attempt took.", 0.031)]
    error: Annotated[str | None, doc("Why there was no response. null: there was one.")]
    answer: Annotated[str, doc("The first bytes of the response, a kilobyte at most.", "ok")]


class SendResult(NamedTuple):
    """The result of sending a batch.

    `is_gone`: the endpoint responded with 410. `answered`: whether the last attempt got any
    response. `seconds`: the duration of the longest attempt (None: there was no attempt).
    """

    batch: DeliveryBatch
    outcomes: Sequence[Outcome]
    is_gone: bool
    answered: bool
    seconds: float | None


@dataclass(frozen=True, slots=True, repr=False)
class WebhookSender:
    """Sends deliveries. Can be used by any number of threads.

    `configured_secret` signs for the endpoint of CC_WEBHOOK_URL.
    """

    outbound: Outbound
    metrics: Metrics
    clock: Callable[[], datetime]
    configured_secret: str | None

    def send(self, batch: DeliveryBatch) -> SendResult:
        """Sends the deliveries of a batch, each after the previous one has succeeded."""
        outcomes: list[Outcome] = []
        is_gone = answered = False
        seconds: float | None = None
        signed_with = self._signed_with(batch)
        for delivery in batch.deliveries:
            at = self.clock()
            if batch.until - at < LEAST_LEFT:
                break
            attempt, retry_after = self._attempt(batch, delivery, signed_with, at)
            answered = attempt.status is not None
            is_gone = attempt.status == _GONE
            seconds = max(attempt.seconds, seconds or 0)
            outcomes.append(_outcome(delivery, attempt, retry_after, self.clock()))
            self.metrics.delivery(outcomes[-1].status, attempt.seconds)
            if outcomes[-1].status != "delivered" or attempt.seconds > SLOW_SECONDS:
                # The remaining deliveries are claimed again, so that other endpoints can use the
                # sender.
                break
        return SendResult(batch, outcomes, is_gone, answered, seconds)

    def _signed_with(self, batch: DeliveryBatch) -> list[str]:
        if batch.endpoint.configured:
            return [self.configured_secret] if self.configured_secret else []
        return [secret.reveal().decode() for secret in batch.secrets]

    def _attempt(
        self,
        batch: DeliveryBatch,
        delivery: ClaimedDelivery,
        signed_with: Sequence[str],
        at: datetime,
    ) -> tuple[AttemptView, float | None]:
        event = delivery.event
        if delivery.attempt_count == 0:
            self.metrics.delivery_starts.observe((at - event.timestamp).total_seconds())
        body = _encode(event)
        headers = webhook_signatures.headers(signed_with, message_id(event.id), at, body)
        try:
            if trace := child_of(delivery.traceparent):
                headers = {**headers, "traceparent": trace}
            answer = self.outbound.send(batch.endpoint.url, {**_HEADERS, **headers}, body)
        except (TargetForbidden, TargetUnreachable) as error:
            seconds = round((self.clock() - at).total_seconds(), 3)
            return AttemptView(at, None, seconds, error.detail, ""), None
        except Exception:
            # Every failure counts as an attempt, so that nothing is retried forever.
            _log.exception("Sending to webhook %s failed unexpectedly", batch.endpoint.id)
            seconds = round((self.clock() - at).total_seconds(), 3)
            return AttemptView(at, None, seconds, _DEFECT, ""), None
        return _view(at, answer), answer.retry_after


def message_id(event_id: int) -> str:
    """Returns the message id of Standard Webhooks, the same for every attempt."""
    return f"evt_{event_id}"


def wait_after(attempt_count: int, retry_after: float | None) -> timedelta | None:
    """Returns the wait after the attempt number `attempt_count`; None after the last one."""
    if attempt_count > len(SCHEDULE):
        return None
    jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - nobody gains by guessing it
    return max(SCHEDULE[attempt_count - 1] * jitter, timedelta(seconds=retry_after or 0))


def _view(at: datetime, answer: PostResponse) -> AttemptView:
    # PostgreSQL cannot store NUL in text.
    text = answer.body_start.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return AttemptView(at, answer.status, round(answer.seconds, 3), None, text)


def _outcome(
    delivery: ClaimedDelivery, attempt: AttemptView, retry_after: float | None, now: datetime
) -> Outcome:
    attempt_count = delivery.attempt_count + 1
    attempts = _appended(delivery.attempts, attempt)
    if attempt.status is not None and 200 <= attempt.status < 300:
        return Outcome(delivery, "delivered", None, attempt_count, attempts)
    wait = None if attempt.status == _GONE else wait_after(attempt_count, retry_after)
    if wait is None:
        return Outcome(delivery, "dead", None, attempt_count, attempts)
    return Outcome(delivery, "pending", now + wait, attempt_count, attempts)


def _appended(attempts: str, attempt: AttemptView) -> str:
    """Returns a JSON array with one more item, without the oldest if there are many."""
    items = _attempts.decode(attempts)[1 - _KEPT_ATTEMPTS :]
    return _encode([*items, attempt]).decode()
