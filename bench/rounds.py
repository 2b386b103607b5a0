"""Every contender's run of each workload, by turns, round after round."""

import os

import psycopg

from . import data
from .contenders import Contenders
from .report import OURS, Report
from .workloads import BARE, FALCON, GET_USER, UPLOAD, WORKLOADS, WRITERS

_WARM_UP_SECONDS = 2


def measure(contenders: Contenders, report: Report) -> None:
    """Adds the results to the report. One round before the others warms up.

    Raises RuntimeError where uploads were acknowledged that are not stored.
    """
    turns = [
        (work, name)
        for work in WORKLOADS
        for name in (OURS, *work.peers)
        if name in contenders.run and name != GET_USER
    ]
    turns.append((BARE, FALCON))
    for turn in range(report.rounds + 1):
        if turn:
            report.loads.append(os.getloadavg()[0])
        for work, name in turns:
            result = contenders.run[name](work, report.seconds if turn else _WARM_UP_SECONDS)
            if turn:
                report.add(work, name, result)
        if not turn:
            data.settle(contenders.databases)
        print(f"round {turn} of {report.rounds}" if turn else "warmed up", flush=True)
    _check_uploads(contenders, report)


def _check_uploads(contenders: Contenders, report: Report) -> None:
    acknowledged = sum(run.requests for run in report.results[UPLOAD, OURS])
    with psycopg.connect(contenders.ours.database) as connection:
        stored = connection.execute(
            "SELECT count(*) FROM certificates WHERE user_id BETWEEN %s AND %s", WRITERS
        ).fetchone()
    if stored is None or stored[0] < acknowledged:
        raise RuntimeError(f"{acknowledged} uploads were acknowledged; stored are {stored}")
