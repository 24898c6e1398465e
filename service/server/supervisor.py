"""Run several worker processes behind one socket: replace those that die, drain all at the end."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Final, TypeAlias

import structlog

from service.server.drain import accept_handshakes

CHECK_INTERVAL_S: Final = 0.2
RESTART_DELAY_S: Final = 1.0
"""Pause before a worker is replaced: one that cannot start must not keep the machine busy."""
_TERMINAL_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGHUP})

_log = structlog.get_logger("rollcall")

Work: TypeAlias = Callable[[int, str, socket.socket], None]


@dataclass(eq=False)
class Supervisor:
    """Keeps `count` processes running `work(slot, dsn, listener)` until SIGTERM or SIGINT.

    Slots are numbered from 0; the worker that replaces one has its slot. `on_worker_exit` gets the slot of
    each worker that died.
    """

    work: Work
    _: KW_ONLY
    count: int
    dsn: str = field(repr=False)
    listener: socket.socket
    drain_timeout_s: float
    on_worker_exit: Callable[[int], None]
    is_stopping: bool = field(default=False, init=False)
    _workers: list[SpawnProcess] = field(default_factory=list, init=False)
    _signalled: set[SpawnProcess] = field(default_factory=set, init=False)

    def run(self) -> None:
        """Run until a signal arrives; then drain the workers."""
        previous = {number: signal.signal(number, self.stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._workers = [self._start(slot) for slot in range(self.count)]
            while not self.is_stopping:
                time.sleep(CHECK_INTERVAL_S)  # a signal ends it early
                self._replace_dead()
        finally:
            self._drain()
            for number, handler in previous.items():
                signal.signal(number, handler)

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Pass the signal on; a second one reaches the workers as their second and ends their drain.

        Logs nothing: the signal may have interrupted a log line that holds the logger's lock.
        """
        self.is_stopping = True
        for worker in self._workers:
            self._terminate(worker)

    def _start(self, slot: int) -> SpawnProcess:
        arguments = (self.work, slot, self.dsn, self.listener)
        worker = get_context("spawn").Process(target=_work_until_orphaned, args=arguments)
        with _terminal_signals_blocked():
            worker.start()
        _log.info("worker_started", worker=worker.pid)
        return worker

    def _replace_dead(self) -> None:
        dead = {slot: worker for slot, worker in enumerate(self._workers) if not worker.is_alive()}
        if not dead or self.is_stopping:
            return
        for slot, worker in dead.items():
            _log.error("worker_died", worker=worker.pid, exit_code=worker.exitcode)
            worker.join()
            self.on_worker_exit(slot)
        time.sleep(RESTART_DELAY_S)
        accept_handshakes(self.listener)  # a worker that was ended alone has drained the socket of all
        for slot in dead:
            if not self.is_stopping:
                self._workers[slot] = self._start(slot)

    def _terminate(self, worker: SpawnProcess) -> None:
        if worker.is_alive():
            worker.terminate()
        self._signalled.add(worker)

    def _drain(self) -> None:
        deadline = time.monotonic() + self.drain_timeout_s
        _log.info("draining", workers=len(self._workers))
        self.listener.close()  # otherwise clients would connect to a socket that nobody accepts from
        for worker in self._workers:
            if worker not in self._signalled:  # it was being started when the signal came
                self._terminate(worker)
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
            if worker.is_alive():
                _log.error("worker_killed", worker=worker.pid)
                worker.kill()
                worker.join()


@contextmanager
def _terminal_signals_blocked() -> Iterator[None]:
    """Block what a terminal sends to all its processes; one that is started meanwhile inherits that for good.

    The supervisor passes Ctrl-C on, and a second signal would end the drain of a worker.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINAL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work_until_orphaned(work: Work, slot: int, dsn: str, listener: socket.socket) -> None:
    """Work; drain when the supervisor is killed, as its port would stay taken otherwise."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINAL_SIGNALS)  # multiprocessing unblocks Ctrl-C first
    threading.Thread(target=_stop_when_orphaned, daemon=True).start()
    work(slot, dsn, listener)


def _stop_when_orphaned() -> None:
    supervisor = parent_process()
    if supervisor is not None:
        supervisor.join()
        _log.error("supervisor_died")
        os.kill(os.getpid(), signal.SIGTERM)
