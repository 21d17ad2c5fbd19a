"""G12: twelve secrets are planted; a server is asked, misused and made to fail; no log, answer or file holds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.project import Project

from .world import Host, ask, audit_of, post, request

NAMES = ("upstream_key", "openai_key", "client_key", "cookie", "organization", "x_api_key", "forwarded", "query",
         "password_in_url", "prompt", "header_name", "env_file")  # fmt: skip
SECRET = {name: f"CANARY-{i:02d}-{name.replace('_', '-')}-7f3a9c" for i, name in enumerate(NAMES)}


@pytest.fixture
def said(tmp_path: Path) -> dict[str, str]:
    """Everything that a server said and wrote while it was misused, by where it stood."""
    project, host = Project.create(tmp_path / "project"), Host()
    listening = host.start()
    project.save(audit_of())
    (project.path / "freehold.toml").write_text('pairs = 0.0\n[ledger]\ncontent = "off"\n')
    env = os.environ | {
        "FREEHOLD_UPSTREAM_KEY": SECRET["upstream_key"], "OPENAI_API_KEY": SECRET["openai_key"],
        "AWS_SECRET_ACCESS_KEY": SECRET["env_file"], "PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1",
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "freehold",
        "serve",
        str(project.path),
        "--upstream",
        host.url,
        "--port",
        "0",
        "--json",
    ]
    with (tmp_path / "stderr").open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True, env=env)
    assert process.stdout is not None
    first = process.stdout.readline()
    answers: list[bytes] = []
    try:
        port = int(json.loads(first)["url"].split(":")[2].split("/")[0])
        misuse(port, host, answers)
    finally:
        process.terminate()
        rest, _ = process.communicate(timeout=40)
        listening.shutdown()
        listening.server_close()
    files = {str(p): p.read_bytes().decode(errors="replace") for p in project.path.rglob("*") if p.is_file()}
    for verb in (["report", "--project", str(project.path)], ["doctor"]):
        command = [sys.executable, "-m", "freehold", *verb]
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
        files[" ".join(verb)] = done.stdout + done.stderr
    host_bodies = b"".join(host.bodies).decode(errors="replace")
    assert SECRET["prompt"] in host_bodies, "the prompt itself does go up"
    assert any(SECRET["upstream_key"] in h.get("authorization", "") for h in host.headers), "and the key, to its host"
    headers = "\n".join(f"{k}: {v}" for h in host.headers for k, v in h.items() if k != "authorization")
    return files | {
        "stdout": first + rest, "stderr": (tmp_path / "stderr").read_text(), "headers that went up": headers,
        "answers": b"".join(answers).decode(errors="replace"),
    }  # fmt: skip


def misuse(port: int, host: Host, answers: list[bytes]) -> None:
    headers = {
        "Authorization": f"Bearer {SECRET['client_key']}", "Cookie": f"session={SECRET['cookie']}",
        "OpenAI-Organization": SECRET["organization"], "X-Api-Key": SECRET["x_api_key"],
        "X-Forwarded-For": SECRET["forwarded"], SECRET["header_name"]: "1",
    }  # fmt: skip
    said = request(f"my number is {SECRET['prompt']}")
    for body in (said, said | {"stream": True}, said | {"model": 1}, said | {"messages": []}):
        answers.append(post(port, body, **headers)[1])
    answers.append(post(port, said, path=f"/v1/chat/completions?api_key={SECRET['query']}", **headers)[1])
    answers.append(post(port, said, path=f"/v1/chat/completions?{SECRET['query']}\x01", **headers)[1])
    host.fails = f"Incorrect API key provided: {SECRET['upstream_key']}"
    answers.append(post(port, said, **headers)[1])
    host.fails = ""
    host.says = f"your key is {SECRET['upstream_key']}"
    answers.append(post(port, said | {"stream": True}, **headers)[1][:0])  # what a model says is its own; the row isn't
    host.says = "fine"
    broken = json.dumps(said)[:-1].encode()
    answers.append(post(port, broken, **headers)[1])
    for line in (f"GET /{SECRET['query']} HTTP/1.1", f"BREW /v1/{SECRET['query']} HTTP/1.1", f"{SECRET['query']}"):
        answers.append(ask(port, f"{line}\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())[1])
    url = f"http://user:{SECRET['password_in_url']}@127.0.0.1:{port}/v1/chat/completions"
    answers.append(post(port, said, path=url, **headers)[1])
    for path in ("/health", "/metrics", "/ready", "/v1/models"):
        answers.append(
            ask(port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())[1]
        )


def test_no_secret_is_anywhere(said: dict[str, str]) -> None:
    assert len(said["stderr"]) > 20
    assert any("ledger" in place and text for place, text in said.items()), "rows were written"
    found = [(name, place) for name, secret in SECRET.items() for place, text in said.items() if secret in text]
    assert found == []


def test_a_bad_start_says_no_key(tmp_path: Path) -> None:
    env = os.environ | {"FREEHOLD_UPSTREAM_KEY": SECRET["upstream_key"] + "\nx"}
    url = f"http://user:{SECRET['password_in_url']}@127.0.0.1:1/v1"
    project = Project.create(tmp_path / "project")
    project.save(audit_of())
    for address in (url, "http://127.0.0.1:1/v1", "ftp://127.0.0.1/v1"):
        done = subprocess.run(
            [sys.executable, "-m", "freehold", "serve", str(project.path), "--upstream", address, "--port", "1"],
            capture_output=True, text=True, env=env, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode != 0
        assert "CANARY" not in done.stdout + done.stderr, done.stderr
