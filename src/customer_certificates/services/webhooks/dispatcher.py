"""Claims due deliveries, sends them in threads, and stores the results."""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from threading import Lock
from time import monotonic

from ...errors import Unavailable
from ...gateways.admission.limiter import Slots
from ...gateways.metrics import Metrics
from ...gateways.signals import SignalSafeEvent
from .disabling import Disabling
from .queue import DeliveryBatch, DeliveryQueue, Endpoint
from .sender import LONGEST_FAILING, SLOW_SECONDS, SendResult, WebhookSender

# Two pools of senders, so that slow endpoints do not delay others. One tenant has at most half of
# each pool.
_QUICK_SENDERS = 64
_SLOW_SENDERS = 64
# The limit of concurrent requests to an endpoint. It starts at one, and each response adds one.
_AT_ONCE = 16
# The limit of all concurrent requests of an endpoint, in total seconds: with 2.5 s each, it gets
# two.
_SECONDS_AT_ONCE = 5.0
# How many ordering keys are claimed for each concurrent request (one, if the endpoint is slow).
# More are claimed when half of them are done.
_CLAIMED_FOR_EACH = 4
_RECORDED_AT_ONCE = 256
_POLL_SECONDS = 1.0
_LEAST_WAIT_SECONDS = 0.1

_log = logging.getLogger(__name__)


class _EndpointQueue:
    """The claimed batches of one endpoint, and the senders that they use."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.waiting: deque[DeliveryBatch] = deque()
        self.claimed = 0
        # The numbers of requested and active senders.
        self.requested = 0
        self.sending = 0
        self._seconds = 0.0
        self._responses = 0

    @property
    def is_slow(self) -> bool:
        """Returns whether its requests go to the slow senders."""
        return self._seconds > SLOW_SECONDS

    @property
    def at_once(self) -> int:
        """Returns the limit of its concurrent requests."""
        most = min(_AT_ONCE, 1 + self._responses)
        return min(most, max(1, int(_SECONDS_AT_ONCE / self._seconds))) if self._seconds else most

    @property
    def room(self) -> int:
        """Returns how many more to claim; 0 until a claim is worthwhile."""
        most = self.at_once * (1 if self.is_slow else _CLAIMED_FOR_EACH)
        return most - self.claimed if self.claimed <= most // 2 else 0

    def record(self, result: SendResult) -> None:
        """Records the endpoint's response time. One quick response does not make it quick."""
        if result.seconds is not None:
            self._seconds = max(result.seconds, self._seconds / 2)
            self._responses = self._responses + 1 if result.answered else 0


@dataclass(eq=False, slots=True)
class _Sender:
    """A batch that is being sent, and the pool whose slot it holds."""

    queue: _EndpointQueue
    pool: Slots
    batch: DeliveryBatch
    began: float = field(default_factory=monotonic)


