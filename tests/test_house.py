"""The house keeps its shape: stairs go down only, no cycles, nothing heavy at the door, nothing banned."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.cli import VERBS

SRC = Path(__file__).resolve().parent.parent / "src" / "freehold"
FLOORS = {
    6: ["__main__"],
    5: ["cli"],
    4: ["switch"],
    3: ["audit", "plan", "train", "tune", "shrink", "merge", "prove", "serve", "watch", "report", "base", "doctor"],
    2: ["facts", "traffic", "engines", "agree", "index", "launch", "ledger", "keys"],
    1: ["wire", "stream", "measure", "project", "totals", "honour", "fit", "http"],
    0: ["nouns", "errors", "tell"],
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
FILES = sorted(SRC.rglob("*.py"))
HEAVY = ("numpy", "scipy", "sklearn", "onnxruntime", "aiohttp", "uvloop", "torch", "transformers", "jinja2", "rich")
HEAVY += ("asyncio",)
BANNED_CALLS = {"eval", "exec", "compile", "__import__"}
BANNED_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "litellm"}


def room(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """Every module that a file imports, anywhere in it, as absolute names."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found.append(node.module or "")
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


def own(names: list[str]) -> set[str]:
    """The rooms of freehold among imported names."""
    parts = [name.split(".") for name in names if name.split(".")[0] == "freehold"]
    return {p[1] for p in parts if len(p) > 1 and p[1] != "__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_stairs_go_down_only(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    for other in own(imports(path)) - {here}:
        assert FLOOR[other] < FLOOR[here], f"{path.relative_to(SRC)} (floor {FLOOR[here]}) imports {other}"


def test_no_import_cycle_inside_a_room() -> None:
    names = {p: "freehold." + ".".join(p.relative_to(SRC).with_suffix("").parts) for p in FILES}
    names = {p: n.removesuffix(".__init__") for p, n in names.items()}
    graph = {n: {i for i in imports(p) if i in names.values() and i != n} for p, n in names.items()}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            for other in graph[name]:
                # a room's __init__ imports its files inside the function; its files never import the room itself
                if not (name.startswith(other + ".")):
                    visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_nothing_banned(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name in imports(path):
        assert name.split(".")[0] not in BANNED_MODULES, f"{path} imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in BANNED_CALLS, f"{path}:{node.lineno} calls {node.func.id}"
        if isinstance(node, ast.keyword) and node.arg in ("shell", "allow_pickle", "trust_remote_code"):
            said = node.value.value if isinstance(node.value, ast.Constant) else None
            assert said is False, f"{path} passes {node.arg}"
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "BaseException")
            assert not broad, f"{path}:{node.lineno} catches everything"


def test_no_data_set_in_the_product() -> None:
    for path in [*SRC.rglob("*.py"), *SRC.rglob("*.html"), *SRC.rglob("*.js")]:
        text = path.read_text(encoding="utf-8").lower()
        for name in ("clinc", "snips", "out_of_scope", "support-desk", "banking77", "bfcl"):
            assert name not in text, f"{path} names {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_files_stay_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is"
    assert text.count("\n") <= 420, f"{path} has {text.count(chr(10))} lines: make it two"


@pytest.mark.parametrize("line", [["-c", "import freehold"], ["-m", "freehold", "--help"]])
def test_the_door_is_light(line: list[str]) -> None:
    code = "import sys, runpy\n"
    code += "import freehold\n" if line[0] == "-c" else "sys.argv=['freehold','--help']\n"
    code += (
        ""
        if line[0] == "-c"
        else "try: runpy.run_module('freehold', run_name='__main__')\nexcept SystemExit as e: assert not e.code\n"
    )
    code += f"heavy=[m for m in {HEAVY!r} if m in sys.modules]\nprint('HEAVY', heavy)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.rstrip().endswith("HEAVY []"), out


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "switch"])
def test_each_verb_room_has_two_faces(verb: str) -> None:
    face = ast.parse((SRC / verb / "__init__.py").read_text(encoding="utf-8"))
    assert any(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) and n.name == verb for n in face.body), verb
    command = ast.parse((SRC / verb / "command.py").read_text(encoding="utf-8"))
    assert {"flags", "run"} <= {n.name for n in command.body if isinstance(n, ast.FunctionDef)}
