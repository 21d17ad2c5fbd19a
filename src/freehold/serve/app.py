"""The server's routes: who may call each, and what answers it.

    POST /v1/chat/completions       chat.py       home where the promise holds, else up as it came
    POST /v1/completions, embeddings passing.py   up, with budgets
    GET  /v1/models                 the logged models of each task, and freehold/<task>@<sha8> of each open rung
    GET, POST, DELETE /v1/keys      keys/face.py  for admin keys
    GET  /health, /ready, /metrics  status.py
    any  /v1/...                    passing.py    up unchanged, where there is an upstream

App.handle asks policy.authorise before any handler; a route that has no row in policy.TABLE is denied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from freehold import wire
from freehold.errors import FreeholdError, StorageFailed
from freehold.http.request import Request, Response
from freehold.keys import Key
from freehold.keys.face import delete_key, get_keys, post_key
from freehold.serve.away.passing import Passing
from freehold.serve.away.relay import Relay
from freehold.serve.chat import Chat
from freehold.serve.entry.door import Own, Refusal, check_address, check_type, read_body
from freehold.serve.entry.policy import Denied, authorise, bearer, denied, policy_for, sees_details
from freehold.serve.listen import OWN_HEADERS
from freehold.serve.parts import Parts
from freehold.serve.status import health, models, ready

__all__ = ["App"]

Handler = Callable[[Request, Key | None], Awaitable[Response | None]]
KEYS = "/v1/keys"


class App:
    """Answers requests. `port` is set once the socket is bound; `hosts` are names of this server besides this machine's
    own, `any_host` says that it answers to every name."""

    def __init__(self, parts: Parts, hosts: Sequence[str] = (), *, any_host: bool = False) -> None:
        self.parts = parts
        self.port = 0
        self._hosts = tuple(hosts)
        self._any_host = any_host
        self._own = Own(0)
        relay = Relay(parts, parts.fleet) if parts.fleet is not None else None
        self.chat = Chat(parts, relay)
        self.passing = Passing(parts, relay)
        self.routes: dict[str, Handler] = {
            "GET /health": self._health,
            "GET /ready": self._ready,
            "GET /metrics": self._metrics,
            "GET /v1/models": self._models,
            "POST /v1/chat/completions": self.chat.answer,
            "POST /v1/completions": self.passing.metered,
            "POST /v1/embeddings": self.passing.metered,
            "GET /v1/keys": self._keys,
            "POST /v1/keys": self._new_key,
            "DELETE /v1/keys/{name}": self._drop_key,
            "GET /v1/...": self.passing.other,
            "POST /v1/...": self.passing.other,
            "DELETE /v1/...": self.passing.other,
        }

    def leave(self) -> None:
        """/ready says no from here on, so that a proxy sends no more; calls that come all the same are answered."""
        self.parts.leaving = True

    def stop(self) -> None:
        """New calls are refused from here on; what is under way goes on."""
        self.parts.leaving = self.parts.stopping = True
        self.parts.admission.drain()

    async def handle(self, request: Request) -> Response | None:
        """The answer; None where it has gone out in pieces."""
        if self._own.port != self.port:
            self._own = Own(self.port, self._hosts, any_host=self._any_host)
        try:
            check_address(request, self._own)
            policy = policy_for(request.method, request.path)
            keys = self.parts.keys
            key = authorise(policy, bearer(request.headers.first("authorization")), keys, keys.clock.now())
            if key is not None and self.parts.admission.spent is None:
                self.parts.admission.spent = self.parts.spend.spent  # the first keys came while it ran
            if self.parts.stopping and not policy.public:
                raise Refusal(503, "This server is stopping.", "stopping", Retry_After="1")
            if request.query and not request.query.isprintable():
                raise Refusal(400, "The query holds a character that a URL can't.", "bad_request")
            return await self.routes[policy.route](request, key)
        except Refusal as refusal:
            self.parts.metrics.refused(refusal.code, refusal.http)
            return Response(refusal.http, refusal.body, [*OWN_HEADERS, *refusal.headers], refusal.close)
        except Denied as error:
            self.parts.metrics.refused(error.code, error.http)
            body = wire.error(error.message, "invalid_request_error", error.code)
            return Response(error.http, body, [*OWN_HEADERS, *error.headers.items()])
        except StorageFailed as error:  # keys.spent is held by another process for too long, or its disk is full
            self.parts.metrics.refused("storage_failed", 503)
            body = wire.error(error.message, "server_error", "storage_failed")
            return Response(503, body, [*OWN_HEADERS, ("Retry-After", "1")])

    # what the server says of itself

    def health(self) -> dict[str, Any]:
        return health(self.parts)

    async def _health(self, request: Request, key: Key | None) -> Response:
        said = self.health()
        if not sees_details(key, self.parts.keys):
            said = {"status": said["status"]}
        return _json(said, 503 if self.parts.leaving else 200)

    async def _ready(self, request: Request, key: Key | None) -> Response:
        why = ready(self.parts)
        return _json({"ready": not why} | ({"why": why} if why else {}), 503 if why else 200)

    async def _metrics(self, request: Request, key: Key | None) -> Response:
        kind, text = await self.parts.metrics.scrape()
        return Response(200, text, [("Content-Type", kind), *OWN_HEADERS[1:]])

    async def _models(self, request: Request, key: Key | None) -> Response:
        return _json(models(self.parts))

    # keys

    async def _keys(self, request: Request, key: Key | None) -> Response:
        return _json(get_keys(self.parts.keys))

    async def _new_key(self, request: Request, key: Key | None) -> Response:
        assert key is not None, "the policy asks for a key"
        self.parts.admission.door(key)
        check_type(request, json_only=True)
        body = await read_body(request, self.parts.settings.limits)
        return _json(await _changed(post_key, self.parts.project, key, body))

    async def _drop_key(self, request: Request, key: Key | None) -> Response:
        assert key is not None, "the policy asks for a key"
        return _json(await _changed(delete_key, self.parts.project, key, request.path.rpartition("/")[2]))


async def _changed(change: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
    """Off the event loop: it writes to the disk. Raises Denied."""
    try:
        return await asyncio.to_thread(change, *given)
    except FreeholdError as error:
        raise denied(error) from None


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(status, wire.dumps(body), OWN_HEADERS)
