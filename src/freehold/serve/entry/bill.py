"""What a call that goes up costs, and who pays: put aside before, counted once it is back.

an answer with usage       its tokens, at the price of the model that its host was asked for
an answer without          all that was put aside: what a model thinks is in no text (a stream says its usage where
                           its client asks for it: stream_options.include_usage)
no answer, but bytes went  the prompt: a host that was too slow, or broke off; a client that waited no longer
refused, 4xx, 5xx          nothing
"""

from __future__ import annotations

from freehold.engines.hosts.fleet import Fleet
from freehold.keys import Key
from freehold.nouns import Tokens
from freehold.serve.entry.spend import Most, Spend

__all__ = ["Bill"]


class Bill:
    """One call's. `asked` is filled by the fleet: the hosts that its bytes went to, less those that refused it."""

    def __init__(self, spend: Spend, fleet: Fleet, key: Key | None, model: str, most: Most) -> None:
        """`model` is the client's. Raises Denied where the key's budget has not so much left."""
        self.asked: list[str] = []
        self._spend, self._fleet, self._model, self._most = spend, fleet, model, most
        self._held = spend.reserve(key, [host.model or model for host in fleet.hosts], most)

    def answered(self, host: str, tokens: Tokens | None) -> None:
        """`tokens` are those that the answer says, None where it doesn't."""
        if host in self.asked:
            self.asked.remove(host)
        for usd in self._prompts():  # a host that failed before this one
            self._held.charge(usd or 0.0)
        if self._spend.counts(self._held, host):
            model = self._named(host)
            self._spend.settle(self._held, model, tokens)
            self._spend.bill(host, model, tokens or Tokens(self._most.prompt, self._most.answer))

    def unanswered(self) -> None:
        """No answer came."""
        costs = self._prompts()
        if not costs:
            self._held.cancel()
            return
        known = [usd for usd in costs if usd is not None]
        self._held.settle(sum(known) if len(known) == len(costs) else None)

    def _prompts(self) -> list[float | None]:
        """USD of the prompt at each host that was asked, and billed to it."""
        prompt, hosts = Tokens(self._most.prompt), [one for one in self.asked if self._spend.counts(self._held, one)]
        for host in hosts:
            self._spend.bill(host, self._named(host), prompt)
        return [self._spend.prices.of(self._named(host), prompt) for host in hosts]

    def _named(self, host: str) -> str:
        """The model that a host is asked for."""
        return next((one.model for one in self._fleet.all if one.name == host), "") or self._model
