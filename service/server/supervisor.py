"""Several worker processes behind one socket: one that dies is replaced, and all end together."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from types import FrameType

import structlog

from service.server.drain import accept_handshakes

_log = structlog.get_logger("rollcall")
_LOOK_EVERY_SECONDS = 0.2
_RESTART_DELAY_S = 1.0
"""How soon a worker is replaced at most, so that one that cannot start does not keep the machine busy."""

Work = Callable[[str, socket.socket], None]


class Supervisor:
    """Keeps `count` processes running `work(dsn, listening)` until SIGTERM or SIGINT.

    `forget` is called with the process id of one that has died.
    """

    def __init__(
        self,
        work: Work,
        *,
        count: int,
        dsn: str,
        listening: socket.socket,
        drain_timeout_s: float,
        on_worker_exit: Callable[[int], None],
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._arguments = (dsn, listening)
        self._listening = listening
        self._told: set[SpawnProcess] = set()
        self._work = work
        self._drain_timeout_s = drain_timeout_s
        self._forget = on_worker_exit
        self._processes: list[SpawnProcess] = []
        self._count = count
        self._is_ending = False

    def run(self) -> None:
        """Run until told to end; then give the workers their time to drain."""
        previous = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._processes = [self._start() for _ in range(self._count)]
            while not self._is_ending:
                time.sleep(_LOOK_EVERY_SECONDS)  # a signal ends it early
                self._replace_dead()
        finally:
            self._drain()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start(self) -> SpawnProcess:
        process = self._context.Process(target=_work_beside_parent, args=(self._work, *self._arguments))
        process.start()
        _log.info("worker_started", worker=process.pid)
        return process

    def _replace_dead(self) -> None:
        dead = [process for process in self._processes if not process.is_alive()]
        if not dead or self._is_ending:
            return
        for process in dead:
            _log.error("worker_died", worker=process.pid, exit_code=process.exitcode)
            process.join()
            self._forget(process.pid or 0)
        time.sleep(_RESTART_DELAY_S)
        accept_handshakes(self._listening)  # a worker that was ended alone has drained the socket of all
        alive = [process for process in self._processes if process not in dead]
        self._processes = alive + [self._start() for _ in dead if not self._is_ending]

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        """Pass the signal on; a second one reaches the workers as their second, and ends the waiting.

        Logs nothing: the line in whose middle the signal came may hold the logger's lock.
        """
        self._is_ending = True
        for process in self._processes:
            self._tell(process)

    def _tell(self, process: SpawnProcess) -> None:
        if process.is_alive():
            process.terminate()
        self._told.add(process)

    def _drain(self) -> None:
        ends_at = time.monotonic() + self._drain_timeout_s
        _log.info("draining", workers=len(self._processes))
        self._listening.close()  # or callers would go on connecting to what nobody accepts from any more
        for process in self._processes:
            if process not in self._told:  # it was being started when the signal came
                self._tell(process)
        for process in self._processes:
            process.join(max(0.0, ends_at - time.monotonic()))
            if process.is_alive():
                _log.error("worker_killed", worker=process.pid)
                process.kill()
                process.join()


def _work_beside_parent(work: Work, dsn: str, listening: socket.socket) -> None:
    """Work, and end in order when the parent is killed: otherwise its port would stay taken."""
    threading.Thread(target=_end_after_parent, daemon=True).start()
    work(dsn, listening)


def _end_after_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _log.error("supervisor_died")
        os.kill(os.getpid(), signal.SIGTERM)
