"""Claims due deliveries, sends them in threads, and stores the results."""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
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
_SETTLED_AT_ONCE = 256
_LOOK_AGAIN_SECONDS = 1.0
_MOVE_AT_LEAST_SECONDS = 0.1

_log = logging.getLogger(__name__)


class _EndpointQueue:
    """The claimed batches of one endpoint, and the senders that they use."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.waiting: deque[DeliveryBatch] = deque()
        self.claimed = 0
        # The numbers of requested and active senders.
        self.asked = 0
        self.sending = 0
        self._seconds = 0.0
        self._answers = 0

    @property
    def is_slow(self) -> bool:
        """Returns whether its requests go to the slow senders."""
        return self._seconds > SLOW_SECONDS

    @property
    def at_once(self) -> int:
        """Returns the limit of its concurrent requests."""
        most = min(_AT_ONCE, 1 + self._answers)
        return min(most, max(1, int(_SECONDS_AT_ONCE / self._seconds))) if self._seconds else most

    @property
    def room(self) -> int:
        """Returns how many more to claim; 0 until a claim is worthwhile."""
        most = self.at_once * (1 if self.is_slow else _CLAIMED_FOR_EACH)
        return most - self.claimed if self.claimed <= most // 2 else 0

    def learn(self, sent: SendResult) -> None:
        """Records the endpoint's response time. One quick response does not make it quick."""
        if sent.seconds is not None:
            self._seconds = max(sent.seconds, self._seconds / 2)
            self._answers = self._answers + 1 if sent.answered else 0


class _Sender:
    """A batch that is being sent, and the pool whose slot it holds."""

    __slots__ = ("begun", "lane", "pool", "run")

    def __init__(self, lane: _EndpointQueue, pool: Slots, run: DeliveryBatch) -> None:
        self.lane = lane
        self.pool = pool
        self.run = run
        self.begun = monotonic()


