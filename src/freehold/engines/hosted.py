"""An open model at a host, asked for what the closed one was asked: a student without weights of its own.

    freehold.toml [upstreams.NAME] ─reach→ Reach(url, key, ...) ┐
    artefact: hosted.json (hosted_form.py)                      ┴→ HostedStudent.answers(texts) → [Answer(text, score)]

It is asked greedily (temperature 0). The score is a decoder's: exp(mean log-probability) of the answer's tokens, where
the host gives them; else 1 for every answer, so that the certificate keeps all of them or none. What the host cuts,
filters, refuses or can't take is not able, and goes up. A host that can't be reached raises UpstreamMissing: the call
goes up then, and a proof or a fit stops.

    429, 5xx, no answer   again after 0.5, 1, 2, ... s, as often as `tries` says     then UpstreamMissing
    400, 413, 422         this one request can't be answered                         not able
    any other, 3xx too    nothing can be asked like this                             UpstreamMissing
    the gate is shut      budget spent, or it rests after failures (hosted_gate.py)  UpstreamMissing
    nobody waits          the connection is shut (hosted_link.py)                    UpstreamMissing
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from freehold import wire
from freehold.engines.decoder import score
from freehold.engines.hosted_form import Form, in_the_house, is_outside
from freehold.engines.hosted_gate import Gate
from freehold.engines.hosted_link import Gone, Links, Lost, WrongAddress
from freehold.engines.hosts.guard import guard
from freehold.engines.hosts.secret import Secret, read_key
from freehold.engines.llama.completion import Completion
from freehold.errors import BadSetting, StudentUnusable, UpstreamMissing
from freehold.nouns import Answer, Message, Student, Tokens
from freehold.project import Settings
from freehold.project.settings import TaskSettings

__all__ = ["Clean", "Form", "Gate", "HostedStudent", "Reach", "check", "is_outside", "reach"]

Clean = Callable[[Sequence[str]], list[str]]
"""Takes private data out of the texts of one request."""
PARALLEL = 8  # requests at a time, where many texts are asked
BYTES = 3  # of a request for each token that it may have, where nobody said how many
PAUSE = 0.5  # seconds before the first further try
SPARED = (400, 413, 422)
MISSES = 1  # stored calls that may be answered otherwise than at the fit


@dataclass(frozen=True, slots=True)
class Reach:
    """How a host is reached. `clean` takes private data out of what it is asked (None: it may have it). `tries` counts
    the first one. `inside`: only at a loopback or private address, whatever its name says."""

    name: str
    url: str
    model: str
    key: Secret
    clean: Clean | None = None
    tries: int = 1
    inside: bool = False


def reach(
    settings: Settings, folder: Path, name: str, environ: Mapping[str, str], clean: Clean, *, tries: int = 1,
    task: str = "",
) -> Reach:  # fmt: skip
    """The open model's host [upstreams.NAME]. `clean` is used where freehold.toml says that private data stays; of a
    `task` that it declares never to leave the house, the host is asked only inside.

    Raises BadSetting where there is none, or it can't be a student; SecretExposed for a key that others can read.
    """
    said = settings.upstreams.get(name)
    if said is None:
        known = ", ".join(n for n, one in settings.upstreams.items() if one.open) or "none"
        raise BadSetting(f"freehold.toml has no [upstreams.{name}].", f"Open models in it: {known}.")
    if not said.open:
        raise BadSetting(
            f"[upstreams.{name}] does not say open = true, so it is a closed API.", "A student is an open model."
        )
    if not said.model:
        raise BadSetting(f"[upstreams.{name}] names no model.", 'Say which one is asked: model = "...".')
    redacts = (said.private or settings.private.leaves) == "redacted"
    key = read_key(said, folder, environ, name)
    inside = not settings.tasks.get(task, TaskSettings()).leaves
    return Reach(name, said.url.rstrip("/"), said.model, key, clean if redacts else None, tries, inside)


class HostedStudent:
    """Answers through the host. Safe to ask from several threads. `tokens` and `asked` count what the host billed."""

    def __init__(self, form: Form, to: Reach) -> None:
        """Raises StudentUnusable where freehold.toml says by now another host or model than was certified."""
        for what, then, now in (
            ("url", form.url, to.url),
            ("model", form.model, to.model),
            ("private data taken out", form.private, to.clean is not None),
        ):
            if then != now:
                raise StudentUnusable(
                    f"[upstreams.{form.host}]: {what} is {now!r}, and this student was made with {then!r}.",
                    f"Run: freehold tune --hosted {form.host}, and freehold prove.",
                )
        self.form = form
        self.parallel = PARALLEL  # calls that may be asked at a time, from as many threads
        self.tokens = Tokens()
        self.asked = 0
        self._to = to
        self._inside = to.inside
        self._gate: Gate | None = None
        self._guard = guard(to.url)
        self._links = Links(to.url, self._allowed)
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path, to: Callable[[str], Reach]) -> HostedStudent:
        """From an artefact. Raises ArtifactDamaged, BadSetting, SecretExposed, StudentUnusable."""
        form = Form.read(folder)
        return cls(form, to(form.host))

    def __repr__(self) -> str:
        return f"HostedStudent({self.form.model!r} at {self.form.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections. May be called again."""
        self._links.close()

    def limit(self, *, inside: bool = False, gate: Gate | None = None) -> None:
        """Before the first question: ask only `inside` the house (once said, for good), and only where `gate` opens."""
        self._inside = self._inside or inside
        self._gate = gate

    def _allowed(self, address: str) -> bool:
        return self._guard(address) and (not self._inside or in_the_house(address))

    def answers(self, texts: Sequence[str], /) -> list[Answer]:
        """Raises UpstreamMissing where the host does not answer."""
        if len(texts) < 2:
            return [self._answer(text) for text in texts]
        with ThreadPoolExecutor(min(PARALLEL, len(texts)), "hosted") as pool:
            asked = [pool.submit(self._answer, text) for text in texts]
            try:
                return [one.result() for one in asked]
            finally:  # what has not begun when one fails is not asked
                pool.shutdown(wait=False, cancel_futures=True)

    def answer_unless(self, text: str, gone: Callable[[], bool], /) -> Answer:
        """The answer. Once `gone()` is true nobody waits for it, and the connection is shut: UpstreamMissing."""
        return self._answer(text, gone)

    def gives_logprobs(self, text: str) -> bool:
        """Ask once, and see whether log-probabilities come back."""
        body = self._ask(text)
        return body is not None and bool(_logprobs(body))

    def _answer(self, text: str, gone: Callable[[], bool] | None = None) -> Answer:
        body = self._ask(text, gone)
        return Answer("", 0.0, able=False) if body is None else self._read(body)

    def _read(self, body: dict[str, Any]) -> Answer:
        try:
            call = wire.call_from_row({"request": {"messages": [{"role": "user"}]}, "response": body})
        except wire.RowError:
            raise self._missing("answered with no chat completion") from None
        said = wire.answer(call, self.form.kind)
        if said is None:  # cut, filtered, refused, or a tool call where none was asked for
            return Answer("", 0.0, able=False)
        if self.form.kind == "labels":
            said = said.strip()
            if said not in self.form.labels:  # no client has ever met such a label
                return Answer(said, 0.0, able=False)
        if not self.form.logprobs:
            return Answer(said, 1.0)
        return Answer(said, score(Completion(said, logprobs=_logprobs(body))))

    def _ask(self, text: str, gone: Callable[[], bool] | None = None) -> dict[str, Any] | None:
        """The host's whole answer; None where this request can't be answered."""
        built = self.form.messages(text)
        if built is None:
            return None
        messages, fields = built
        request = {"temperature": 0, "max_tokens": self.form.max_tokens, **self.form.fields, **fields}
        if self.form.logprobs:
            request["logprobs"] = True
        return self.chat(messages, request, gone)

    def chat(
        self, messages: list[Message], fields: Mapping[str, Any], gone: Callable[[], bool] | None = None
    ) -> dict[str, Any] | None:
        """The host's whole answer to any messages; None where they can't be answered. Raises UpstreamMissing."""
        if self._to.clean is not None:
            clean = self._to.clean([str(message["content"]) for message in messages])
            messages = [m | {"content": c} for m, c in zip(messages, clean, strict=True)]
        request = {"model": self.form.model, "messages": messages, "stream": False, **fields}
        return self._tried(msgspec.json.encode(request), gone)

    def _tried(self, data: bytes, gone: Callable[[], bool] | None) -> dict[str, Any] | None:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._to.key:
            headers["Authorization"] = f"Bearer {self._to.key.reveal()}"
        most = Tokens(len(data) // BYTES + 1, self.form.max_tokens)
        gate, why = self._gate, ""
        for attempt in range(self._to.tries):
            if attempt:
                time.sleep(PAUSE * 2.0 ** (attempt - 1))
            said, closed = gate.ask() if gate is not None else (1, "")
            if not said:
                raise self._missing(closed)
            try:
                status, body = self._links.post("/chat/completions", headers, data, gone)
            except WrongAddress:
                raise self._missing("has a name that leads to an address of another network") from None
            except Gone as error:  # says nothing about the host
                if error.sent:
                    self._bill(most)
                raise self._missing("was asked for an answer that nobody waits for any more") from None
            except (Lost, OSError) as error:
                if gate is not None:
                    gate.failed(said)
                if isinstance(error, Lost):
                    self._bill(most)
                why = f"can't be reached ({error if isinstance(error, Lost) else type(error).__name__})"
                continue
            if gate is not None:
                gate.answered(said, status)
            if status == 200:
                return self._counted(body, most)
            if status in SPARED:
                return None
            why = f"answered {status}"
            if status not in (408, 425, 429) and status < 500:
                break
        raise self._missing(why)

    def _counted(self, body: bytes, most: Tokens) -> dict[str, Any]:
        """The answer. What it took is billed by its usage; where that isn't said, as the most that it may have been."""
        try:
            found = wire.loads(body)
        except wire.RowError:
            found = None
        used = wire.usage_tokens(found.get("usage")) if isinstance(found, dict) else None
        with self._lock:
            self.asked += 1
            if used is not None:
                prompt, completion = self.tokens.prompt + used.prompt, self.tokens.completion + used.completion
                self.tokens = Tokens(prompt, completion)
        self._bill(most if used is None else used)
        if found is None:
            raise self._missing("answered with something that is no JSON")
        if not isinstance(found, dict) or found.get("error"):
            raise self._missing("answered with an error")
        return found

    def _bill(self, tokens: Tokens) -> None:
        if self._gate is not None:
            self._gate.used(self.form.model, tokens)

    def _missing(self, why: str) -> UpstreamMissing:
        host = urlsplit(self._to.url).netloc
        of = f" of [upstreams.{self._to.name}]" if self._to.name else ""
        return UpstreamMissing(f"The host {host}{of} {why}.", "Check its url, model and key, and that it runs.")


def _logprobs(body: Mapping[str, Any]) -> list[float]:
    """Those of the answer's tokens, in order; empty where the host gives none."""
    try:
        content = body["choices"][0]["logprobs"]["content"] or []
        return [min(0.0, float(one["logprob"])) for one in content]
    except (KeyError, IndexError, TypeError, ValueError):
        return []


def check(student: Student, checks: Sequence[Mapping[str, Any]]) -> float:
    """0.0 where the host answers the stored calls as it did, 1.0 where it doesn't: it is another model then.

    One of them may differ, and the scores are not compared: a host computes in batches whose make-up moves the last
    digits, so that even the same weights now and then break a tie the other way. Two of eight are another model, or
    another form of it.
    """
    answers = student.answers([row["text"] for row in checks])
    differ = sum(a.text != row["label"] for a, row in zip(answers, checks, strict=True))
    return 0.0 if differ <= MISSES * (len(checks) > 1) else 1.0
