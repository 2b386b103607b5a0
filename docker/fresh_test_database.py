#!/usr/bin/env python
"""Makes the database of TEST_DATABASE_URL anew, empty, then becomes the command that follows.

The tests delete what they find. So this one is never the service's own, and its name must say so.
"""

import os
import sys

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict


def _make_anew(url: str) -> None:
    name = str(conninfo_to_dict(url).get("dbname", ""))
    if not name.endswith("_test"):
        sys.exit(f"TEST_DATABASE_URL names the database {name!r}; it must end in '_test'.")
    with psycopg.connect(url, dbname="postgres", autocommit=True) as server:
        database = sql.Identifier(name)
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        server.execute(sql.SQL("CREATE DATABASE {}").format(database))


if __name__ == "__main__":
    if url := os.environ.get("TEST_DATABASE_URL"):  # noqa: TID251
        _make_anew(url)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
