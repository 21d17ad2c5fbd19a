"""Calls that go up unread by any student: completions and embeddings, with budgets; anything else as it comes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from freehold import wire
from freehold.http.request import Request, Response
from freehold.keys import Key
from freehold.keys.spent import Reservation
from freehold.nouns import Tokens
from freehold.serve.door import Refusal, check_type, read_body
from freehold.serve.parts import Parts
from freehold.serve.policy import check_model
from freehold.serve.relay import Relay
from freehold.serve.spend import most

__all__ = ["Passing"]


@dataclass(slots=True)
class Passing:
    """No row: they are no chat calls."""

    parts: Parts
    relay: Relay | None

    async def other(self, request: Request, key: Key | None) -> Response | None:
        """Any other route, byte for byte."""
        relay = self._up(request)
        self.parts.admission.door(key)
        check_type(request, json_only=False)
        return await relay.other(request, await read_body(request, self.parts.settings.limits))

    async def metered(self, request: Request, key: Key | None) -> Response | None:
        """Completions and embeddings: the model must be the key's, and the price is put aside before."""
        relay, parts = self._up(request), self.parts
        parts.admission.door(key)
        check_type(request, json_only=True)
        body = await read_body(request, parts.settings.limits)
        parsed = self._parsed(body)
        model = parsed.get("model")
        check_model(key, model if isinstance(model, str) else "")
        amount = most({name: value for name, value in parsed.items() if name != "messages"}, len(body))
        place = parts.admission.enter(key, amount.tokens) or await parts.admission.wait(key, amount.tokens)
        try:
            held = parts.spend.reserve(key, [host.model or str(model) for host in relay.fleet.hosts], amount)
            by: list[str] = []
            found, tokens = None, Tokens()
            try:
                found = await relay.other(request, body, whole=True, by=by.append)
                if by:
                    tokens = _usage(found) or Tokens(amount.prompt, amount.answer)
            except (asyncio.CancelledError, ConnectionError):  # the client is gone: what it asked for was sent
                tokens = Tokens(amount.prompt, amount.answer if by else 0)
                raise
            finally:
                self._paid(held, str(model), by, tokens)
            return found
        finally:
            place.leave()

    def _paid(self, held: Reservation, model: str, by: list[str], tokens: Tokens) -> None:
        """Count an answer against the key, and against the host that gave it; a call without one costs its prompt."""
        spend, fleet = self.parts.spend, self.parts.fleet
        if not by and not tokens.prompt:
            held.cancel()
            return
        asked = next((one.model for one in fleet.all if one.name in by), "") if fleet is not None else ""
        spend.settle(held, asked or model, tokens)
        for host in by:
            spend.bill(host, asked or model, tokens)

    def _up(self, request: Request) -> Relay:
        """Raises Refusal where nothing goes up, or a task of this route is declared never to leave the house: which
        calls are the task's is read nowhere here."""
        endpoint = request.path.removeprefix("/v1/")
        for step in self.parts.steps:
            if not step.rung.leaves and step.rung.task.endpoint == endpoint:
                message = f"The task {step.rung.task.name} of this route is declared never to leave the house."
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