class Dispatcher:
    """Sends deliveries.

    Different certificates do not wait for one another, and tenants take turns. A slow endpoint thus
    delays only its own deliveries (docs/decisions/0038).
    """

    def __init__(
        self,
        deliveries: DeliveryQueue,
        sender: WebhookSender,
        disabling: Disabling,
        metrics: Metrics,
        now: Callable[[], datetime],
        poll_seconds: float = _POLL_SECONDS,
    ) -> None:
        """`poll_seconds` is the interval for polling deliveries that nobody announced."""
        self._deliveries = deliveries
        self._sender = sender
        self._disabling = disabling
        self._metrics = metrics
        self._now = now
        self._poll_seconds = poll_seconds
        self._quick, self._slow = (
            Slots(size, metrics.request_rejected, waiting_per_slot=0)
            for size in (_QUICK_SENDERS, _SLOW_SENDERS)
        )
        self._threads = ThreadPoolExecutor(_QUICK_SENDERS + _SLOW_SENDERS, "sending")
        self._is_closed = False
        self._queues: dict[int, _EndpointQueue] = {}
        self._senders: set[_Sender] = set()
        # Also held while slots are acquired and released.
        self._lock = Lock()
        self._results: deque[SendResult] = deque()
        self._wake = SignalSafeEvent()
        self._stopping = False

    def wake(self) -> None:
        """Announces new deliveries."""
        self._wake.set()

    def stop(self) -> None:
        """Makes `run` return: active requests are completed, the rest is unclaimed."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """Works until `stop`. Call it from one thread."""
        while not self._stopping:
            self._wake.clear()
            try:
                self._record_results()
                seconds = min(self._claim(), self._move_slow_sends())
            except Unavailable as error:
                _log.warning("Deliveries postponed: %s", error.detail)
                seconds = _POLL_SECONDS
            except Exception:
                # Claims are released when their lease expires; results of sent deliveries are
                # stored next.
                _log.exception("Delivering events failed unexpectedly")
                seconds = _POLL_SECONDS
            self._wake.wait(seconds)
        self._drain()

    def _claim(self) -> float:
        """Claims as much as there is room for, and returns the seconds until the next poll."""
        now, seconds = self._now(), self._poll_seconds
        oldest = now
        requested = list[tuple[Endpoint, int]]()
        for endpoint in self._deliveries.endpoints_with_work():
            if endpoint.next_attempt_at > now:
                seconds = min(seconds, (endpoint.next_attempt_at - now).total_seconds())
                continue
            queue = self._queue_of(endpoint)
            if not queue.is_slow:
                oldest = min(oldest, endpoint.next_attempt_at)
            if room := queue.room:
                requested.append((endpoint, room))
        self._metrics.delivery_lag.set((now - oldest).total_seconds())
        if requested:
            for batch in self._deliveries.claim(requested):
                self._start(batch)
        return seconds

    def _queue_of(self, endpoint: Endpoint) -> _EndpointQueue:
        queue = self._queues.get(endpoint.id)
        if queue is None:
            user_id = endpoint.user_id
            tenant = "operator" if user_id is None else f"user {user_id}"
            queue = self._queues[endpoint.id] = _EndpointQueue(tenant)
        return queue

    def _start(self, batch: DeliveryBatch) -> None:
        queue = self._queues[batch.endpoint.id]
        with self._lock:
            queue.waiting.append(batch)
            queue.claimed += 1
            self._request_senders(queue)

    def _request_senders(self, queue: _EndpointQueue) -> None:
        """Requests senders for the batches in a queue. The caller must hold the lock."""
        while (
            queue.requested < len(queue.waiting) and queue.requested + queue.sending < queue.at_once
        ):
            queue.requested += 1
            pool = self._slow if queue.is_slow else self._quick
            pool.acquire_later(queue.tenant).add_done_callback(partial(self._begin, queue, pool))

    def _begin(self, queue: _EndpointQueue, pool: Slots, _: Future[bool]) -> None:
        # A slot becomes free on a release, which happens under the lock.
        if not self._is_closed:
            self._threads.submit(self._send_one, queue, pool)

    def _send_one(self, queue: _EndpointQueue, pool: Slots) -> None:
        """Sends the first batch in a queue, and releases the slot."""
        with self._lock:
            queue.requested -= 1
            if not queue.waiting or self._stopping:
                pool.release(queue.tenant)
                return
            queue.sending += 1
            sender = _Sender(queue, pool, queue.waiting.popleft())
            self._senders.add(sender)
        result = self._send(sender.batch)
        with self._lock:
            if result is None:
                queue.claimed -= 1
            else:
                queue.record(result)
                self._results.append(result)
            queue.sending -= 1
            self._senders.discard(sender)
            self._request_senders(queue)
            sender.pool.release(queue.tenant)
        self._wake.set()

    def _send(self, batch: DeliveryBatch) -> SendResult | None:
        try:
            return self._sender.send(batch)
        except Exception:
            # The lease expires by itself, then the delivery is retried.
            _log.exception("A delivery to webhook %s failed unexpectedly", batch.endpoint.id)
            return None

    def _move_slow_sends(self) -> float:
        """Moves long-running requests to a slow sender, if one is free.

        Returns the seconds until the next poll.
        """
        slow_since, wait = monotonic() - SLOW_SECONDS, float("inf")
        with self._lock:
            for sender in self._senders:
                if sender.pool is self._slow:
                    continue
                if sender.began > slow_since:
                    wait = min(wait, sender.began - slow_since)
                elif self._slow.try_acquire(sender.queue.tenant):
                    sender.pool = self._slow
                    self._quick.release(sender.queue.tenant)
        return max(wait, _LEAST_WAIT_SECONDS)

    def _record_results(self) -> None:
        """Stores the results of sent batches."""
        while self._results:
            number = min(len(self._results), _RECORDED_AT_ONCE)
            results = [self._results[place] for place in range(number)]
            self._deliveries.record_results([(result.batch, result.outcomes) for result in results])
            # After a failure, these results come again. Those that are stored are not changed.
            for result in results:
                self._disable_if_due(result)
            for result in results:
                self._results.popleft()
                with self._lock:
                    self._queues[result.batch.endpoint.id].claimed -= 1

    def _disable_if_due(self, result: SendResult) -> None:
        endpoint = result.batch.endpoint
        if result.is_gone:
            self._disabling.disable(endpoint, "The endpoint responded with 410 Gone.")
        elif result.outcomes and result.outcomes[-1].status == "dead" and endpoint.failing_since:
            before = self._now() - LONGEST_FAILING
            self._disabling.disable(endpoint, "All deliveries have failed for days.", before)

    def _drain(self) -> None:
        with self._lock:
            self._is_closed = True
        self._threads.shutdown()
        self._results.extend(
            SendResult(batch, [], False, False, None)
            for queue in self._queues.values()
            for batch in queue.waiting
        )
        try:
            self._record_results()
        except Unavailable as error:
            _log.warning(
                "The results of the last deliveries could not be stored; they will be sent "
                "again: %s",
                error,
            )
