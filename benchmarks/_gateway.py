"""What gateway.py and trust/ share: the stand-in upstream, the gateways in front of it, their CPU and memory.

    with upstream() as up, freehold(folder, up.url) as ours: load({"port": ours.port, ...}); ours.cpu(); ours.rss()

    freehold   `python -m freehold serve PROJECT --upstream URL --port 0 --json --pairs 0`, limits and ledger on
    nginx      proxy_pass with kept connections, no buffering, one worker
    litellm    the proxy, one worker, no database, no callbacks: its lightest setting

CPU and memory are a process's own and its children's, from /proc.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _run

CHAT = "/v1/chat/completions"
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LITELLM = "1.108.7"  # from 1.108.8 on a package that litellm[proxy] pins is not to be had
KEY = "sk-6d0f3c1b9a8e47d2b5c4f7a1e09d8362"  # what every client sends; LiteLLM starts with a key alone
SYSTEM = "You are a helpful assistant of the shop."
ADDRESSES = [f"127.0.1.{i}" for i in range(1, 33)]  # loopback sources: a limit a client address is held to each


@dataclass
class Server:
    """A process that listens. `url` is its base URL with /v1."""

    name: str
    port: int
    process: subprocess.Popen[Any]
    log: Path | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def pids(self) -> list[int]:
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    todo += [int(child) for child in task.read_text().split()]
        return found

    def cpu(self) -> float:
        """CPU seconds so far, of it and its children, living and waited for."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(int(fields[i]) for i in (11, 12, 13, 14))
        return total / TICK

    def rss(self) -> float:
        """MiB in memory, of it and its children."""
        pages = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * PAGE / 2**20

    def handles(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def upstream(delay: float = 0.0, gap: float = 0.002, port: int = 0) -> Iterator[Server]:
    argv = [sys.executable, str(_run.PEERS / "standin.py"), str(port), "--delay", str(delay), "--gap", str(gap)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    server = Server("stand-in", json.loads(process.stdout.readline())["port"], process)
    try:
        yield server
    finally:
        server.process.kill()  # trust/soak.py puts another in its place
        server.process.wait()


def seen(up: Server) -> dict[str, int]:
    """What the stand-in counted: calls, clients that left before their answer, open connections."""
    line = http.client.HTTPConnection("127.0.0.1", up.port, timeout=10)
    line.request("GET", "/seen")
    found: dict[str, int] = json.loads(line.getresponse().read())
    line.close()
    return found


# freehold


def small_project(folder: Path, toml: str = "") -> Path:
    """A project of two tasks with no student: every call is routed, and goes up."""
    from freehold.nouns import Audit, LogFile, Measure, Repeats, Slot, Task, Template, Tokens
    from freehold.project import Project

    project = Project.create(folder)
    none = Measure(None)
    names = ", ".join(f"intent_{i}" for i in range(150))
    intents = Template((Slot("system", f"Name the intent. Intents: {names}."), Slot("user", "", "", variable=True)))
    poems = Template((Slot("user", "Write a poem about ", "", variable=True),))
    tasks = (
        Task("intents", intents, "labels", 1000, 0.8, labels=("balance",), models=("gpt-4o-mini",), answer_tokens=2),
        Task("poems", poems, "text", 250, 0.2),
    )
    log = LogFile(("calls.jsonl",), "0" * 64, "0" * 64, 2, 1)
    project.save(Audit(log, 1250, 0, (), tasks, Tokens(), none, none, None, None, (), Repeats(0, 0, none)))
    settings(folder, toml)
    return folder


def settings(folder: Path, toml: str) -> None:
    """Put `toml` in the place of freehold.toml's tables; students answer at once (no shadow)."""
    (folder / "freehold.toml").write_text(f'pairs = 0.0\n{toml}\n[rollout]\nstart = "full"\n')


def label_project(folder: Path, toml: str = "") -> tuple[Path, list[dict[str, Any]]]:
    """student.py's project (a certified label student of the bundled log), copied; and requests it keeps home."""
    from student import project, world

    made = project(0.99)
    if not folder.exists():
        shutil.copytree(made, folder, ignore=shutil.ignore_patterns("ledger", "rungs.jsonl"))
        (folder / "ledger").mkdir()
    settings(folder, toml)
    student, _, _, calls = world(folder)
    verdict = next(iter(_verdicts(folder)))
    texts = [call.messages[-1]["content"] for call in calls]
    sure = [call for call, said in zip(calls, student.answers(texts), strict=True) if said.score >= verdict.threshold]
    return folder, [{"model": c.model, "messages": c.messages, **c.params} for c in sure[:1000]]


def _verdicts(folder: Path) -> Any:
    from freehold.project import Project

    return Project.open(folder).verdicts()


@contextlib.contextmanager
def freehold(
    folder: Path, up: str | None, *args: str, env: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[Server]:
    argv = [sys.executable, "-m", "freehold", "serve", str(folder), "--port", "0", "--json"]
    argv += ["--upstream", up] if up else []
    place = log or folder.parent / f"{folder.name}.log"
    with place.open("ab") as out:
        process = subprocess.Popen(
            [*argv, *args], stdout=subprocess.PIPE, stderr=out, text=True,
            env={**os.environ, "FREEHOLD_UPSTREAM_KEY": "sk-upstream-benchmark", **(env or {})},
        )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.readline()
    if not said:
        raise SystemExit(f"freehold serve ended with {process.wait()}: {place.read_text()[-2000:]}")
    port = int(json.loads(said)["url"].split(":")[2].split("/")[0])
    server = Server("freehold", port, process, place)
    try:
        yield server
    finally:
        server.stop()


# peers


@contextlib.contextmanager
def nginx(up: Server) -> Iterator[Server | None]:
    """None where nginx isn't installed."""
    program = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
    if program is None:
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(
            f"worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log crit;\n"
            "events { worker_connections 4096; }\n"
            f"http {{ access_log {folder}/access.log; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;\n"
            f" fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f" upstream u {{ server 127.0.0.1:{up.port}; keepalive 64; }}\n"
            f" server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://u; proxy_http_version 1.1;\n"
            '  proxy_set_header Connection ""; proxy_buffering off; } } }\n'
        )
        process = subprocess.Popen([program, "-c", str(config), "-p", folder], stderr=subprocess.DEVNULL)
        server = Server("nginx", port, process)
        try:
            wait_for(port, 10)
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def litellm(up: Server) -> Iterator[Server | None]:
    """The proxy, started; `ready` waits for it. None where it does not install here."""
    try:
        python = _run.venv("litellm", [f"litellm[proxy]=={LITELLM}"])
    except SystemExit as error:
        _run.say(f"litellm is not here: {error}")
        yield None
        return
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(
            "model_list:\n  - model_name: gpt-4o-mini\n    litellm_params:\n      model: openai/gpt-4o-mini\n"
            f"      api_base: {up.url}\n      api_key: sk-upstream-benchmark\n"
            "litellm_settings:\n  telemetry: false\n  drop_params: false\n  num_retries: 0\n"
        )
        argv = [str(python.with_name("litellm")), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
        env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": KEY}
        out = (_run.CACHE / "litellm.log").open("wb")
        process = subprocess.Popen([*argv, "--num_workers", "1"], stdout=out, stderr=out, env=env, cwd=folder)
        server = Server("LiteLLM", port, process, _run.CACHE / "litellm.log")
        try:
            yield server
        finally:
            server.stop()


def wait_for(port: int, seconds: float, process: subprocess.Popen[Any] | None = None) -> bool:
    """Until something listens there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.05)
    return False


def bodies(stream: bool = False, **fields: Any) -> list[str]:
    """Requests of no task that is served: 16 questions to the shop's assistant."""
    asked = [f"Where is my parcel number {i} that I ordered last week on Monday evening?" for i in range(16)]
    return [
        json.dumps({
            "model": "gpt-4o-mini",
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}],
            "temperature": 0, **({"stream": True} if stream else {}), **fields,
        })
        for text in asked
    ]  # fmt: skip


def job(server: Server, **how: Any) -> dict[str, Any]:
    """A load job on a server's chat route."""
    known = {"port": server.port, "path": CHAT, "headers": {"Authorization": f"Bearer {KEY}"}, "bodies": bodies()}
    return known | how


def client_keys(project: Path, names: tuple[str, ...]) -> dict[str, str]:
    """A client key for each name, made by `freehold keys`."""
    made: dict[str, str] = {}
    for name in names:
        argv = [sys.executable, "-m", "freehold", "keys", "add", name, "--project", str(project), "--json"]
        said = json.loads(_run.must(_run.child(argv), "freehold keys").out)
        made[name] = said["key"]
    return made
