"""Calls that go up unread by any student: completions and embeddings, with budgets; anything else as it comes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

from freehold import wire
from freehold.engines.hosts.deadline import allowed
from freehold.http.request import Request, Response
from freehold.keys import Key
from freehold.nouns import Tokens
from freehold.serve.away.relay import Relay, within
from freehold.serve.entry.admit import Place
from freehold.serve.entry.bill import Bill
from freehold.serve.entry.bounds import check_bounds
from freehold.serve.entry.door import Refusal, check_type, read_body
from freehold.serve.entry.policy import check_model, check_task
from freehold.serve.entry.spend import BYTES, most
from freehold.serve.parts import Parts, unwritten

__all__ = ["Passing"]


@dataclass(slots=True)
class Passing:
    """No row: they are no chat calls."""

    parts: Parts
    relay: Relay | None

    async def other(self, request: Request, key: Key | None) -> Response | None:
        """Any other route, byte for byte."""
        relay = self._up(request)
        until = self._began(request, key)
        check_type(request, json_only=False)
        body = await read_body(request, self.parts.settings.limits)
        place = await self._placed(key, len(body) // BYTES + 1, until)
        try:
            return await relay.other(request, within(request.headers, until), body)
        finally:
            place.leave()

    async def metered(self, request: Request, key: Key | None) -> Response | None:
        """Completions and embeddings: the model must be the key's, and the price is put aside before."""
        relay, parts = self._up(request), self.parts
        until = self._began(request, key)
        if parts.ledger.refuses:
            raise unwritten()
        check_type(request, json_only=True)
        body = await read_body(request, parts.settings.limits)
        parsed = self._parsed(body)
        check_bounds(parsed, parts.settings.limits)
        model = parsed.get("model")
        model = model if isinstance(model, str) else ""
        check_model(key, model)
        self._check_tasks(request, key)
        amount = most(parsed, len(body), request.path)
        place = await self._placed(key, amount.tokens, until)
        used: int | None = None
        try:
            headers = within(request.headers, until)
            bill = Bill(parts.spend, relay.fleet, key, model, amount)
            by: list[str] = []
            found: Response | None = None
            try:
                found = await relay.other(request, headers, body, whole=True, by=by.append, asked=bill.asked)
            finally:
                tokens = _usage(found)
                if by:
                    bill.answered(by[0], tokens)
                    used = None if tokens is None else tokens.prompt + tokens.completion
                else:
                    bill.unanswered()
            return found
        finally:
            place.leave(used)

    def _check_tasks(self, request: Request, key: Key | None) -> None:
        """A key for some tasks may call a route that one of them has. Raises Denied."""
        if key is not None and key.tasks is not None:
            endpoint = request.path.removeprefix("/v1/")
            here = [step.rung.task.name for step in self.parts.steps if step.rung.task.endpoint == endpoint]
            check_task(key, next((name for name in here if name in key.tasks), ""))

    def _began(self, request: Request, key: Key | None) -> float | None:
        """Past the door: until when the client waits, by the event loop's clock; None where it doesn't say."""
        self.parts.admission.door(key)
        waits = allowed(request.headers, self.parts.settings.limits.total_seconds)
        return None if waits is None else asyncio.get_running_loop().time() + waits

    async def _placed(self, key: Key | None, tokens: int, until: float | None) -> Place:
        """In turn. Raises Denied."""
        admission = self.parts.admission
        place = admission.enter(key, tokens)
        return place or await admission.wait(key, tokens, math.inf if until is None else until)

    def _up(self, request: Request) -> Relay:
        """Raises Refusal where nothing goes up, or a task is declared never to leave the house: what is passed up here
        is read by nobody, so any of it may be the task's."""
        kept = [step.rung.task.name for step in self.parts.steps if not step.rung.leaves]
        if kept and request.method == "POST":
            message = (
                f"The task {kept[0]} is declared never to leave the house, and what this route passes up is unread."
            )
            raise Refusal(422, message, "never_leaves")
        if self.relay is None or self.relay.fleet.kind != "upstream":
            raise Refusal(404, "There is no such route here.", "not_found")
        return self.relay

    def _parsed(self, body: bytes) -> dict[str, Any]:
        try:
            found = wire.loads(body)
        except ValueError as error:
            raise Refusal(400, f"The body can't be read: {error}.", "bad_request") from None
        if not isinstance(found, dict):
            raise Refusal(400, "The body is no JSON object.", "bad_request")
        return found


def _usage(found: Response | None) -> Tokens | None:
    """The tokens that a whole answer says; None where it says nothing, or went out in pieces."""
    if found is None:
        return None
    try:
        said = wire.loads(found.body)
    except ValueError:
        return None
    return wire.usage_tokens(said.get("usage")) if isinstance(said, dict) else None
