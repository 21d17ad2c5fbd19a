"""A thread for a student, which never holds the process: a call that does not end dies with it.

concurrent.futures joins its threads at exit, whatever they do; this one is a daemon, and so are those it grows.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["StudentThread", "leave"]

P = ParamSpec("P")
T = TypeVar("T")


_AT_WORK: set[threading.Thread] = set()


def leave(code: int) -> int:
    """The exit code. Where a student's thread is still at work, the process ends here and now, with what was said
    flushed: at the interpreter's own end such a thread wakes up inside C++, and aborts the process."""
    if _AT_WORK:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


class StudentThread(Executor):
    """Runs what is submitted one after the other; once it has grown, `count` at a time."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.grow(1)

    @property
    def count(self) -> int:
        return len(self._threads)

    def grow(self, count: int) -> None:
        """Have `count` threads, for a student that may be asked from several."""
        while len(self._threads) < count:
            thread = threading.Thread(target=self._run, name="student", daemon=True)
            self._threads.append(thread)
            thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self._work.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            with suppress(queue.Empty):  # a thread may take the last item meanwhile
                while True:
                    item = self._work.get_nowait()
                    if item is not None:
                        item[0].cancel()
        for _ in self._threads:
            self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, call = item
            if not future.set_running_or_notify_cancel():
                continue
            _AT_WORK.add(threading.current_thread())
            try:
                result = call()
            except Exception as error:  # noqa: BLE001 (it belongs to whoever waits for the future)
                future.set_exception(error)
            else:
                future.set_result(result)
            finally:
                _AT_WORK.discard(threading.current_thread())
            del item, future, call
