"""The servers under test: PostgreSQL or SQLite, a Redis, and services of two workers each."""

import shutil
import subprocess
from pathlib import Path
from typing import Literal

from tests.servers import (
    Server,
    a_role_that_owns_nothing,
    free_port,
    start_postgresql,
    start_valkey,
)
from tests.service import Service, run

Backend = Literal["postgresql", "sqlite"]


class Stack:
    """Servers in a folder, whose data outlive them."""

    def __init__(
        self, folder: Path, backend: Backend, *, services: int, mutant: str | None = None
    ) -> None:
        """`mutant` serves a broken cache (tests/broken_caches.py). Without it, the file of a
        service in `clock_files` says by how many seconds its clock is wrong."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self.folder = folder
        self.has_clocks = mutant is None
        self.postgresql: Server | None = None
        self.redis: Server | None = None
        self.settings = {"CC_DATA_DIR": str(folder / "data")}
        if backend == "postgresql":
            self.postgresql = start_postgresql(folder / "postgresql", durable=True, fresh=False)
            self.redis = start_valkey(folder / "redis")
            url = self.postgresql.url
            self.settings["CC_DATABASE_OWNER_URL"] = url
            # The counter's trigger needs the owner.
            self.settings["CC_DATABASE_URL"] = url if mutant else a_role_that_owns_nothing(url)
            self.settings["CC_CACHE_URL"] = self.redis.url
        elif mutant:
            # Mutants have their pages in Redis.
            self.redis = start_valkey(folder / "redis")
            self.settings["CC_CACHE_URL"] = self.redis.url
        migrated = run("migrate", self.settings)
        if migrated.returncode:
            raise RuntimeError(f"migrate failed:\n{migrated.stderr}")
        self.clock_files = [folder / f"clock-{number}" for number in range(services)]
        for file in self.clock_files:
            file.write_text("0")
        self._mutant = mutant
        ports = [str(free_port()) for _ in range(services)]
        self._variables = [{**self.settings, "CC_PORT": port} for port in ports]
        self.services = [self._start(number) for number in range(services)]

    @property
    def urls(self) -> list[str]:
        """Where the services are, also after they were started again."""
        return [service.url for service in self.services]

    @property
    def sqlite_file(self) -> Path:
        """The database, if it is not PostgreSQL."""
        return self.folder / "data" / "customer-certificates.sqlite3"

    @property
    def _postgresql_data(self) -> Path:
        return self.folder / "postgresql" / "data"

    def restart_service(self, number: int) -> None:
        """Starts a service again that was killed, at the same address."""
        self.services[number] = self._start(number)

    def back_up(self) -> Path:
        """Copies PostgreSQL's data, while it is stopped."""
        assert self.postgresql
        backup = self.folder / "backup"
        shutil.rmtree(backup, ignore_errors=True)
        self.postgresql.stop()
        # As root, a copy would be root's.
        subprocess.run(["cp", "-a", str(self._postgresql_data), str(backup)], check=True)
        self.postgresql.start()
        return backup

    def restore(self, backup: Path) -> None:
        """Has PostgreSQL go on with the data of `backup`."""
        assert self.postgresql
        self.postgresql.stop()
        shutil.rmtree(self._postgresql_data)
        backup.rename(self._postgresql_data)
        self.postgresql.start()

    def start_ended_services(self) -> list[int]:
        """Starts those again that have ended by themselves, as a supervisor would; their numbers.

        The HTTP server gives up if a worker is killed twice in a few seconds.
        """
        ended = [n for n, service in enumerate(self.services) if service.popen.poll() is not None]
        for number in ended:
            self.services[number].kill()
            self.restart_service(number)
        return ended

    def close(self) -> None:
        """Ends all of them."""
        for service in self.services:
            service.kill()
        for server in (self.redis, self.postgresql):
            if server:
                server.stop()

    def _start(self, number: int) -> Service:
        log = self.folder / f"service-{number}.log"
        command = ["moved-clock", str(self.clock_files[number])]
        if self._mutant:
            command = ["broken-cache", self._mutant]
        return Service(self._variables[number], log, command)
