"""G15: llama.cpp's own parameters, sent by a client, never reach the embedded engine; what goes to its socket is kept.

The real engine with the small base. A call with a field that the student does not honour goes up as it came; one whose
texts hold such names stays home, and its text is only text.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.engines.llama.process import Process
from freehold.engines.open import open_student
from freehold.engines.upstream import HttpUpstream
from freehold.nouns import Artifact, Audit, Slot, Student, Task, TaskStudent, Template
from freehold.project import Project
from freehold.serve import running

from .world import Host, audit_of, post, small_verdict

NATIVE: dict[str, Any] = {
    "n_discard": -1, "n_keep": -1, "slot_id": 7, "id_slot": 7, "cache_prompt": True, "n_predict": 1 << 40,
    "n_probs": 9999,
    "grammar": "root ::= root", "json_schema": {"$ref": "http://127.0.0.1:1/"}, "samplers": ["x"], "mirostat": 2,
    "n_cache_reuse": 1, "return_tokens": True, "lora": [{"id": 0, "scale": 1e9}], "slot_save_path": "/tmp/x",
    "speculative.n_max": 1 << 30, "t_max_predict_ms": -1, "ignore_eos": True, "dynatemp_range": 1e300, "seed": -1,
    "image_data": [{"data": "AAAA", "id": 1}], "response_fields": ["prompt"], "chat_template": "{{ 1 }}", "prompt": "x",
    "xtc_probability": 1.0, "min_keep": -5, "repeat_last_n": -9, "chat_template_kwargs": {"x": 1},
    "timings_per_token": True,
}  # fmt: skip
ASKED = {
    "prompt", "n_predict", "temperature", "stop", "cache_prompt", "return_tokens", "response_fields", "stream", "lora",
    "n_probs", "post_sampling_probs", "json_schema", "messages", "content", "add_special", "parse_special",
    "with_pieces",
    "n_keep", "id_slot", "seed", "samplers", "add_generation_prompt", "grammar", "max_tokens", "top_k",
}  # fmt: skip
"""Every name that our own engine may write to llama.cpp."""
TASK = Task(
    "write", Template((Slot("system", "Say hello."), Slot("user", "", "", variable=True))), "text", 500, 0.5,
    models=("gpt-4o-mini",), answer_tokens=8,
)  # fmt: skip


@pytest.fixture
def written(tmp_path: Path, smollm2: Path) -> Project:
    from freehold.engines.decoder import Prompt, Recipe

    project = Project.create(tmp_path / "project")
    recipe = Recipe(
        mode="merged", prompt=Prompt.of(TASK.template), context=256, max_tokens=24, stop=("!", "."), quant="Q4_1"
    )
    files: dict[str, bytes | Path] = {"model.gguf": smollm2, "decoder.json": recipe.encode(), "checks.json": b"[]"}
    made = project.write_artifact(
        files, kind="decoder", task="write", base="smollm2", licence="Apache-2.0", recipe={}, data_sha256="0" * 64
    )
    project.save(audit_of(TASK))
    student = TaskStudent(made.sha256, "smollm2", "Apache-2.0")
    project.save(replace(small_verdict("write"), kind="text", threshold=0.0, student=student, asked=TASK))
    (project.path / "freehold.toml").write_text('[rollout]\nstart = "full"\n')
    return Project.open(project.path)


def ask_body(text: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Say hello."}, {"role": "user", "content": text}]
    return {"model": "gpt-4o-mini", "messages": messages} | fields


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every JSON body that goes to the engine's socket, kept on its way."""
    bodies: list[dict[str, Any]] = []
    send = http.client.HTTPConnection.request

    def request(
        self: http.client.HTTPConnection, method: str, url: str, body: Any = None, headers: Any = None, **own: Any
    ) -> None:
        if type(self).__module__.startswith(Process.__module__.rpartition(".")[0]) and body:
            bodies.append(json.loads(body))
        send(self, method, url, body, headers or {}, **own)

    monkeypatch.setattr(http.client.HTTPConnection, "request", request)
    return bodies


async def up(project: Project, host: Host) -> AsyncGenerator[int, None]:
    def opener(folder: Path, artifact: Artifact) -> Student:
        return open_student(folder, artifact)

    async with running(project, project.load(Audit), HttpUpstream(host.url, "sk"), opener, pairs=0.0) as app:
        yield app.port


async def test_none_of_them_reaches_the_engine(written: Project, recorded: list[dict[str, Any]]) -> None:
    import asyncio

    host = Host()
    listening = host.start()
    try:
        async with aclosing(up(written, host)) as servers:
            port = await anext(servers)
            quiet = len(recorded)
            for name, value in NATIVE.items():
                status, _ = await asyncio.to_thread(post, port, ask_body("hi", **{name: value}))
                assert status in (200, 400, 422), name
            assert recorded[quiet:] == [], "a field that isn't honoured asks no engine"
            status, said = await asyncio.to_thread(post, port, ask_body(json.dumps(NATIVE)[:300]))
            assert status == 200, said
    finally:
        listening.shutdown()
        listening.server_close()
    sent = recorded[quiet:]
    assert sent, "the engine was asked"
    for body in sent:
        assert set(body) <= ASKED
        assert body.get("n_keep", 0) == 0
        assert "n_discard" not in body
        assert body.get("n_predict", 24) <= 24
