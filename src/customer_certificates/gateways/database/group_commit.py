"""Group commit: transactions of several users are committed together."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from .. import loop
from .prepared import DriverConnection, Row, SentStatement

_MOST = 16

Rows = list[list[Row]]
Then = Callable[[Rows], list[SentStatement]]
Run = Callable[[DriverConnection], Rows]


class OutcomeUnknown(Exception):  # noqa: N818 - whether it is an error is what is not known
    """The connection was lost, perhaps after the commit."""


class Job:
    """The transaction of one user: `first`, and the statements that `then` returns."""

    __slots__ = ("_scope", "context", "first", "rows", "tenant", "then")

    def __init__(
        self, tenant: int, scope: list[SentStatement], first: list[SentStatement], then: Then
    ) -> None:
        """Creates a job.

        `scope` are the statements that set the tenant. Each trip begins with them.
        """
        self.tenant = tenant
        self._scope = scope
        self.first = scope + first
        self.then = then
        # The request's context: a job that runs alone counts for the request's tenant.
        self.context = copy_context()
        self.rows: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()

    def rest(self, rows: Rows) -> list[SentStatement]:
        """Returns the second trip, after `rows` of the first one. May raise."""
        return self._scope + self.then(rows[len(self._scope) :])

    def run_alone(self, runner: DriverConnection) -> Rows:
        """Runs the job as a separate transaction. Returns the rows without those of `scope`."""
        return self._own(runner.run_two_step_transaction(self.first, self.rest))

    def _own(self, rows: Rows) -> Rows:
        count = len(self._scope)
        return rows[count : len(self.first)] + rows[len(self.first) + count :]

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
        bounds: list[SentStatement],
    ) -> None:
        """Creates the queue of jobs.

        `transact` runs a group, and raises OutcomeUnknown if its commit may have succeeded. `alone`
        runs one job. `bounds` are statements that limit how long a group waits for a lock.
        """
        self._transact = transact
        self._transact_alone = alone
        # The number of jobs of each user that run alone.
        self._alone: Counter[int] = Counter()
        self._bounds = bounds
        self._waiting: deque[Job] = deque()
        self._serving: asyncio.Task[None] | None = None

    def run(self, job: Job, *, is_long: bool) -> Rows:
        """Returns the rows of `job` once they are committed.

        A job that `is_long` joins no group. Call this in a greenlet.
        """
        if is_long or job.tenant in self._alone:
            return self._run_by_itself(job)
        self._waiting.append(job)
        if self._serving is None:
            # Not in the context of the request that happens to be the first.
            running = asyncio.get_running_loop()
            self._serving = running.create_task(self._serve(), context=Context())
        return loop.wait_for(job.rows)

    async def _serve(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        while self._waiting:
            jobs = self._take()
            if not await self._run_together(jobs):
                for job in jobs:
                    task = asyncio.create_task(self._run_alone(job), context=job.context)
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        self._serving = None
        if tasks:
            await asyncio.wait(tasks)

    def _take(self) -> list[Job]:
        """Returns the first job of each user, in the order of users."""
        taken: dict[int, Job] = {}
        later: list[Job] = []
        while self._waiting and len(taken) < _MOST:
            job = self._waiting.popleft()
            if job.tenant in taken:
                later.append(job)
            else:
                taken[job.tenant] = job
        self._waiting.extendleft(reversed(later))
        return [taken[tenant] for tenant in sorted(taken)]

    async def _run_together(self, jobs: list[Job]) -> bool:
        """Returns whether the jobs got their results. If not, nothing was changed."""
        first = [*self._bounds]
        starts: list[int] = []
        for job in jobs:
            starts.append(len(first))
            first += job.first
        rests: list[list[SentStatement]] = []

        def rest(rows: Rows) -> list[SentStatement]:
            rests[:] = [
                job.rest(rows[start : start + len(job.first)])
                for job, start in zip(jobs, starts, strict=True)
            ]
            return [sent for one in rests for sent in one]

        def run(runner: DriverConnection) -> Rows:
            return runner.run_two_step_transaction(first, rest)

        try:
            rows = await loop.spawn(self._transact, run)
        except OutcomeUnknown as error:
            for job in jobs:
                _fail(job, error.__cause__ or error)
            return True
        except Exception:
            return False
        at = len(first)
        for job, start, more in zip(jobs, starts, rests, strict=True):
            job.succeed(rows[start : start + len(job.first)] + rows[at : at + len(more)])
            at += len(more)
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
