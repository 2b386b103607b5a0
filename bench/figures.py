"""The figures that are not rates of requests, each with its upper bound."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A row of the second table."""

    title: str
    unit: str
    most: float


P50_OF_UPLOADS = Figure("p50 of an upload beside the other revision's", "x", 0.5)
CREDENTIALS = Figure("fewer reads with credentials", "%", 10)
STATEMENTS = Figure("statements for one certificate, with credentials", "", 2)
STATEMENTS_OF_A_LIST = Figure("statements for a warm list, with credentials", "", 1)
WORKERS_MEMORY = Figure("memory (PSS) of two workers", "MB", 150)
MEMORY = Figure("memory (PSS) of all processes", "MB", 330)
DISK = Figure("on disk for one certificate, all tables and indexes", "KB", 6)
ENDPOINT = Figure("more for an activation that an endpoint hears of", "%", 5)
AFTERMATH = Figure("fewer reads after 256 connections and 200 slow senders", "%", 5)
MILLION = Figure("a read among 1,000,000 certificates beside one among 1,000", "x", 1.2)
FIGURES = (
    P50_OF_UPLOADS,
    CREDENTIALS,
    STATEMENTS,
    STATEMENTS_OF_A_LIST,
    WORKERS_MEMORY,
    MEMORY,
    DISK,
    ENDPOINT,
    AFTERMATH,
    MILLION,
)
