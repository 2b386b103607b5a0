"""All that is measured, running: this service, its peers, another revision of it; one database
server and one cache."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shutil import copytree

import psycopg
from psycopg import sql

from tests.servers import Server, start_postgresql, start_valkey

from . import data, load, services
from .load import Result
from .openbao_peer import OpenBao
from .report import OURS
from .revisions import THIS, Revision
from .workloads import BASE, FALCON, FASTAPI, OPENBAO, PGBENCH, Workload

Contender = Callable[[Workload, int], Result]


@dataclass
class Ours:
    """One revision of this service: its folder, its databases, and the server on the first."""

    revision: Revision
    folder: Path
    cache: str
    database: str
    closed_database: str
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        self.server = self.start()

    def start(self, database: str | None = None, settings: Mapping[str, str] = {}) -> Server:
        """One more server of this revision, which the caller stops."""
        return services.start_ours(
            self.folder, database or self.database, self.cache, settings, self.revision
        )

    @property
    def var(self) -> Path:
        """The folder that has its master key."""
        return self.folder / "var"


class Contenders:
    """Starts everything in `folder`; `stack` stops it."""

    def __init__(self, folder: Path, stack: ExitStack, base: Revision | None) -> None:
        self._stack = stack
        self.folder = folder
        postgresql = self._running(start_postgresql(folder / "postgresql", durable=True))
        self.database_server = postgresql.url
        self.database_log = folder / "postgresql" / "log"
        self._cache = self._running(start_valkey(folder / "valkey")).url
        self.ours = self._start_ours(THIS, folder / "ours")
        self.base = self._start_ours(base, folder / "base", self.ours.var) if base else None
        peer, plain = self._peers_databases()
        self.databases = [peer, plain, *(one.database for one in self.revisions())]
        self.peers = {
            FASTAPI: self._running(services.start_fastapi(folder, peer)),
            FALCON: self._running(services.start_falcon(folder)),
        }
        openbao = OpenBao(folder / "openbao")
        self._running(openbao.server)
        self.peers[OPENBAO] = openbao.server
        self.run: dict[str, Contender] = {
            OURS: partial(load.wrk, self.ours.server.url),
            FASTAPI: partial(load.wrk, self.peers[FASTAPI].url),
            FALCON: partial(load.wrk, self.peers[FALCON].url),
            PGBENCH: partial(load.pgbench, plain),
            OPENBAO: openbao.run,
        }
        if self.base:
            self.run[BASE] = partial(load.wrk, self.base.server.url)

    def revisions(self) -> list[Ours]:
        """This one, and the other one if there is one."""
        return [self.ours, *([self.base] if self.base else [])]

    def _running(self, server: Server) -> Server:
        self._stack.callback(server.stop)
        return server

    def _start_ours(self, revision: Revision, folder: Path, var: Path | None = None) -> Ours:
        """With databases of the same content: one open, one for the service with credentials."""
        folder.mkdir()
        if var:
            copytree(var, folder / "var")
        databases = [self._url(f"{folder.name}{suffix}") for suffix in ("", "_closed")]
        self._execute(f"CREATE DATABASE {folder.name}")
        services.migrate(databases[0], revision)
        data.fill(databases[0], folder / "var")
        self._execute(f"CREATE DATABASE {folder.name}_closed TEMPLATE {folder.name}")
        ours = Ours(revision, folder, self._cache, *databases)
        self._running(ours.server)
        return ours

    def _peers_databases(self) -> tuple[str, str]:
        """FastAPI's and pgbench's, of the same content as ours."""
        for name in ("fastapi", "pgbench"):
            # Nobody is connected to the one that is copied.
            self._execute(f"CREATE DATABASE {name} TEMPLATE ours_closed")
        for name in ("fastapi", "pgbench"):
            with psycopg.connect(self._url(name), autocommit=True) as connection:
                # Written plainly, a service keeps the text that it was sent, and the key beside it.
                statement = "ALTER TABLE certificates ALTER COLUMN body TYPE text USING {}"
                connection.execute(sql.SQL(statement).format(data.BODY))
                connection.execute("ALTER TABLE certificates ADD COLUMN private_key bytea")
                connection.execute("VACUUM (ANALYZE)")
        return self._url("fastapi"), self._url("pgbench")

    def _url(self, database: str) -> str:
        return self.database_server.removesuffix("postgres") + database

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.database_server, autocommit=True) as connection:
            connection.execute(statement.encode())