class Dispatcher:
    """Sends deliveries.

    Different certificates do not wait for one another, and tenants take turns. A slow endpoint thus
    delays only its own deliveries (docs/decisions/0038).
    """

    def __init__(
        self,
        deliveries: DeliveryQueue,
        sending: WebhookSender,
        disabling: Disabling,
        metrics: Metrics,
        now: Callable[[], datetime],
        look_seconds: float = _LOOK_AGAIN_SECONDS,
    ) -> None:
        """`look_seconds` is the interval for polling deliveries that nobody announced."""
        self._deliveries = deliveries
        self._sending = sending
        self._disabling = disabling
        self._metrics = metrics
        self._now = now
        self._look_seconds = look_seconds
        self._quick, self._slow = (
            Slots(size, metrics.refused_busy, waiting_per_slot=0)
            for size in (_QUICK_SENDERS, _SLOW_SENDERS)
        )
        self._threads = ThreadPoolExecutor(
            _QUICK_SENDERS + _SLOW_SENDERS, thread_name_prefix="sending"
        )
        self._is_closed = False
        self._lanes: dict[int, _EndpointQueue] = {}
        self._senders: set[_Sender] = set()
        # Also held while slots are acquired and released.
        self._lock = Lock()
        self._sent: deque[SendResult] = deque()
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
                self._settle()
                seconds = min(self._claim(), self._move_slow())
            except Unavailable as error:
                _log.warning("Deliveries postponed: %s", error.detail)
                seconds = _LOOK_AGAIN_SECONDS
            except Exception:
                # Claims are released when their lease expires; results of sent deliveries are
                # stored next.
                _log.exception("Delivering events failed unexpectedly")
                seconds = _LOOK_AGAIN_SECONDS
            self._wake.wait(seconds)
        self._drain()

    def _claim(self) -> float:
        """Claims as much as there is room for, and returns the seconds until the next poll."""
        now, wanted, seconds = self._now(), list[tuple[Endpoint, int]](), self._look_seconds
        oldest = now
        for endpoint in self._deliveries.busy():
            if endpoint.due > now:
                seconds = min(seconds, (endpoint.due - now).total_seconds())
                continue
            lane = self._lane(endpoint)
            if not lane.is_slow:
                oldest = min(oldest, endpoint.due)
            if room := lane.room:
                wanted.append((endpoint, room))
        self._metrics.delivery_lag.set((now - oldest).total_seconds())
        if wanted:
            runs = self._deliveries.claim(wanted)
            for run in runs:
                self._start(run)
        return seconds

    def _lane(self, endpoint: Endpoint) -> _EndpointQueue:
        lane = self._lanes.get(endpoint.id)
        if lane is None:
            user_id = endpoint.user_id
            tenant = "operator" if user_id is None else f"user {user_id}"
            lane = self._lanes[endpoint.id] = _EndpointQueue(tenant)
        return lane

    def _start(self, run: DeliveryBatch) -> None:
        lane = self._lanes[run.endpoint.id]
        with self._lock:
            lane.waiting.append(run)
            lane.claimed += 1
            self._ask(lane)

    def _ask(self, lane: _EndpointQueue) -> None:
        """Requests senders for the queued batches of a lane. The caller must hold the lock."""
        while lane.asked < len(lane.waiting) and lane.asked + lane.sending < lane.at_once:
            lane.asked += 1
            pool = self._slow if lane.is_slow else self._quick
            pool.acquire_later(lane.tenant).add_done_callback(partial(self._begin, lane, pool))

    def _begin(self, lane: _EndpointQueue, pool: Slots, _: Future[bool]) -> None:
        # A slot becomes free on a release, which happens under the lock.
        if not self._is_closed:
            self._threads.submit(self._send_one, lane, pool)

    def _send_one(self, lane: _EndpointQueue, pool: Slots) -> None:
        """Sends the first queued batch of a lane, and releases the slot."""
        with self._lock:
            lane.asked -= 1
            if not lane.waiting or self._stopping:
                pool.release(lane.tenant)
                return
            lane.sending += 1
            sender = _Sender(lane, pool, lane.waiting.popleft())
            self._senders.add(sender)
        sent = self._send(sender.run)
        with self._lock:
            if sent is None:
                lane.claimed -= 1
            else:
                lane.learn(sent)
                self._sent.append(sent)
            lane.sending -= 1
            self._senders.discard(sender)
            self._ask(lane)
            sender.pool.release(lane.tenant)
        self._wake.set()

    def _send(self, run: DeliveryBatch) -> SendResult | None:
        try:
            return self._sending.send(run)
        except Exception:
            # The lease expires by itself, then the delivery is retried.
            _log.exception("A delivery to webhook %s failed unexpectedly", run.endpoint.id)
            return None

    def _move_slow(self) -> float:
        """Moves long-running requests to a slow sender, if one is free.

        Returns the seconds until the next poll.
        """
        slow, first = monotonic() - SLOW_SECONDS, float("inf")
        with self._lock:
            for sender in self._senders:
                if sender.pool is self._slow:
                    continue
                if sender.begun > slow:
                    first = min(first, sender.begun - slow)
                elif self._slow.try_acquire(sender.lane.tenant):
                    sender.pool = self._slow
                    self._quick.release(sender.lane.tenant)
        return max(first, _MOVE_AT_LEAST_SECONDS)

    def _settle(self) -> None:
        """Stores the results of sent batches."""
        while self._sent:
            batch = [self._sent[place] for place in range(min(len(self._sent), _SETTLED_AT_ONCE))]
            self._deliveries.settle([(sent.run, sent.outcomes) for sent in batch])
            # After a failure, the batch comes again. Results that are already stored are not
            # changed.
            for sent in batch:
                self._disable_where_due(sent)
            for sent in batch:
                self._sent.popleft()
                lane = self._lanes[sent.run.endpoint.id]
                with self._lock:
                    lane.claimed -= 1

    def _disable_where_due(self, sent: SendResult) -> None:
        endpoint = sent.run.endpoint
        if sent.is_gone:
            self._disabling.disable(endpoint, "The endpoint responded with 410 Gone.")
        elif sent.outcomes and sent.outcomes[-1].status == "dead" and endpoint.failing_since:
            before = self._now() - LONGEST_FAILING
            self._disabling.disable(endpoint, "All deliveries have failed for days.", before)

    def _drain(self) -> None:
        with self._lock:
            self._is_closed = True
        self._threads.shutdown()
        given_back = [
            SendResult(run, [], False, False, None)
            for lane in self._lanes.values()
            for run in lane.waiting
        ]
        self._sent.extend(given_back)
        try:
            self._settle()
        except Unavailable as error:
            _log.warning(
                "The results of the last deliveries could not be stored; they will be sent "
                "again: %s",
                error,
            )
