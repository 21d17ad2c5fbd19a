"""One chat call, from its body to the last byte of its answer.

    door ─→ body ─→ bounds ─→ a place (admission) ─→ [Idempotency-Key] ─→ [cache] ─→ route
    route ─┬→ student ─→ row ─→ answer
           ├→ not sure: the next rung of the ladder; never leaves the house: 422
           └→ budget ─→ fleet ─→ row ─→ answer ─→ what would the student have said? (shadow, canary)
A home answer's row is written before the answer goes out; where it can't be written the call goes up instead.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from freehold import wire
from freehold.engines.hosts.deadline import allowed
from freehold.engines.record import failure
from freehold.engines.upstream import UP
from freehold.errors import StorageFailed
from freehold.http.request import Request, Response
from freehold.keys import Key
from freehold.ledger import Entry
from freehold.nouns import Answer, Tokens
from freehold.serve.away import house
from freehold.serve.away.relay import ANSWERED_BY, Relay, within
from freehold.serve.entry import cache as cached
from freehold.serve.entry import repeat
from freehold.serve.entry.bill import Bill
from freehold.serve.entry.bounds import check_bounds
from freehold.serve.entry.door import Refusal, check_type, read_body, read_chat
from freehold.serve.entry.policy import Denied, check_model, check_task, may_home
from freehold.serve.entry.spend import Most, most
from freehold.serve.ladder.route import Decision, route, settle, without
from freehold.serve.ladder.stage import who
from freehold.serve.ladder.step import Step
from freehold.serve.listen import OWN_HEADERS
from freehold.serve.pairing.pairs import Pair
from freehold.serve.parts import Parts, unwritten
from freehold.serve.seats.students import Said, Seat

__all__ = ["BELOW", "PATIENCE", "Chat"]

BELOW = "x-freehold-below-bar"
PATIENCE = 2.0  # seconds that a call waits at least for the student; then it goes up (a slow student has more)
DEATHS = 2  # calls in a row on which an engine died: the rung closes until the next start
EVENTS = ("Content-Type", "text/event-stream")
UNWRITTEN = "the ledger can't be written"


@dataclass(slots=True)
class _Call:
    """What is known of one call while it runs. `until` is when its client stops waiting, by the event loop's clock;
    `cache` is the name of its answer in the cache ("": it has none)."""

    request: Request
    body: bytes
    entry: Entry
    key: Key | None
    most: Most
    until: float | None = None
    waited: float = 0.0
    cache: str = ""
    quarantined: bool = False
    asked_cost: float | None = 0.0  # USD that hosts billed for answers that were not used
    free: list[tuple[Step, str]] = field(default_factory=list)

    @property
    def tenant(self) -> str:
        return self.key.name if self.key is not None else ""


@dataclass(slots=True)
class Chat:
    parts: Parts
    relay: Relay | None

    async def answer(self, request: Request, key: Key | None) -> Response | None:
        """The answer; None where it has gone out in pieces. Raises Refusal and Denied."""
        parts = self.parts
        began = asyncio.get_running_loop().time()
        parts.admission.door(key)
        if parts.ledger.refuses:
            raise unwritten()
        check_type(request, json_only=True)
        limits = parts.settings.limits
        body = await read_body(request, limits)
        parsed, asked = read_chat(body, limits)
        check_bounds(parsed, limits)
        entry = Entry(asked, parsed)
        check_model(key, entry.call.model)
        call = _Call(request, body, entry, key, most(parsed, len(body)))
        waits = allowed(request.headers, limits.total_seconds)
        if waits is not None:
            call.until = began + waits
        if key is not None:
            entry.more["key"] = key.name
        name = request.headers.get(repeat.HEADER)
        return await self._placed(call) if name is None else await self._once(call, name)

    async def _once(self, call: _Call, name: str) -> Response:
        """Where the client gives a key for it, a call is made once, however often it is sent; a stream comes in one
        piece then. What is sent again has no row."""

        if call.key is not None and call.key.tasks is not None:  # it may have been narrowed since the first time
            check_task(call.key, self._routed(call).task)

        async def dispatch() -> Response:
            way = repeat.Gather(call.request)
            found = await self._placed(replace(call, request=way.request))
            return way.response if found is None else found

        try:
            answer, again = await self.parts.repeats.once(
                call.tenant, name, call.body, dispatch, lambda _: call.entry.status == "complete"
            )
        except repeat.Conflict as error:
            raise Refusal(error.http, error.message, error.code) from None
        except repeat.Full:
            message = "As many Idempotency-Keys are under way as are kept."
            raise Refusal(429, message, "too_many_keys", Retry_After="1") from None
        return replace(answer, headers=[*answer.headers, ("x-freehold-repeated", "true")]) if again else answer

    async def _placed(self, call: _Call) -> Response | None:
        """In turn, and counted."""
        parts, key, entry = self.parts, call.key, call.entry
        place = parts.admission.enter(key, call.most.tokens)
        if place is None:
            loop = asyncio.get_running_loop()
            start = loop.time()
            place = await parts.admission.wait(key, call.most.tokens, math.inf if call.until is None else call.until)
            call.waited = loop.time() - start
        began = parts.metrics.began()
        try:
            return await self._recorded(call)
        finally:
            place.leave(None if key is None else _used(entry))
            if entry.written:
                parts.metrics.told(began, entry, waited=call.waited)
            else:
                parts.metrics.left()

    async def _recorded(self, call: _Call) -> Response | None:
        """Whatever happens, the call has its row."""
        entry, ledger = call.entry, self.parts.ledger
        try:
            return await self._decided(call)
        except (asyncio.CancelledError, ConnectionError):
            if not entry.written:
                code = "server_stopped" if self.parts.stopping else "client_gone"
                entry.ends(entry.http, "partial", failure(code, "nobody waited for the answer"), code)
                ledger.write(entry)
            raise
        except Denied as error:
            if not entry.written:
                entry.answered_by = "nobody"
                entry.ends(error.http, "refused", failure(error.code, error.message), error.code)
                ledger.write(entry)
            raise
        except Refusal:
            raise
        except StorageFailed as error:  # app.py says it to the client
            if not entry.written:
                entry.ends(503, "failed", failure("storage_failed", "freehold can't write now"), type(error).__name__)
                ledger.write(entry)
            raise
        except Exception as error:  # a defect of ours has its row too; listen.py says it to the client
            if not entry.written:
                entry.ends(502, "failed", failure("server_error", "freehold made an error"), type(error).__name__)
                ledger.write(entry)
            raise

    async def _decided(self, call: _Call) -> Response | None:
        steps = self.parts.steps
        decision = self._routed(call)
        check_task(call.key, decision.task)
        decision = house.stays(call.entry.call, call.entry.body, decision, [step.rung for step in steps])
        if decision.where != "refused" and self._cached(call, steps):
            found = self._from_cache(call)
            if found is not None:
                await self.parts.acked(call.entry)
                return found
        by = {step.rung.student: step for step in steps if step.rung.task.name == decision.task}
        while decision.text is not None and decision.student:
            step = by[decision.student]
            decision = self._stays_up(step, decision, call)
            if step.seat is None:
                decision = without(decision, step.rung, "the student could not be opened")
                break
            if not _worth(decision, step.seat):
                break
            decision, said = await self._ask(step, step.seat, decision, call, steps)
            if decision.where != "student" or said.answer is None:
                break
            if decision.student == step.rung.student:
                home = self._home(step, said, decision, call)
                if home is not None:
                    await self.parts.acked(call.entry)
                    self._offer_pair(step, said.answer, call)
                    return home
                decision = replace(decision, where="upstream", why="unwritten", reason=UNWRITTEN)
        return await self._else(decision, call)

    def _routed(self, call: _Call) -> Decision:
        rungs = [step.rung for step in self.parts.steps]
        return route(call.entry.call, rungs, query="?" in call.request.target)

    # home

    def _stays_up(self, step: Step, decision: Decision, call: _Call) -> Decision:
        """A call that its student may answer goes up all the same: no row can be written, its key has had its share, or
        the student is not that far yet."""
        if decision.where != "student" or not step.rung.leaves:
            return decision
        if self.parts.ledger.why:
            return replace(decision, where="upstream", why="unwritten", reason=UNWRITTEN)
        if call.key is not None and call.key.home_share is not None and not may_home(call.key, self.parts.draw()):
            reason = f"{call.key.home_share:g} of this key's calls may be answered at home"
            return replace(decision, where="upstream", why="capped", reason=reason, text=None)
        stage = step.stage
        if stage is None or stage.share >= 1.0 or stage.at(who(call.entry.body, self._by, call.tenant)):
            return decision
        assert decision.text is not None
        call.free.append((step, decision.text))
        if stage.name == "shadow":
            return replace(decision, where="upstream", why="shadow", reason="a new student", text=None)
        return replace(decision, where="upstream", why="canary", reason=f"not in the {stage}", text=None)

    @property
    def _by(self) -> str:
        return self.parts.settings.rollout.by

    async def _ask(
        self, step: Step, seat: Seat, decision: Decision, call: _Call, steps: Sequence[Step]
    ) -> tuple[Decision, Said]:
        """The student's word on this call; of a closed rung, for the record only."""
        assert decision.text is not None
        try:
            async with asyncio.timeout_at(call.until):
                said = await seat.ask(decision.text, PATIENCE)
        except TimeoutError:
            said = Said(reason="its client waits no longer")
        if seat.deaths >= DEATHS and step.rung.open:
            self.parts.closing(step, f"the student's engine died on {seat.deaths} calls in a row", "engine")
        call.quarantined = said.quarantined
        if said.answer is None:
            return without(decision, step.rung, said.reason), said
        call.entry.says(step.rung.student, step.rung.threshold, said.answer)
        if step.verdict is not None and step.verdict.student is not None and step.verdict.student.host:
            call.asked_cost = self._cost(step, said)
        if decision.where == "student":
            rungs = [one.rung for one in steps]  # as they were when it was routed, each as open as it is now
            decision = settle(decision, step.rung, said.answer, call.entry.call, rungs)
        return decision, said

    def _home(self, step: Step, said: Said, decision: Decision, call: _Call) -> Response | None:
        """The home answer, its row written; None where the row can't be, and the call may go up instead."""
        entry, asked, model, answer = call.entry, call.entry.call, step.rung.model, said.answer
        assert answer is not None
        written = max(1, wire.estimate_tokens([{"content": answer.text}]) - 3)
        tokens = Tokens(wire.estimate_tokens(asked.messages), written)
        kind = step.rung.task.kind
        completion = wire.completion(model, answer.text, tokens, entry.id, int(entry.at), kind=kind)
        entry.task, entry.answered_by, entry.why = step.rung.task.name, "student", decision.why
        entry.reason = decision.reason
        entry.home = self._cost(step, said)
        entry.saved = None if step.bill is None or entry.home is None else step.bill - entry.home
        entry.pairs = self.parts.pairs.share if self.parts.pairs is not None and step.monitor is not None else 0.0
        entry.ends(200, "complete", completion)
        if not self.parts.ledger.write(entry) and step.rung.leaves:
            return None
        below = [(BELOW, "true")] if decision.why == "below_bar" else []
        headers = [(ANSWERED_BY, "student"), *below]
        if decision.why == "home":
            self._keep(call)
        if not asked.params.get("stream"):
            return Response(200, wire.dumps(completion), [*OWN_HEADERS, *headers])
        usage = _wants_usage(entry.body)
        events = wire.chunks(model, answer.text, tokens, entry.id, int(entry.at), usage=usage, kind=kind)
        return Response(200, b"".join(events), [EVENTS, *OWN_HEADERS[1:], *headers])

    def _cost(self, step: Step, said: Said) -> float | None:
        """USD of asking: this machine's time, or what an open model's host bills; None where no price is known."""
        verdict = step.verdict
        if verdict is None or verdict.student is None or not verdict.student.host:
            return self.parts.home * said.seconds
        each = verdict.money.get("call")
        return each.value if each is not None else None

    def _offer_pair(self, step: Step, answer: Answer, call: _Call) -> None:
        if self.parts.pairs is not None and step.monitor is not None and call.entry.why == "home":
            given = call.request.headers  # a pair is a call of its own, and its key must be no other client's
            headers = {name: given[name] for name in UP if name in given and name != repeat.HEADER}
            self.parts.pairs.offer(Pair(step, call.entry, answer, headers, call.body))

    # up, or not at all

    async def _else(self, decision: Decision, call: _Call) -> Response | None:
        entry, parts = call.entry, self.parts
        if decision.where == "student":  # a defect of ours, which must not send what may stay at home
            raise RuntimeError("a call that a student was to answer has no answer")
        entry.task, entry.why, entry.reason = decision.task, decision.why, decision.reason
        entry.home, entry.saved = call.asked_cost, 0.0
        if decision.where == "refused":
            return self._refused(decision, call)
        if self.relay is None:
            said = decision.reason or "it is not a call that is answered at home"
            message = f"This call would go to the upstream ({said}), and there is none. Start with --upstream URL."
            entry.ends(503, "failed", failure("no_upstream", message))
            parts.ledger.write(entry)
            raise Refusal(503, message, "no_upstream")
        try:
            headers = within(call.request.headers, call.until)
        except Refusal as error:
            entry.answered_by = "nobody"
            entry.ends(error.http, "failed", failure(error.code, error.message), error.code)
            parts.ledger.write(entry)
            raise
        entry.answered_by = self.relay.fleet.kind
        bill = Bill(parts.spend, self.relay.fleet, call.key, entry.call.model, call.most)
        try:
            found = await self.relay.chat(call.request, headers, call.body, entry, bill.asked)
        finally:
            host = entry.more.get("host")
            if host and entry.http < 400 and entry.status != "failed":
                bill.answered(host, wire.usage_tokens(entry.response.get("usage")))
            else:
                bill.unanswered()
        self._after(call)
        return found

    def _refused(self, decision: Decision, call: _Call) -> Response | None:
        """A call that may not go up, and that no student may answer."""
        entry = call.entry
        code, message = "never_leaves", f"This task is declared never to leave the house ({decision.reason})."
        if call.quarantined:
            code, message = "quarantined", "This text made the student's engine fail twice."
        entry.answered_by = "nobody"
        entry.ends(422, "refused", failure(code, message))
        self.parts.ledger.write(entry)
        raise Refusal(422, message, code)

    def _after(self, call: _Call) -> None:
        """Once the upstream's answer is out: is it worth keeping, and what would the student have said?"""
        self._keep(call)
        pairs, fleet, more = self.parts.pairs, self.parts.fleet, call.entry.more
        first = fleet is not None and more.get("host") == fleet.hosts[0].name
        if pairs is not None and first and not more.get("redacted"):
            for step, text in call.free:
                pairs.free(step, call.entry, text)

    # the cache

    def _cached(self, call: _Call, steps: Any) -> bool:
        """Whether this call may be answered from the cache; sets the name of its answer there."""
        parts = self.parts
        if parts.cache is None or call.key is None or call.key.name not in parts.settings.cache.keys:
            return False
        policy = ";".join(
            f"{s.rung.student[:16]}:{s.rung.threshold}:{s.rung.open}:{s.stage.share if s.stage else 1}" for s in steps
        )
        call.cache = cached.key(call.tenant, call.entry.body, policy)
        return bool(call.cache)

    def _from_cache(self, call: _Call) -> Response | None:
        cache, entry = self.parts.cache, call.entry
        found = cache.get(call.cache) if cache is not None else None
        if found is None:
            return None
        told = cached.again(found, entry.id, int(entry.at))
        headers = [(ANSWERED_BY, "cache")]
        if entry.body.get("stream"):
            events = cached.events(told, usage=_wants_usage(entry.body))
            if events is None:
                return None
            response = Response(200, events, [EVENTS, *OWN_HEADERS[1:], *headers])
        else:
            response = Response(200, wire.dumps(told), [*OWN_HEADERS, *headers])
        entry.answered_by, entry.why = "cache", "cached"
        entry.ends(200, "complete", told)
        self.parts.ledger.write(entry)
        return response

    def _keep(self, call: _Call) -> None:
        if call.cache and self.parts.cache is not None and call.entry.status == "complete":
            self.parts.cache.put(call.cache, call.entry.http, call.entry.response)


def _worth(decision: Decision, seat: Seat) -> bool:
    """Whether to ask: of a closed rung only a quick student, since its word is for the record and somebody waits."""
    return decision.text is not None and (decision.where == "student" or seat.patience(PATIENCE) == PATIENCE)


def _wants_usage(body: dict[str, Any]) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def _used(entry: Entry) -> int | None:
    """Tokens that the call took after all; None where its answer doesn't say."""
    said = wire.usage_tokens(entry.response.get("usage"))
    return None if said is None else said.prompt + said.completion
