"""G07: nothing in the package, its jobs or its scripts can be made to run what it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "litellm", "telnetlib"}
ATTRIBUTES = {
    ("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput"),
    ("tempfile", "mktemp"), ("yaml", "load"), ("yaml", "load_all"), ("yaml", "unsafe_load"), ("yaml", "full_load"),
    ("numpy", "fromregex"), ("pandas", "read_pickle"), ("torch.hub", "load"), ("ssl", "_create_unverified_context"),
}  # fmt: skip
FLAGS = {"shell": False, "allow_pickle": False, "trust_remote_code": False, "verify": True, "ssl": True}
AT_THE_DOOR = (
    "http", "keys", "ledger", "engines/hosts", "engines/upstream.py", "serve/entry", "serve/away/leaving.py",
    "project/gateway.py",
)  # fmt: skip
"""Where a check must hold under `python -O` too: an assert there may only tell the type checker what is known."""

INVARIANTS = {
    "0 < len(raw) <= 64": "bytes that the code itself has packed",
    "16 <= len(key) <= 64": "a key that the code itself has drawn",
    "0 <= usd < 1000000000.0": "an amount that the code itself has added up",
    "self.policy.leaves is not None or not any((host.private for host in hosts))": "without it a call fails, unsent",
}
"""Asserts there that check no input, and why nothing depends on them."""


def python_files() -> list[Path]:
    found = sorted(p for top in ("src", "benchmarks", "deploy", "examples") for p in (ROOT / top).rglob("*.py"))
    for path in sorted((ROOT / "scripts").rglob("*")):
        if path.is_file() and (path.suffix == ".py" or path.read_bytes()[:30].startswith(b"#!/usr/bin/env python")):
            found.append(path)
    return found


def banned(tree: ast.AST) -> Iterator[str]:
    """What a file does that it must not, a line each."""
    names = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            said = [n.name for n in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"{node.lineno}: imports {n}" for n in said if n.split(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            yield from banned_call(node, names)


def banned_call(node: ast.Call, names: dict[str, str]) -> Iterator[str]:
    called = dotted(node.func, names)
    if called in CALLS or called.removeprefix("builtins.") in CALLS:
        yield f"{node.lineno}: calls {called}"
    if tuple(called.rsplit(".", 1)) in ATTRIBUTES:
        yield f"{node.lineno}: calls {called}"
    if called == "torch.load" and not is_true(node, "weights_only"):
        yield f"{node.lineno}: torch.load without weights_only=True"
    if called.endswith((".extractall", ".unpack_archive")) and not passes(node, "filter", "data"):
        yield f"{node.lineno}: unpacks an archive with {called}, without filter='data'"
    for keyword in node.keywords:
        if keyword.arg in FLAGS and isinstance(keyword.value, ast.Constant):
            value = keyword.value.value
            if isinstance(value, bool) and value is not FLAGS[keyword.arg]:
                yield f"{node.lineno}: passes {keyword.arg}={value}"
        elif keyword.arg in ("shell", "allow_pickle", "trust_remote_code"):
            yield f"{node.lineno}: passes {keyword.arg} that isn't a plain False"


def passes(node: ast.Call, name: str, value: object) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value == value for k in node.keywords)


def is_true(node: ast.Call, name: str) -> bool:
    return passes(node, name, True)


def imported(tree: ast.AST) -> dict[str, str]:
    """Name in the file -> what it stands for: {"np": "numpy", "load": "yaml.load"}."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {
                n.asname or n.name.split(".")[0]: n.name if n.asname else n.name.split(".")[0] for n in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            found |= {n.asname or n.name: f"{node.module}.{n.name}" for n in node.names}
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return "?"


def narrows(test: ast.expr) -> bool:
    """isinstance(...), `x is (not) None`, and such joined by and."""
    if isinstance(test, ast.BoolOp):
        return all(narrows(value) for value in test.values)
    if isinstance(test, ast.Compare):
        return all(isinstance(op, ast.Is | ast.IsNot) for op in test.ops)
    return isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance"


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_runs_what_it_reads(path: Path) -> None:
    assert list(banned(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("room", AT_THE_DOOR)
def test_no_check_at_the_door_is_an_assert(room: str) -> None:
    place = ROOT / "src" / "freehold" / room
    for path in [place] if place.suffix else sorted(place.rglob("*.py")):
        if not path.exists():
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                assert narrows(node.test) or ast.unparse(node.test) in INVARIANTS, (
                    f"{path}:{node.lineno} checks with an assert"
                )


@pytest.mark.parametrize(
    "code",
    [
        "eval(x)", "import builtins\nbuiltins.exec(x)", "import pickle", "from joblib import load",
        "import os\nos.system(x)",
        "from os import popen as p\np(x)", "import subprocess as s\ns.run(x, shell=True)",
        "import subprocess\nsubprocess.run(x, shell=flag)", "import numpy as np\nnp.load(x, allow_pickle=True)",
        "from yaml import load\nload(x)", "import torch\ntorch.load(x)",
        "import torch\ntorch.load(x, weights_only=False)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)", "import tarfile\ntarfile.open(x).extractall(y)",
        "requests.get(x, verify=False)", "import tempfile\ntempfile.mktemp()",
    ],
)  # fmt: skip
def test_the_list_sees_it(code: str) -> None:
    assert list(banned(ast.parse(code))), code
    assert not narrows(ast.parse("key == wanted", mode="eval").body)
