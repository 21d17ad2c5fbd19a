"""What the server does with a request: the door, the route, then home or up.

    POST /v1/chat/completions   home where the promise holds, else up as it came
    GET  /v1/models             the logged models of each task, and freehold/<task>@<sha8> of each open rung
    GET  /health                rungs, ledger, pairs
    any  /v1/...                up unchanged, where there is an upstream

A home answer's row is written before the answer goes out; where it can't be written the call goes up instead.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from freehold import wire
from freehold.engines.record import failure
from freehold.engines.upstream import UP
from freehold.nouns import Answer, Tokens
from freehold.serve.door import Refusal, check_address, check_type, read_body, read_json
from freehold.serve.ledger import Entry, Ledger
from freehold.serve.out import deliver
from freehold.serve.pairs import Pair, Pairs
from freehold.serve.relay import ANSWERED_BY, Relay
from freehold.serve.route import Decision, route, settle
from freehold.serve.rungs import Step
from freehold.serve.students import Said, Seat

__all__ = ["App"]

CHAT = "/v1/chat/completions"
PASSED_UP = re.compile(r"/v1(/(?!\.{1,2}(?:[/?]|$))[A-Za-z0-9._~:@-]+)+(\?[!-~]*)?")  # no segment is empty, . or ..
PATIENCE = 2.0  # seconds that a call waits at least for the student; then it goes up (a slow student has more)
DEATHS = 2  # calls in a row on which an engine died: the rung closes until the next start


class App:
    """Answers requests. `relay` is None without an upstream, `pairs` where nothing is watched; `home` is USD a second.

    `closing` is told of a student whose engine keeps dying. `port` is set once the socket is bound.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        ledger: Ledger,
        relay: Relay | None,
        pairs: Pairs | None,
        home: float,
        closing: Callable[[Step, str, str], None],
    ) -> None:
        self.steps = list(steps)
        self.ledger = ledger
        self.relay = relay
        self.pairs = pairs
        self.port = 0
        self.stopping = False
        self._home = home
        self._closing = closing
        self._started = int(time.time())

    def stop(self) -> None:
        """New calls are refused from here on; what is under way goes on."""
        self.stopping = True
        if self.relay is not None:
            self.relay.stopping = True

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            check_address(request, self.port)
            response = await self._dispatch(request)
        except Refusal as refusal:
            response = web.Response(status=refusal.http, body=refusal.body, headers=refusal.headers)
            response.content_type = "application/json"
            if refusal.close:
                response.force_close()
        if not response.prepared and isinstance(response, web.Response):
            response.headers["Server"] = "freehold"
            response.headers["X-Content-Type-Options"] = "nosniff"
            if self.stopping:
                response.force_close()
            await deliver(request, response)
        return response

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        routes = {CHAT: "POST", "/v1/models": "GET", "/health": "GET"}
        method = routes.get(path)
        if path == "/health" and request.method == method:
            return _json(self.health(), 503 if self.stopping else 200)
        if self.stopping:
            raise Refusal(503, "This server is stopping.", "stopping", Retry_After="1")
        if method is None:
            return await self._other(request)
        if request.method != method:
            raise Refusal(405, f"{path} takes {method} only.", "method_not_allowed", Allow=method)
        if path == CHAT and not PASSED_UP.fullmatch(request.raw_path):
            raise Refusal(400, "The query holds a character that a URL can't.", "bad_request")
        return await self._chat(request) if method == "POST" else _json(self.models())

    # chat calls

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        check_type(request, json_only=True)
        body = await read_body(request)
        parsed = read_json(body)
        entry = Entry(wire.call_from_request(parsed), parsed)
        try:
            return await self._home_or_up(request, body, entry)
        except (asyncio.CancelledError, ConnectionError):
            if not entry.written:
                code = "server_stopped" if self.stopping else "client_gone"
                entry.ends(entry.http, "partial", failure(code, "nobody waited for the answer"), code)
                self.ledger.write(entry)
            raise
        except Refusal:
            raise
        except Exception as error:  # a defect of ours has its row too; listen.py says it to the client
            if not entry.written:
                entry.ends(502, "failed", failure("server_error", "freehold made an error"), type(error).__name__)
                self.ledger.write(entry)
            raise

    async def _home_or_up(self, request: web.BaseRequest, body: bytes, entry: Entry) -> web.StreamResponse:
        decision = route(entry.call, [step.rung for step in self.steps], query="?" in request.raw_path)
        step = next((step for step in self.steps if step.rung.task.name == decision.task), None)
        if decision.where == "student" and self.ledger.why:
            decision = replace(decision, where="upstream", why="closed", reason="the ledger can't be written")
        if step is not None and step.seat is not None and decision.text is not None and _worth(decision, step.seat):
            decision, said = await self._ask(step, step.seat, decision, entry)
            answer = said.answer
            if decision.where == "student" and answer is not None:
                entry.home = self._home * said.seconds
                entry.saved = None if step.bill is None else step.bill - entry.home
                home = self._answer(step, answer, entry)
                if home is not None:
                    self._offer_pair(request, body, step, answer, entry)
                    return home
                decision = replace(decision, where="upstream", why="closed", reason="the ledger can't be written")
        return await self._up(request, body, decision, entry)

    async def _ask(self, step: Step, seat: Seat, decision: Decision, entry: Entry) -> tuple[Decision, Said]:
        """The student's word on this call; of a closed rung, for the record only."""
        assert decision.text is not None
        said = await seat.ask(decision.text, PATIENCE)
        if seat.deaths >= DEATHS and step.rung.open:
            self._closing(step, f"the student's engine died on {seat.deaths} calls in a row", "engine")
        if said.answer is None:
            return _without(decision, said.reason), said
        entry.says(step.rung.student, step.rung.threshold, said.answer)
        if decision.where == "student":
            decision = settle(decision, step.rung, said.answer, entry.call)
        return decision, said

    def _answer(self, step: Step, answer: Answer, entry: Entry) -> web.Response | None:
        """The home answer, its row written; None where the row can't be."""
        call, model = entry.call, step.rung.model
        tokens = Tokens(
            wire.estimate_tokens(call.messages), max(1, wire.estimate_tokens([{"content": answer.text}]) - 3)
        )
        kind = step.rung.task.kind
        completion = wire.completion(model, answer.text, tokens, entry.id, int(entry.at), kind=kind)
        entry.task, entry.answered_by, entry.why = step.rung.task.name, "student", "home"
        entry.pairs = self.pairs.share if self.pairs else 0.0
        entry.ends(200, "complete", completion)
        if not self.ledger.write(entry):
            return None
        headers = {ANSWERED_BY: "student"}
        if not call.params.get("stream"):
            return web.Response(body=wire.dumps(completion), content_type="application/json", headers=headers)
        usage = bool((call.params.get("stream_options") or {}).get("include_usage"))
        events = wire.chunks(model, answer.text, tokens, entry.id, int(entry.at), usage=usage, kind=kind)
        return web.Response(body=b"".join(events), content_type="text/event-stream", headers=headers)

    def _offer_pair(self, request: web.BaseRequest, body: bytes, step: Step, answer: Answer, entry: Entry) -> None:
        if self.pairs is not None and step.monitor is not None:
            headers = {name: request.headers[name] for name in UP if name in request.headers}
            self.pairs.offer(Pair(step, entry, answer, headers, body))

    async def _up(self, request: web.BaseRequest, body: bytes, decision: Decision, entry: Entry) -> web.StreamResponse:
        entry.task, entry.why, entry.reason = decision.task, decision.why, decision.reason
        entry.answered_by, entry.home, entry.saved = "upstream", 0.0, 0.0
        if self.relay is not None:
            entry.answered_by = self.relay.upstream.kind
            return await self.relay.chat(request, body, entry)
        said = decision.reason or "it is not a call that is answered at home"
        message = f"This call would go to the upstream ({said}), and there is none. Start with --upstream URL."
        entry.ends(503, "failed", failure("no_upstream", message))
        self.ledger.write(entry)
        raise Refusal(503, message, "no_upstream")

    # the rest

    async def _other(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        # a host that takes capitals for small letters would answer a chat call that no ledger knows of
        known = PASSED_UP.fullmatch(request.raw_path) and (path.lower().startswith(CHAT) <= path.startswith(CHAT))
        if self.relay is None or self.relay.upstream.kind != "upstream" or not known:
            raise Refusal(404, "There is no such route here.", "not_found")
        if request.method not in ("GET", "POST", "DELETE"):
            raise Refusal(405, "This route takes GET, POST or DELETE.", "method_not_allowed", Allow="GET, POST, DELETE")
        check_type(request, json_only=False)
        return await self.relay.other(request, await read_body(request))

    def models(self) -> dict[str, Any]:
        logged = [model for step in self.steps for model in step.rung.task.models]
        home = [step.rung.model for step in self.steps if step.rung.open]
        return wire.models(list(dict.fromkeys([*logged, *home])), self._started)

    def health(self) -> dict[str, Any]:
        rungs = [_rung(step) for step in self.steps]
        closed = any(step.rung.student and not step.rung.open for step in self.steps)
        status = "stopping" if self.stopping else "degraded" if closed or self.ledger.why else "ok"
        pairs = self.pairs
        return {
            "status": status,
            "upstream": self.relay.upstream.kind if self.relay else "none",
            "unmonitored": pairs is None,
            "rungs": rungs,
            "ledger": {"writable": not self.ledger.why, "why": self.ledger.why, "rows_lost": self.ledger.lost},
            "pairs": {
                "share": pairs.share if pairs else 0.0,
                "asked": pairs.asked if pairs else 0,
                "lost": pairs.lost if pairs else 0,
                "waiting": pairs.waiting if pairs else 0,
            },
        }


def _without(decision: Decision, reason: str) -> Decision:
    """Up, because the student has nothing to say; a call that was on its way up keeps its reason."""
    return (
        decision if decision.where == "upstream" else replace(decision, where="upstream", why="refused", reason=reason)
    )


def _worth(decision: Decision, seat: Seat) -> bool:
    """Whether to ask: of a closed rung only a quick student, since its word is for the record and somebody waits."""
    return decision.where == "student" or seat.patience(PATIENCE) == PATIENCE


def _rung(step: Step) -> dict[str, Any]:
    rung, monitor = step.rung, step.monitor
    if not rung.student:
        return {"task": rung.task.name, "open": False, "why": rung.why}
    head = {"task": rung.task.name, "open": rung.open, "why": rung.why, "model": rung.model}
    head |= {"kind": rung.task.kind, "student": step.title}
    if step.seat is not None:
        head["patience"] = step.seat.patience(PATIENCE)
    watch = {"pairs": monitor.seen, "differ": monitor.differed, "evidence": monitor.evidence} if monitor else None
    return head | {"threshold": rung.threshold, "monitor": watch}


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(status=status, body=wire.dumps(body), content_type="application/json")
