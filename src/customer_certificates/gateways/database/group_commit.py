"""Group commit: transactions of several users are committed together."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from .. import loop
from .prepared import DriverConnection, DriverStatement, Row, SecondTrip

_MOST_IN_GROUP = 16

Rows = list[list[Row]]
Run = Callable[[DriverConnection], Rows]


class OutcomeUnknown(Exception):  # noqa: N818 - it may have succeeded
    """The connection was lost, perhaps after the commit."""


class Job:
    """The transaction of one user: `first_trip`, and the statements of `second_trip`."""

    __slots__ = ("_scope", "_second_trip", "context", "first_trip", "rows", "tenant")

    def __init__(
        self,
        tenant: int,
        scope: list[DriverStatement],
        first_trip: list[DriverStatement],
        second_trip: SecondTrip,
    ) -> None:
        """`scope` are the statements that set the tenant. Each trip begins with them."""
        self.tenant = tenant
        self._scope = scope
        self.first_trip = scope + first_trip
        self._second_trip = second_trip
        # The request's context: a job that runs alone counts for the request's tenant.
        self.context = copy_context()
        self.rows: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()

    def second_trip(self, rows: Rows) -> list[DriverStatement]:
        """Returns the second trip, after `rows` of the first one. May raise."""
        return self._scope + self._second_trip(rows[len(self._scope) :])

    def run_alone(self, connection: DriverConnection) -> Rows:
        """Runs the job as a separate transaction. Returns the rows without those of `scope`."""
        return self._own(connection.run_two_step_transaction(self.first_trip, self.second_trip))

    def _own(self, rows: Rows) -> Rows:
        count = len(self._scope)
        second = len(self.first_trip)
        return rows[count:second] + rows[second + count :]

    def succeed(self, rows: Rows) -> None:
        """Passes the rows to the request."""
        if not self.rows.done():
            self.rows.set_result(self._own(rows))


class Groups:
    """Runs jobs in groups, one group at a time, each in one transaction.

    Jobs run in the order of the users' IDs. The next group starts after the commit of the one
    before, and no request gets its response earlier. If anything in a group fails, the group is
    rolled back, and each job runs alone. No group waits long for a lock: a job that would wait runs
    alone, and waits there. So do the other jobs of its user meanwhile, since they would wait for
    the same row.
    """

    def __init__(
        self,
        transact: Callable[[Run], Rows],
        alone: Callable[[Run], Rows],
        lock_timeout: list[DriverStatement],
    ) -> None:
        """Creates the queue of jobs.

        `transact` runs a group, and raises OutcomeUnknown if its commit may have succeeded. `alone`
        runs one job. `lock_timeout` are the statements that limit how long a group waits.
        """
        self._transact = transact
        self._transact_alone = alone
        # The number of jobs of each user that run alone.
        self._alone: Counter[int] = Counter()
        self._lock_timeout = lock_timeout
        self._waiting: deque[Job] = deque()
        self._group_task: asyncio.Task[None] | None = None

    def run(self, job: Job, *, is_long: bool) -> Rows:
        """Returns the rows of `job` once they are committed.

        A job that `is_long` joins no group. Call this in a greenlet.
        """
        if is_long or job.tenant in self._alone:
            return self._run_by_itself(job)
        self._waiting.append(job)
        if self._group_task is None:
            # Not in the context of the request that happens to be the first.
            running = asyncio.get_running_loop()
            self._group_task = running.create_task(self._serve(), context=Context())
        return loop.wait_for(job.rows)

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        while self._waiting:
            jobs = self._next_group()
            if not await self._run_group(jobs):
                for job in jobs:
                    task = asyncio.create_task(self._run_alone(job), context=job.context)
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        self._group_task = None
        if tasks:
            await asyncio.wait(tasks)

    def _next_group(self) -> list[Job]:
        """Returns the first job of each user, in the order of users."""
        by_tenant: dict[int, Job] = {}
        later: list[Job] = []
        while self._waiting and len(by_tenant) < _MOST_IN_GROUP:
            job = self._waiting.popleft()
            if job.tenant in by_tenant:
                later.append(job)
            else:
                by_tenant[job.tenant] = job
        self._waiting.extendleft(reversed(later))
        return [by_tenant[tenant] for tenant in sorted(by_tenant)]

    async def _run_group(self, jobs: list[Job]) -> bool:
        """Returns whether the jobs got their results. If not, nothing was changed."""
        first_trip = [*self._lock_timeout]
        starts: list[int] = []
        for job in jobs:
            starts.append(len(first_trip))
            first_trip += job.first_trip
        second_trips: list[list[DriverStatement]] = []

        def second_trip(rows: Rows) -> list[DriverStatement]:
            second_trips[:] = [
                job.second_trip(rows[start : start + len(job.first_trip)])
                for job, start in zip(jobs, starts, strict=True)
            ]
            return [statement for trip in second_trips for statement in trip]

        def run(connection: DriverConnection) -> Rows:
            return connection.run_two_step_transaction(first_trip, second_trip)

        try:
            rows = await loop.spawn(self._transact, run)
        except OutcomeUnknown as error:
            for job in jobs:
                _fail(job, error.__cause__ or error)
            return True
        except Exception:
            return False
        at = len(first_trip)
        for job, start, trip in zip(jobs, starts, second_trips, strict=True):
            job.succeed(rows[start : start + len(job.first_trip)] + rows[at : at + len(trip)])
            at += len(trip)
        return True

    async def _run_alone(self, job: Job) -> None:
        try:
            rows = await loop.spawn(self._run_by_itself, job)
        except Exception as error:
            _fail(job, error)
        else:
            if not job.rows.done():
                job.rows.set_result(rows)

    def _run_by_itself(self, job: Job) -> Rows:
        self._alone[job.tenant] += 1
        try:
            return self._transact_alone(job.run_alone)
        finally:
            self._alone[job.tenant] -= 1
            if not self._alone[job.tenant]:
                del self._alone[job.tenant]


def _fail(job: Job, error: Any) -> None:
    if not job.rows.done():
        job.rows.set_exception(error)
