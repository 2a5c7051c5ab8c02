"""Finds processes that a test left behind."""

from __future__ import annotations

import time

import psutil

RUN = "BCE_CONFORMANCE_TEST_RUN"


def processes_of(run: str) -> list[psutil.Process]:
    """Every process that has the run in its environment, ended ones apart."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN) == run and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def wait_until_none(run: str) -> list[psutil.Process]:
    """What is still there after a long while, killed now; [] as soon as nothing is."""
    until = time.monotonic() + 20
    while (left := processes_of(run)) and time.monotonic() < until:
        time.sleep(0.02)
    for process in left:
        process.kill()
    return left
