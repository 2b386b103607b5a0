"""What a worker does: claims what is due, has threads send it, stores how that went."""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Lock

from ..errors import Unavailable
from ..gateways.alarms import Alarm
from ..gateways.metrics import Metrics
from .deliveries import Deliveries, Run
from .disabling import Disabling
from .sending import LONGEST_FAILING, Sending, Sent

_THREADS = 64
# How many requests an endpoint gets at once; one, while the last one had no answer at all: those
# that hang for 15 s must not have all threads.
_AT_ONCE = 16
# So many subjects of an endpoint's are claimed at once; and again, when half of them are done.
_CLAIMED = 64
_SETTLED_AT_ONCE = 256
_LOOK_AGAIN_SECONDS = 1.0

_log = logging.getLogger(__name__)


class _Lane:
    """What this worker has of one endpoint's: runs that wait, and how many threads send."""

    def __init__(self) -> None:
        self.waiting: deque[Run] = deque()
        self.claimed = 0
        self.threads = 0
        self.answers = True

    @property
    def at_once(self) -> int:
        return _AT_ONCE if self.answers else 1

    @property
    def room(self) -> int:
        """How many more to claim; none until it is worth it."""
        most = _CLAIMED if self.answers else 1
        return most - self.claimed if self.claimed <= most // 2 else 0


class Dispatcher:
    """Endpoints do not wait for one another, nor certificates of one endpoint: whatever is due has
    a thread, up to what each endpoint gets at once."""

    def __init__(
        self,
        deliveries: Deliveries,
        sending: Sending,
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
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="sending")
        self._lanes: dict[int, _Lane] = {}
        self._lock = Lock()
        self._sent: deque[Sent] = deque()
        self._wake = Alarm()
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
                seconds = self._claim()
            except Unavailable as error:
                _log.warning("deliveries wait: %s", error.detail)
                seconds = _LOOK_AGAIN_SECONDS
            except Exception:
                # What was claimed comes back when its lease ends; what was sent is stored next.
                _log.exception("deliveries failed unexpectedly")
                seconds = _LOOK_AGAIN_SECONDS
            self._wake.wait(seconds)
        self._drain()

    def _claim(self) -> float:
        """Claims what there is room for, and says in how many seconds to look again."""
        now, wanted, seconds = self._now(), [], self._look_seconds
        oldest = now
        for endpoint in self._deliveries.busy():
            if endpoint.due > now:
                seconds = min(seconds, (endpoint.due - now).total_seconds())
                continue
            oldest = min(oldest, endpoint.due)
            if room := self._lanes.setdefault(endpoint.id, _Lane()).room:
                wanted.append((endpoint, room))
        self._metrics.delivery_lag.set((now - oldest).total_seconds())
        if wanted:
            runs = self._deliveries.claim(wanted)
            for run in runs:
                self._start(run)
        return seconds

    def _start(self, run: Run) -> None:
        lane = self._lanes[run.endpoint.id]
        with self._lock:
            lane.waiting.append(run)
            lane.claimed += 1
            if lane.threads >= lane.at_once:
                return
            lane.threads += 1
        self._threads.submit(self._send_from, lane)

    def _send_from(self, lane: _Lane) -> None:
        """Sends what waits in a lane until nothing does, or too many threads do that."""
        while True:
            with self._lock:
                if not lane.waiting or self._stopping or lane.threads > lane.at_once:
                    lane.threads -= 1
                    return
                run = lane.waiting.popleft()
            try:
                sent = self._sending.send(run)
            except Exception:
                # The lease ends by itself, and then it is tried again.
                _log.exception("a delivery to webhook %s failed unexpectedly", run.endpoint.id)
                with self._lock:
                    lane.claimed -= 1
                continue
            if sent.answered is not None:
                lane.answers = sent.answered
            self._sent.append(sent)
            self._wake.set()

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

    def _disable_where_due(self, sent: Sent) -> None:
        endpoint = sent.run.endpoint
        if sent.is_gone:
            self._disabling.disable(endpoint, "It answered 410 Gone.")
        elif sent.outcomes and sent.outcomes[-1].status == "dead" and endpoint.failing_since:
            before = self._now() - LONGEST_FAILING
            self._disabling.disable(endpoint, "It has taken nothing for days.", before)

    def _drain(self) -> None:
        self._threads.shutdown()
        given_back = [
            Sent(run, [], False, None) for lane in self._lanes.values() for run in lane.waiting
        ]
        self._sent.extend(given_back)
        try:
            self._settle()
        except Unavailable as error:
            _log.warning("what was sent last is not stored, and will be sent again: %s", error)
