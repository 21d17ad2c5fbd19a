"""Signals as a test wants them, whoever started the tests without (`nohup`, or `&` in a script)."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["as_usual"]


@contextmanager
def as_usual(changed: Mapping[signal.Signals, Any] | None = None) -> Iterator[None]:
    """Heard, and handled as a terminal's are, but for those that are `changed`; afterwards all is as it was."""
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, usual)
    before = {number: signal.signal(number, handler) for number, handler in {**usual, **(changed or {})}.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
