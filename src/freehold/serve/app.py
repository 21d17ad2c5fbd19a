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

from freehold import wire
from freehold.engines.record import failure
from freehold.engines.upstream import UP
from freehold.http.request import Request, Response
from freehold.nouns import Answer, Tokens
from freehold.project.gateway import Limits
from freehold.serve.door import Own, Refusal, check_address, check_type, read_body, read_chat
from freehold.serve.ledger import Entry, Ledger
from freehold.serve.listen import OWN_HEADERS
from freehold.serve.pairs import Pair, Pairs
from freehold.serve.relay import ANSWERED_BY, Relay
from freehold.serve.route import Decision, route, settle
from freehold.serve.rungs import Step
from freehold.serve.students import Said, Seat

__all__ = ["App"]

CHAT = "/v1/chat/completions"
ROUTES = {CHAT: "POST", "/v1/models": "GET", "/health": "GET"}
PASSED_UP = re.compile(r"/v1(/(?!\.{1,2}(?:[/?]|$))[A-Za-z0-9._~:@-]+)+(\?[!-~]*)?")  # no segment is empty, . or ..
JSON_HOME = [*OWN_HEADERS, (ANSWERED_BY, "student")]
EVENTS_HOME = [("Content-Type", "text/event-stream"), *JSON_HOME[1:]]
PATIENCE = 2.0  # seconds that a call waits at least for the student; then it goes up (a slow student has more)
DEATHS = 2  # calls in a row on which an engine died: the rung closes until the next start


class App:
    """Answers requests. `relay` is None without an upstream, `pairs` where nothing is watched; `home` is USD a second.

    `closing` is told of a student whose engine keeps dying. `port` is set once the socket is bound; `hosts` are names
    of this server besides this machine's own.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        ledger: Ledger,
        relay: Relay | None,
        pairs: Pairs | None,
        home: float,
        closing: Callable[[Step, str, str], None],
        limits: Limits | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        self.steps = list(steps)
        self.ledger = ledger
        self.relay = relay
        self.pairs = pairs
        self.port = 0
        self.stopping = False
        self._home = home
        self._closing = closing
        self._limits = limits or Limits()
        self._hosts = tuple(hosts)
        self._own = Own(0)
        self._started = int(time.time())

    def stop(self) -> None:
        """New calls are refused from here on; what is under way goes on."""
        self.stopping = True
        if self.relay is not None:
            self.relay.stopping = True

    async def handle(self, request: Request) -> Response | None:
        """The answer; None where it has gone out in pieces."""
        if self._own.port != self.port:
            self._own = Own(self.port, self._hosts)
        try:
            check_address(request, self._own)
            return await self._dispatch(request)
        except Refusal as refusal:
            return Response(refusal.http, refusal.body, [*OWN_HEADERS, *refusal.headers], refusal.close)

    async def _dispatch(self, request: Request) -> Response | None:
        path = request.path
        method = ROUTES.get(path)
        if path == "/health" and request.method == method:
            return _json(self.health(), 503 if self.stopping else 200)
        if self.stopping:
            raise Refusal(503, "This server is stopping.", "stopping", Retry_After="1")
        if method is None:
            return await self._other(request)
        if request.method != method:
            raise Refusal(405, f"{path} takes {method} only.", "method_not_allowed", Allow=method)
        if path == CHAT and request.target != CHAT and not PASSED_UP.fullmatch(request.target):
            raise Refusal(400, "The query holds a character that a URL can't.", "bad_request")
        return await self._chat(request) if method == "POST" else _json(self.models())

    # chat calls

    async def _chat(self, request: Request) -> Response | None:
        check_type(request, json_only=True)
        body = await read_body(request, self._limits)
        parsed, call = read_chat(body, self._limits)
        entry = Entry(call, parsed)
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

    async def _home_or_up(self, request: Request, body: bytes, entry: Entry) -> Response | None:
        decision = route(entry.call, [step.rung for step in self.steps], query="?" in request.target)
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

    def _answer(self, step: Step, answer: Answer, entry: Entry) -> Response | None:
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
        if not call.params.get("stream"):
            return Response(200, wire.dumps(completion), JSON_HOME)
        usage = bool((call.params.get("stream_options") or {}).get("include_usage"))
        events = wire.chunks(model, answer.text, tokens, entry.id, int(entry.at), usage=usage, kind=kind)
        return Response(200, b"".join(events), EVENTS_HOME)

    def _offer_pair(self, request: Request, body: bytes, step: Step, answer: Answer, entry: Entry) -> None:
        if self.pairs is not None and step.monitor is not None:
            headers = {name: request.headers[name] for name in UP if name in request.headers}
            self.pairs.offer(Pair(step, entry, answer, headers, body))

    async def _up(self, request: Request, body: bytes, decision: Decision, entry: Entry) -> Response | None:
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

    async def _other(self, request: Request) -> Response | None:
        path = request.path
        # a host that takes capitals for small letters would answer a chat call that no ledger knows of
        known = PASSED_UP.fullmatch(request.target) and (path.lower().startswith(CHAT) <= path.startswith(CHAT))
        if self.relay is None or self.relay.upstream.kind != "upstream" or not known:
            raise Refusal(404, "There is no such route here.", "not_found")
        if request.method not in ("GET", "POST", "DELETE"):
            raise Refusal(405, "This route takes GET, POST or DELETE.", "method_not_allowed", Allow="GET, POST, DELETE")
        check_type(request, json_only=False)
        return await self.relay.other(request, await read_body(request, self._limits))

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


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(status, wire.dumps(body), OWN_HEADERS)
