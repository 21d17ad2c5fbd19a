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
"""

from __future__ import annotations

import http.client
import ssl
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
from freehold.engines.hosted_form import Form, is_outside
from freehold.engines.hosts.guard import guard
from freehold.engines.hosts.secret import Secret, read_key
from freehold.engines.llama.completion import Completion
from freehold.errors import BadSetting, StudentUnusable, UpstreamMissing
from freehold.nouns import Answer, Student, Tokens
from freehold.project import Settings

__all__ = ["Clean", "Form", "HostedStudent", "Reach", "check", "is_outside", "reach"]

Clean = Callable[[Sequence[str]], list[str]]
"""Takes private data out of the texts of one request."""
PARALLEL = 8  # requests at a time, where many texts are asked
CONNECT = 5.0  # seconds
BETWEEN = 60.0  # seconds without a byte
TOTAL = 120.0  # seconds of a whole answer
LONGEST = 16 << 20  # bytes of an answer
PIECE = 64 << 10
PAUSE = 0.5  # seconds before the first further try
SPARED = (400, 413, 422)
MISSES = 1  # stored calls that may be answered otherwise than at the fit


@dataclass(frozen=True, slots=True)
class Reach:
    """How a host is reached. `clean` takes private data out of what it is asked (None: it may have it). `tries` counts
    the first one."""

    name: str
    url: str
    model: str
    key: Secret
    clean: Clean | None = None
    tries: int = 1


def reach(
    settings: Settings, folder: Path, name: str, environ: Mapping[str, str], clean: Clean, *, tries: int = 1
) -> Reach:
    """The open model's host [upstreams.NAME]. `clean` is used where freehold.toml says that private data stays.

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
    return Reach(name, said.url.rstrip("/"), said.model, key, clean if redacts else None, tries)


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
        self._allowed = guard(to.url)
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []

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
        with self._lock:
            held, self._idle = self._idle, []
        for connection in held:
            connection.close()

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

    def gives_logprobs(self, text: str) -> bool:
        """Ask once, and see whether log-probabilities come back."""
        body = self._ask(text)
        return body is not None and bool(_logprobs(body))

    def _answer(self, text: str) -> Answer:
        body = self._ask(text)
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

    def _ask(self, text: str) -> dict[str, Any] | None:
        """The host's whole answer; None where this request can't be answered."""
        built = self.form.messages(text)
        if built is None:
            return None
        messages, fields = built
        if self._to.clean is not None:
            clean = self._to.clean([str(message["content"]) for message in messages])
            messages = [m | {"content": c} for m, c in zip(messages, clean, strict=True)]
        request = {"model": self.form.model, "messages": messages, "temperature": 0, "stream": False}
        request |= {"max_tokens": self.form.max_tokens, **self.form.fields, **fields}
        if self.form.logprobs:
            request["logprobs"] = True
        return self._tried(msgspec.json.encode(request))

    def _tried(self, data: bytes) -> dict[str, Any] | None:
        why = ""
        for attempt in range(self._to.tries):
            if attempt:
                time.sleep(PAUSE * 2.0 ** (attempt - 1))
            try:
                status, body = self._post(data)
            except (OSError, http.client.HTTPException) as error:
                why = f"can't be reached ({type(error).__name__})"
                continue
            if status == 200:
                return self._counted(body)
            if status in SPARED:
                return None
            why = f"answered {status}"
            if status not in (408, 425, 429) and status < 500:
                break
        raise self._missing(why)

    def _counted(self, body: bytes) -> dict[str, Any]:
        try:
            found = wire.loads(body)
        except wire.RowError:
            raise self._missing("answered with something that is no JSON") from None
        if not isinstance(found, dict) or found.get("error"):
            raise self._missing("answered with an error")
        usage = found.get("usage")
        used = usage if isinstance(usage, dict) else {}
        prompt, completion = (used.get(name) for name in ("prompt_tokens", "completion_tokens"))
        with self._lock:
            self.asked += 1
            if isinstance(prompt, int) and isinstance(completion, int):
                self.tokens = Tokens(self.tokens.prompt + prompt, self.tokens.completion + completion)
        return found

    def _missing(self, why: str) -> UpstreamMissing:
        host = urlsplit(self._to.url).netloc
        return UpstreamMissing(
            f"The host {host} of [upstreams.{self._to.name}] {why}.", "Check its url, model and key, and that it runs."
        )

    def _post(self, data: bytes) -> tuple[int, bytes]:
        """One request, on a connection that is idle if there is one. If the host has closed it by now, on a new one."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._send(kept, data)
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                pass
        return self._send(self._connected(), data)

    def _connected(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._to.url)
        host = parts.hostname or ""
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(
                host, parts.port, timeout=CONNECT, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(host, parts.port, timeout=CONNECT)
        connection.connect()
        if not self._allowed(connection.sock.getpeername()[0]):
            connection.close()
            raise self._missing("has a name that leads to an address of another network")
        connection.sock.settimeout(BETWEEN)
        return connection

    def _send(self, connection: http.client.HTTPConnection, data: bytes) -> tuple[int, bytes]:
        until = time.monotonic() + TOTAL
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._to.key:
            headers["Authorization"] = f"Bearer {self._to.key.reveal()}"
        whole = False
        try:
            connection.request("POST", f"{urlsplit(self._to.url).path}/chat/completions", data, headers)
            response = connection.getresponse()
            body = bytearray()
            while piece := response.read1(PIECE):
                body += piece
                if len(body) > LONGEST or time.monotonic() > until:
                    raise http.client.HTTPException("too long an answer")
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
            response.read()  # read1 leaves a response that is read to its end open
            whole = True
        finally:
            if not whole:
                connection.close()
        if connection.sock is not None:  # the host keeps it open
            with self._lock:
                self._idle.append(connection)
        return response.status, bytes(body)


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
