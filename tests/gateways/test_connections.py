"""The connections of clients, looked at and cut. What is cut when: tests/test_wire.py."""

import fcntl
import socket
import subprocess
import sys
from pathlib import Path

from customer_certificates.gateways.connections import Connections, Underway

TRY_TO_LOCK = (
    "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
)


def test_locks_on_files_outlast_a_look_at_the_connections(tmp_path: Path) -> None:
    """SQLite's are such locks, and end where any descriptor of the file is closed."""
    (path := tmp_path / "file").touch()
    with path.open("r+") as file, socket.create_server(("127.0.0.1", 0)) as server:
        fcntl.lockf(file, fcntl.LOCK_EX)
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0]:
            connections = Connections(port, 1, list[Underway], print)
            for second in range(3):
                connections.look(float(second))
            connections.close()
        other = subprocess.run([sys.executable, "-c", TRY_TO_LOCK, path], capture_output=True)

    assert b"BlockingIOError" in other.stderr
