"""What takes long, done in one other process: a request's private data is looked for while the event loop goes on.

    do(*given)   in the child, one at a time; a caller that leaves ends its own work, whoever waits only leaves the line
    child        made when it is first needed; replaced where it died, or took more than LONGEST seconds for one call

The child gets its secret through a pipe, and ends with its parent, however that ends.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from typing import Any

__all__ = ["LONGEST", "Apart", "TooLong", "Unable"]

LONGEST = 5.0  # seconds of one call
START = 60.0  # seconds until the child has imported what it needs
LINE = 30.0  # seconds that a call waits for its turn


class TooLong(Exception):
    """The call took longer than it may; the child is gone."""


class Unable(Exception):
    """No turn came, or there is no child that lives."""


class Apart:
    """One child; `begin(*given)` is called in it first. Both, and what is done, are functions of a module."""

    def __init__(self, begin: Callable[..., object], *given: object, longest: float = LONGEST) -> None:
        self._begin, self._given, self._longest = begin, given, longest
        self._pool: ProcessPoolExecutor | None = None
        self._line: asyncio.Lock | None = None

    async def do(self, what: Callable[..., Any], *given: object) -> Any:
        """Raises TooLong, Unable, and what `what` raises."""
        if self._line is None:
            self._line = asyncio.Lock()
        line = self._line
        try:
            async with asyncio.timeout(LINE):
                await line.acquire()
        except TimeoutError:
            raise Unable(f"no turn came in {LINE:g} s") from None
        try:
            for _ in range(2):  # it may have died since the last call
                with suppress(BrokenProcessPool):
                    return await self._once(what, *given)
            raise Unable("the process that does it ended")
        except OSError as error:
            raise Unable(f"no process can be started: {error.strerror}") from None
        finally:
            line.release()

    async def _once(self, what: Callable[..., Any], *given: object) -> Any:
        if self._pool is None:
            spawned = multiprocessing.get_context("spawn")  # not forked: there are threads
            self._pool = ProcessPoolExecutor(1, spawned, partial(_child, self._begin, *self._given))
            try:
                await self._within(START, os.getpid)
            except TooLong:
                raise Unable(f"the process that does it has not started in {START:g} s") from None
        return await self._within(self._longest, what, *given)

    async def _within(self, seconds: float, what: Callable[..., Any], *given: object) -> Any:
        assert self._pool is not None
        done = False
        try:
            future = asyncio.wrap_future(self._pool.submit(what, *given))  # its own threads do what takes long of it
            async with asyncio.timeout(seconds):
                said = await future
            done = True
        except TimeoutError:
            raise TooLong from None
        finally:
            if not done:  # also where the caller has left: nobody needs what is being done
                self._kill()
        return said

    def _kill(self, wait: bool = False) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list(pool._processes.values()):
                process.kill()
            pool.shutdown(wait=wait, cancel_futures=True)

    async def close(self) -> None:
        """End the child; what is asked next starts another."""
        await asyncio.to_thread(self._kill, True)
        self._line = None


def _child(begin: Callable[..., object], *given: object) -> None:
    for one in (signal.SIGINT, signal.SIGTERM):  # for the parent to hear, which then lets its calls end
        signal.signal(one, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
    begin(*given)
