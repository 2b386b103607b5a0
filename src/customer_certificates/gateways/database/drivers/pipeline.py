"""One connection for the fast reads of all requests, sent in batches."""

import asyncio
import select
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg import OperationalError, errors
from psycopg.pq import ConnStatus, ExecStatus

from ... import loop
from ..hang_watchdog import HangWatchdog
from ..prepared import Prepared, Row, TenantStatement
from .libpq import DONE, OUTDATED, Values, connection_lost, send_prepared

_MOST_IN_BATCH = 64
_RESET_CHECK_SECONDS = 0.1
# A read by key has one good plan, by indexes, whatever its parameters and the statistics are. With
# the default, PostgreSQL plans some of them again at each execution, which takes longer than the
# execution.
_BY_KEY = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off"


@dataclass(slots=True, eq=False)
class _Read:
    statement: TenantStatement
    rows: asyncio.Future[list[Row]]
    was_lost: bool = False
    was_outdated: bool = False
    results: int = 0


class Pipe:
    """Sends statements in batches, in libpq's pipeline mode with one sync each.

    The next batch starts after the one before has returned. Each statement follows the one that
    sets its tenant. A failed statement aborts the later ones of its batch; each of them is sent
    again, alone. If the connection is lost, each read is sent once more on a new one. Only for
    statements by key: a slow one delays all others.
    """

    def __init__(self, connect: Callable[[], Any], scope: Prepared, watchdog: HangWatchdog) -> None:
        """`connect` opens a connection of psycopg, and may block.

        `scope` is the statement that sets the tenant.
        """
        self._connect = connect
        self._scope = scope
        self._watchdog = watchdog
        self._waiting: deque[_Read] = deque()
        self._repeated: deque[_Read] = deque()
        self._in_flight: list[_Read] = []
        self._results: list[Any] = []
        self._connection: Any = None
        self._descriptor = -1
        self._prepared_names: dict[str, bytes] = {}
        self._unconfirmed: list[str] = []
        self._prepared = 0
        self._is_scheduled = False
        self._opening: asyncio.Task[None] | None = None

    def read(self, statement: TenantStatement) -> list[Row]:
        """Returns the rows of `statement`. Call this in a greenlet. Errors are psycopg's."""
        self._loop = asyncio.get_running_loop()
        rows: asyncio.Future[list[Row]] = self._loop.create_future()
        self._waiting.append(_Read(statement, rows))
        self._schedule()
        return loop.wait_for(rows)

    def close(self) -> None:
        """Closes the connection. Waiting statements fail."""
        self._lose(may_repeat=False)

    def _schedule(self) -> None:
        if not self._in_flight and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._is_scheduled = False
        if self._in_flight or not (self._waiting or self._repeated):
            return
        if self._connection is None:
            if self._opening is None:
                self._opening = self._loop.create_task(self._open())
            return
        count = 1 if self._repeated else min(len(self._waiting), _MOST_IN_BATCH)
        queue = self._repeated or self._waiting
        batch = [queue.popleft() for _ in range(count)]
        try:
            for read in batch:
                self._send_read(read)
            if not self._in_flight:
                self._schedule()
                return
            self._libpq.pipeline_sync()
            self._watchdog.begin(self, self._descriptor)
            self._flush()
        except OperationalError:
            self._in_flight = batch
            self._lose()

    def _send_read(self, read: _Read) -> None:
        statement = read.statement
        try:
            parameters = self._values.dumped(statement.parameters)
        except Exception as error:
            # A value that the driver cannot send.
            _fail(read, error)
            return
        read.results = 2
        scope = self._scope
        tenant = self._values.dumped(scope.parameters({"tenant": str(statement.tenant)}))
        self._send_statement(read, scope.name, scope.sql, tenant)
        self._send_statement(read, statement.name, statement.sql, parameters)
        self._in_flight.append(read)

    def _send_statement(self, read: _Read, name: str, sql: str, parameters: Any) -> None:
        prepared = self._prepared_names.get(name)
        if prepared is None:
            self._prepared += 1
            prepared = self._prepared_names[name] = f"{name}_p{self._prepared}".encode()
            self._unconfirmed.append(name)
            self._libpq.send_prepare(prepared, sql.encode())
            read.results += 1
        send_prepared(self._libpq, prepared, parameters)

    def _flush(self) -> None:
        if self._libpq.flush():
            self._loop.add_writer(self._descriptor, self._writable)

    def _writable(self) -> None:
        try:
            if not self._libpq.flush():
                self._loop.remove_writer(self._descriptor)
        except OperationalError:
            self._lose()

    def _readable(self) -> None:
        try:
            libpq = self._libpq
            libpq.consume_input()
            while self._in_flight and not libpq.is_busy():
                result = libpq.get_result()
                if result is None:
                    if libpq.status == ConnStatus.BAD:
                        break
                elif result.status == ExecStatus.PIPELINE_SYNC:
                    self._end_batch()
                else:
                    self._results.append(result)
        except OperationalError:
            self._lose()
            return
        if libpq.status == ConnStatus.BAD:
            self._lose()

    def _end_batch(self) -> None:
        batch, self._in_flight = self._in_flight, list[_Read]()
        results, self._results = self._results, list[Any]()
        self._watchdog.end(self)
        unconfirmed, self._unconfirmed = self._unconfirmed, list[str]()
        at = 0
        for read in batch:
            own = results[at : at + read.results]
            at += read.results
            failed = next((result for result in own if result.status not in DONE), None)
            if failed is None:
                rows = self._values.rows(own[-1])
                if not read.rows.done():
                    read.rows.set_result(rows)
                continue
            # Whether statements of this batch were prepared is unknown.
            for name in unconfirmed:
                self._prepared_names.pop(name, None)
            if failed.status == ExecStatus.PIPELINE_ABORTED:
                self._repeated.append(read)
                continue
            error = errors.error_from_result(failed)
            if isinstance(error, OUTDATED) and not read.was_outdated:
                self._prepared_names.clear()
                read.was_outdated = True
                self._repeated.append(read)
            else:
                _fail(read, error)
        if self._repeated or self._waiting:
            self._schedule()

    async def _open(self) -> None:
        try:
            connection = await self._loop.run_in_executor(None, self._connected)
        except Exception as error:
            self._opening = None
            while self._waiting or self._repeated:
                _fail((self._repeated or self._waiting).popleft(), error)
            return
        self._opening = None
        self._connection, self._libpq = connection, connection.pgconn
        self._descriptor = self._libpq.socket
        self._values = Values(connection)
        self._prepared_names = {}
        self._unconfirmed = []
        self._results = []
        self._libpq.enter_pipeline_mode()
        self._loop.add_reader(self._descriptor, self._readable)
        self._check_for_reset(connection)
        self._send()

    def _connected(self) -> Any:
        connection = self._connect()
        connection.execute(_BY_KEY)
        connection.commit()
        return connection

    def _check_for_reset(self, connection: Any) -> None:
        """Detects a reset.

        When a peer resets a connection, libuv calls the reader once more, which may read only
        earlier data, and never again (`uv__poll_io` in src/unix/poll.c).
        """
        if self._connection is not connection:
            return
        poll = select.poll()
        # Errors are reported whatever is asked for.
        poll.register(self._descriptor, 0)
        if poll.poll(0):
            self._readable()
        self._loop.call_later(_RESET_CHECK_SECONDS, self._check_for_reset, connection)

    def _lose(self, *, may_repeat: bool = True) -> None:
        """Closes the connection. Repeats statements in flight, unless they were repeated before."""
        self._watchdog.end(self)
        if self._connection is not None:
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            self._connection.close()
            self._connection = None
        lost, self._in_flight = self._in_flight, list[_Read]()
        if not may_repeat:
            lost += [*self._repeated, *self._waiting]
            self._repeated.clear()
            self._waiting.clear()
        for read in lost:
            if read.was_lost or not may_repeat or self._watchdog.is_hung:
                _fail(read, connection_lost())
            else:
                read.was_lost = True
                self._waiting.append(read)
        if self._waiting or self._repeated:
            self._schedule()


def _fail(read: _Read, error: Exception) -> None:
    if not read.rows.done():
        read.rows.set_exception(error)
