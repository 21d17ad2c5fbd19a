"""A teacher at a host: a server that the team runs and that speaks OpenAI's API (vLLM, llama.cpp, SGLang, Ollama).

    --teacher http://127.0.0.1:8000/v1#Qwen/Qwen3-32B     an address in the house: loopback, private, or a local name
    --teacher local                                       [upstreams.local] in freehold.toml: its key, and whether
                                                          private data is taken out of what it is asked

A url that leads out of the house is not taken: [upstreams.NAME] says then what may leave. Which weights answer is the
server's word. It says so in each answer, and a closed model's name there ends the asking: a proxy may serve it under
another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from freehold import wire
from freehold.engines.hosted import Form, HostedStudent, Reach, is_outside, reach
from freehold.engines.hosts.secret import Secret
from freehold.errors import BadSetting
from freehold.nouns import Task
from freehold.project import Project, Settings
from freehold.project.settings import TaskSettings
from freehold.traffic.private import redact_together
from freehold.tune.synthetic.made import Said
from freehold.tune.synthetic.voice import Wanted

__all__ = ["Host", "is_host", "reach_of", "speaking"]

TRIES = 5
PARALLEL = 8
STOPPED = {"stop": "eos", "length": "length"}
LIKE = "Give it as http://127.0.0.1:8000/v1#MODEL, or as the name of an [upstreams.NAME] in freehold.toml."


def is_host(named: str, settings: Settings) -> bool:
    return named in settings.upstreams or named.lower().startswith(("http://", "https://"))


def reach_of(named: str, project: Project, task: Task) -> Reach:
    """How it is reached. Raises BadSetting, SecretExposed."""
    settings = project.settings
    if named in settings.upstreams:
        at = reach(settings, project.path, named, os.environ, redact_together, tries=TRIES, task=task.name)
        if is_outside(at.url) and not settings.tasks.get(task.name, TaskSettings()).leaves:
            raise BadSetting(
                f"{task.name} is declared never to leave the house, and [upstreams.{named}] is outside of it.",
                "Take a teacher with a local address, or remove leaves = false.",
            )
        return at
    url, _, model = named.partition("#")
    _check(url, model)
    return Reach("", url.rstrip("/"), model, Secret(""), tries=TRIES, inside=True)


def _check(url: str, model: str) -> None:
    """The url is not repeated: somebody may have written a key into it."""
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        whole, parts = False, urlsplit("")
    if not whole:
        raise BadSetting("--teacher is a url without a host.", LIKE)
    if parts.username or parts.password or parts.query:
        raise BadSetting(
            f"--teacher: the url of {parts.hostname} holds a user, a password or a query.",
            "A key goes into freehold.toml: [upstreams.NAME] with key_env or key_file, and --teacher NAME.",
        )
    if not model.strip():
        raise BadSetting(f"--teacher names no model at {parts.hostname}.", LIKE)
    if is_outside(url):
        raise BadSetting(
            f"--teacher: {parts.hostname} is outside the house, and rows of the log would go there.",
            "Where they may, say so in freehold.toml: [upstreams.NAME] with open = true, and --teacher NAME.",
        )


@contextmanager
def speaking(at: Reach, check: Callable[[str], None]) -> Iterator[Host]:
    form = Form(host=at.name, url=at.url, model=at.model, kind="text", slots=(), private=at.clean is not None)
    with HostedStudent(form, at) as asked:
        yield Host(asked, check)


class Host:
    """`check` raises for the name of a model that may not teach."""

    parallel = PARALLEL

    def __init__(self, asked: HostedStudent, check: Callable[[str], None]) -> None:
        self._asked = asked
        self._check = check

    def say(self, wanted: Wanted, /) -> Said:
        """Raises UpstreamMissing, TermsBlocked."""
        fields: dict[str, Any] = {"temperature": wanted.temperature, "max_tokens": wanted.tokens, "seed": wanted.seed}
        if wanted.stop:
            fields["stop"] = list(wanted.stop)
        if wanted.schema is not None:
            schema = {key: value for key, value in wanted.schema.items() if key != "x-guidance"}
            fields["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        body = self._asked.chat(list(wanted.messages), fields)
        return Said("", "refused") if body is None else self._read(body)

    def _read(self, body: dict[str, Any]) -> Said:
        self._check(str(body.get("model") or ""))
        try:
            call = wire.call_from_row({"request": {"messages": [{"role": "user"}]}, "response": body})
        except wire.RowError:
            return Said("", "refused")
        return Said((call.answer or "").strip(), STOPPED.get(call.finish or "", "refused"))
