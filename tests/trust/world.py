"""A small true world for the hostile: a project with a scripted student, a host that records, sockets by hand."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from freehold.nouns import (
    Audit,
    Evidence,
    LogFile,
    Measure,
    Repeats,
    Slot,
    Task,
    TaskStudent,
    Template,
    Tokens,
    Verdict,
)
from freehold.project import Project

SYSTEM = "Name the intent of the message. Intents: transfer, balance, other."
SCRIPT = {f"question {i}": ("balance", 0.95) for i in range(64)}
INTENTS = Task(
    name="intents", template=Template((Slot("system", SYSTEM), Slot("user", "", "", variable=True))), kind="labels",
    calls=1000, share=0.8, labels=("transfer", "balance", "other"), models=("gpt-4o-mini",), answer_tokens=3,
    money=Measure(2.0, unit="USD"), example="question 1",
)  # fmt: skip
EVIDENCE = Evidence(700, 300, 290, "0" * 64, 1, 0.95, 1.0, 0.05, 0.95, 1_790_000_000.0, Measure(None), "hold-out")
CHAT = "/v1/chat/completions"


def small_verdict(task: str, sha256: str = "", **changes: Any) -> Verdict:
    kept = Measure(0.8, 0.75, 0.85, 290)
    said: dict[str, Any] = {
        "task": task, "kind": "labels", "calls": 1000, "share": 0.8, "bar": 0.95, "confidence": 0.95,
        "decision": "move", "reason": "", "needed": None, "kept_home": kept, "agreement": kept, "threshold": 0.9,
        "evidence": EVIDENCE,
        "student": TaskStudent(sha256 or "0" * 64, "none", "MIT"), "asked": INTENTS,
        "made": "2026-10-02T00:00:00+00:00",
    }  # fmt: skip
    return Verdict(**said | changes)


def audit_of(*tasks: Task) -> Audit:
    none = Measure(None)
    log = LogFile(("calls.jsonl",), "0" * 64, "0" * 64, 2, 1)
    return Audit(log, 1250, 0, (), tasks, Tokens(), none, none, None, None, (), Repeats(0, 0, none))


def project_at(folder: Path, toml: str = "") -> Project:
    """A task with a scripted student that answers at once, and settings of the test's own."""
    project = Project.create(folder)
    checks = [{"text": text, "label": label, "score": score} for text, (label, score) in SCRIPT.items()]
    files: dict[str, bytes | Path] = {
        "script.json": json.dumps(SCRIPT).encode(), "checks.json": json.dumps(checks).encode(),
    }  # fmt: skip
    made = project.write_artifact(
        files, kind="scripted", task="intents", base="none", licence="MIT", recipe={}, data_sha256="0" * 64
    )
    project.save(audit_of(INTENTS))
    project.save(small_verdict("intents", made.sha256))
    (folder / "freehold.toml").write_text(f'pairs = 0.0\n{toml}\n[rollout]\nstart = "full"\n')
    return Project.open(folder)


def request(text: str = "Where is my parcel?", **fields: Any) -> dict[str, Any]:
    """A call of no task (it goes up); with a text of SCRIPT and the task's system message it stays home."""
    system = SYSTEM if text in SCRIPT else "You are an assistant."
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return {"model": "gpt-4o-mini", "messages": messages} | fields


def ask(port: int, raw: bytes, seconds: float = 30.0) -> tuple[int, bytes]:
    """Send bytes as they are, and read the first answer. Status 0: the connection was closed without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as line:
        with contextlib.suppress(ConnectionError):  # the answer may have come before all was sent
            line.sendall(raw)
        said = bytearray()
        while b"\r\n\r\n" not in said and (data := _some(line)):
            said += data
        head, _, body = bytes(said).partition(b"\r\n\r\n")
        length = next(
            (int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length")), None
        )
        while (length is None or len(body) < length) and b"0\r\n\r\n" not in body[-7:] and (data := _some(line)):
            body += data
    return (int(head.split(b" ")[1]) if head.startswith(b"HTTP/") else 0), body


def _some(line: socket.socket) -> bytes:
    try:
        return line.recv(65536)
    except ConnectionError:
        return b""


def post(port: int, body: bytes | dict[str, Any], path: str = CHAT, **headers: str) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", "Connection": "close"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return ask(port, f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)


@dataclass
class Host:
    """An OpenAI-compatible host that keeps what it is sent. `says` is the answer's text; `fails` an error's."""

    says: str = "transfer"
    fails: str = ""
    seen: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> ThreadingHTTPServer:
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer(b"")

            def do_POST(self) -> None:
                self.answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def answer(self, body: bytes) -> None:
                host.seen.append(f"{self.command} {self.path}")
                host.bodies.append(body)
                host.headers.append({k.lower(): v for k, v in self.headers.items()})
                status, said = host.reply()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server

    def reply(self) -> tuple[int, bytes]:
        if self.fails:
            return 400, json.dumps({"error": {"message": self.fails, "type": "invalid_request_error"}}).encode()
        message = {"role": "assistant", "content": self.says}
        said = {
            "id": "chatcmpl-up", "object": "chat.completion", "created": 1_790_000_001, "model": "gpt-4o-mini",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42},
        }  # fmt: skip
        return 200, json.dumps(said).encode()
