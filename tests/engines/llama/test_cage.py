"""The engine's process has no network, no new privileges, no secrets, and no core dump; its Unix socket works."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.llama.cage import environment
from freehold.engines.llama.completion import Request
from freehold.engines.llama.engine import Engine
from freehold.errors import MissingExtra

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
SECRETS = {
    "OPENAI_API_KEY": "sk-one", "FREEHOLD_UPSTREAM_KEY": "sk-two", "AWS_SECRET_ACCESS_KEY": "sk-three",
    "HF_TOKEN": "hf", "LLAMA_ARG_API_KEY": "sk-four", "GGML_SECRET": "sk-five", "DATABASE_URL": "postgres://u:p@h",
}  # fmt: skip

PROBE = """
    import json, os, socket, sys
    from freehold.engines.llama.cage import enter

    port, path = int(sys.argv[1]), sys.argv[2]

    def tried(connect):
        try:
            connect()
        except OSError as error:
            return type(error).__name__ + ": " + str(error)
        return "connected"

    before = tried(lambda: socket.create_connection(("127.0.0.1", port), 5))
    if sys.argv[3] == "user":  # as a user without rights: root gives them up first
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
    network = enter()
    unix = socket.socket(socket.AF_UNIX)
    status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
    print(json.dumps({
        "before": before, "network": network,
        "after": tried(lambda: socket.create_connection(("127.0.0.1", port), 5)),
        "outside": tried(lambda: socket.create_connection(("192.0.2.1", 80), 5)),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "unix": tried(lambda: unix.connect(path)),
        "uid": os.geteuid(),
        "new_privileges": status["NoNewPrivs"].strip() == "0",
        "capabilities": status["CapEff"].strip(),
    }))
"""


def probed(tmp_path: Path, who: str) -> dict[str, Any]:
    """What a process can still do after it entered the cage."""
    folder = tmp_path / "talk"
    folder.mkdir(mode=0o755)
    for parent in [folder, *folder.parents]:  # the probe may be another user; a worker of several has a folder more
        if parent.stat().st_uid == os.geteuid() and "pytest" in str(parent):
            parent.chmod(0o755)
    path = str(folder / "s")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        os.chmod(path, 0o777)
        unix.listen()
        command = [sys.executable, "-c", textwrap.dedent(PROBE), str(tcp.getsockname()[1]), path, who]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["before"] == "connected"
    assert not found["new_privileges"]
    return found


@pytest.mark.parametrize("who", ["self", "user"])
def test_the_child_reaches_its_unix_socket_and_nothing_else(tmp_path: Path, who: str) -> None:
    found = probed(tmp_path, who)
    if found["network"]:
        pytest.skip(f"this system gives no network namespace: {found['network']}")
    assert "unreachable" in found["after"]
    assert "unreachable" in found["outside"]
    assert found["interfaces"] in ([], ["lo"])
    assert found["unix"] == "connected"
    assert int(found["capabilities"], 16) & ~0b110 == 0  # root keeps what reads files, others nothing
    assert who == "self" or found["capabilities"].strip("0") == ""
    assert found["uid"] == (65534 if who == "user" and os.geteuid() == 0 else os.geteuid())


REFUSED = """
    import ctypes, json, os, sys
    from freehold.engines.llama import cage

    class Refusing:
        def __init__(self, whole): self.whole = whole
        def __getattr__(self, name): return getattr(self.whole, name)
        def unshare(self, flags):
            ctypes.set_errno(1)
            return -1

    real = ctypes.CDLL
    ctypes.CDLL = lambda *a, **k: Refusing(real(*a, **k))
    print(json.dumps(cage.enter()))
"""


def test_where_the_system_refuses_it_says_why_and_goes_on() -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(REFUSED)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == "the system refuses namespaces (Operation not permitted)"


def test_the_environment_that_goes_along_holds_no_secret() -> None:
    kept = environment({"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "OMP_NUM_THREADS": "2", **SECRETS})
    assert kept == {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "OMP_NUM_THREADS": "2"}


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=5)))
def test_what_goes_along_is_part_of_what_was_and_names_no_key(whole: dict[str, str]) -> None:
    kept = environment(whole)
    assert kept.items() <= whole.items()
    assert not [name for name in kept if "KEY" in name.upper() or "TOKEN" in name.upper()]


def test_the_real_engine_answers_from_its_cage(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xllamacpp")
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    try:
        engine = Engine.start(smollm2, context=256, threads=1)
    except MissingExtra as error:
        pytest.skip(error.message)
    with engine:
        question = [{"role": "user", "content": "What is the capital of France? One word."}]
        assert "Paris" in engine.complete(Request(question, max_tokens=20)).text
        proc = Path(f"/proc/{engine.pid}")
        passed = proc.joinpath("environ").read_bytes()
        assert not [name for name, value in SECRETS.items() if value.encode() in passed or name.encode() in passed]
        status = proc.joinpath("status").read_text()
        assert "NoNewPrivs:\t1" in status
        own = int(Path("/proc/self/oom_score_adj").read_text())
        assert int((proc / "oom_score_adj").read_text()) >= max(own, 500)
        limits = {line[:26].strip(): line[26:].split()[:2] for line in proc.joinpath("limits").read_text().splitlines()}
        assert limits["Max core file size"] == ["0", "0"]
        assert int(limits["Max open files"][0]) <= 256
        if engine.network:
            pytest.skip(f"this system gives no network namespace: {engine.network}")
        assert os.readlink(proc / "ns" / "net") != os.readlink("/proc/self/ns/net")
