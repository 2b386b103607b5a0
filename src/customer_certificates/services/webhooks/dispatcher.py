"""What a worker does: claims what is due, has threads send it, stores how that went."""

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

# Two pools of senders, so that endpoints that answer slowly do not keep the others waiting. One
# tenant has at most half of each.
_QUICK_SENDERS = 64
_SLOW_SENDERS = 64
# How many requests an endpoint gets at once. It begins with one, and gets one more for each answer.
_AT_ONCE = 16
# So many seconds all requests of an endpoint may take together: one that needs 2.5 s gets two.
_SECONDS_AT_ONCE = 5.0
# So many subjects of an endpoint's are claimed for each of those (one, if it is slow), and again
# when half of them are done.
_CLAIMED_FOR_EACH = 4
_SETTLED_AT_ONCE = 256
_LOOK_AGAIN_SECONDS = 1.0
_MOVE_AT_LEAST_SECONDS = 0.1

_log = logging.getLogger(__name__)


class _EndpointQueue:
    """The runs of one endpoint that this worker has claimed, and the senders that they use."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.waiting: deque[DeliveryBatch] = deque()
        self.claimed = 0
        # Senders that were asked for, and those that send.
        self.asked = 0
        self.sending = 0
        self._seconds = 0.0
        self._answers = 0

    @property
    def is_slow(self) -> bool:
        """Whether its requests are for the slow senders."""
        return self._seconds > SLOW_SECONDS

    @property
    def at_once(self) -> int:
        """How many requests it gets at once."""
        most = min(_AT_ONCE, 1 + self._answers)
        return min(most, max(1, int(_SECONDS_AT_ONCE / self._seconds))) if self._seconds else most

    @property
    def room(self) -> int:
        """How many more to claim; none until it is worth it."""
        most = self.at_once * (1 if self.is_slow else _CLAIMED_FOR_EACH)
        return most - self.claimed if self.claimed <= most // 2 else 0

    def learn(self, sent: SendResult) -> None:
        """Takes note of how long the endpoint took. One quick answer does not make it quick."""
        if sent.seconds is not None:
            self._seconds = max(sent.seconds, self._seconds / 2)
            self._answers = self._answers + 1 if sent.answered else 0


class _Sender:
    """A run that is being sent, and the pool whose slot it holds."""

    __slots__ = ("begun", "lane", "pool", "run")

    def __init__(self, lane: _EndpointQueue, pool: Slots, run: DeliveryBatch) -> None:
        self.lane = lane
        self.pool = pool
        self.run = run
        self.begun = monotonic()


class Dispatcher:
    """Certificates of one endpoint do not wait for one another, and tenants get senders by turns:
    a slow endpoint delays its own deliveries (docs/decisions/0038)."""

    def __init__(
        self,
        deliveries: DeliveryQueue,
        sending: WebhookSender,
        disabling: Disabling,
        metrics: Metrics,
        now: Callable[[], datetime],
        look_seconds: float = _LOOK_AGAIN_SECONDS,
    ) -> None:
        """`look_seconds` is how often to look for what nobody announced."""
        self._deliveries = deliveries
        self._sending = sending
        self._disabling = disabling
        self._metrics = metrics
        self._now = now
        self._look_seconds = look_seconds
        self._quick, self._slow = (
            Slots(size, metrics.refused_busy, waiting_of_one=0)
            for size in (_QUICK_SENDERS, _SLOW_SENDERS)
        )
        self._threads = ThreadPoolExecutor(
            _QUICK_SENDERS + _SLOW_SENDERS, thread_name_prefix="sending"
        )
        self._is_closed = False
        self._lanes: dict[int, _EndpointQueue] = {}
        self._senders: set[_Sender] = set()
        # Held while slots are taken and given back, too.
        self._lock = Lock()
        self._sent: deque[SendResult] = deque()
        self._wake = SignalSafeEvent()
        self._stopping = False

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    def stop(self) -> None:
        """Has `run` end: what is being sent is finished, what is not is given back."""
        self._stopping = True
        self._wake.set()

    def run(self) -> None:
        """Works until `stop`, from one thread."""
        while not self._stopping:
            self._wake.clear()
            try:
                self._settle()
                seconds = min(self._claim(), self._move_slow())
            except Unavailable as error:
                _log.warning("Deliveries postponed: %s", error.detail)
                seconds = _LOOK_AGAIN_SECONDS
            except Exception:
                # What was claimed comes back when its lease ends; what was sent is stored next.
                _log.exception("Delivering events failed unexpectedly")
                seconds = _LOOK_AGAIN_SECONDS
            self._wake.wait(seconds)
        self._drain()

    def _claim(self) -> float:
        """Claims what there is room for, and says in how many seconds to look again."""
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
        """Asks for senders for what waits in a lane. To be called under the lock."""
        while lane.asked < len(lane.waiting) and lane.asked + lane.sending < lane.at_once:
            lane.asked += 1
            pool = self._slow if lane.is_slow else self._quick
            pool.acquire_later(lane.tenant).add_done_callback(partial(self._begin, lane, pool))

    def _begin(self, lane: _EndpointQueue, pool: Slots, _: Future[bool]) -> None:
        # A slot comes when another is released, which is under the lock.
        if not self._is_closed:
            self._threads.submit(self._send_one, lane, pool)

    def _send_one(self, lane: _EndpointQueue, pool: Slots) -> None:
        """Sends the first run that waits in a lane, and gives the slot back."""
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
            # The lease ends by itself, and then it is tried again.
            _log.exception("A delivery to webhook %s failed unexpectedly", run.endpoint.id)
            return None

    def _move_slow(self) -> float:
        """Gives what takes long a slow sender instead of a quick one, if one is free. Returns in
        how many seconds to look again."""
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
        """Stores how the runs stand that have been sent."""
        while self._sent:
            batch = [self._sent[place] for place in range(min(len(self._sent), _SETTLED_AT_ONCE))]
            self._deliveries.settle([(sent.run, sent.outcomes) for sent in batch])
            # Where this fails, the batch comes again, and what is stored stays as it is.
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
