"""What the rooms of this folder ask of each other, and which limits they keep (`project.gateway.Limits` has them)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from freehold.http.request import Handler, Response

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["House", "Limits", "Line"]


class Limits(Protocol):
    """Seconds, KiB where the name says so, else counts."""

    @property
    def header_kib(self) -> int: ...
    @property
    def header_fields(self) -> int: ...
    @property
    def header_seconds(self) -> float: ...
    @property
    def body_seconds(self) -> float: ...
    @property
    def body_kib_second(self) -> int: ...
    @property
    def body_least(self) -> int: ...
    @property
    def connections(self) -> int: ...
    @property
    def connections_address(self) -> int: ...
    @property
    def buffer_kib(self) -> int: ...
    @property
    def write_seconds(self) -> float: ...
    @property
    def drain_seconds(self) -> float: ...
    @property
    def idle_seconds(self) -> float: ...


class Line(Protocol):
    """A connection, as the server sees it."""

    @property
    def address(self) -> str: ...


class House(Protocol):
    """The server, as a connection sees it. `head` is how many bytes a head may have."""

    loop: AbstractEventLoop
    limits: Limits
    head: int
    draining: bool
    running: set[asyncio.Task[None]]

    @property
    def handler(self) -> Handler: ...

    def refuse(self, status: int, code: str, message: str, /) -> Response: ...

    def defect(self, error: Exception, /) -> object: ...

    def admit(self, new: Line) -> None: ...

    def forget(self, gone: Line) -> None: ...
