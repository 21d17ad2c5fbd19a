"""A server in a process of its own, as `freehold serve` runs it, with the scripted student:

python serving.py PROJECT UPSTREAM_URL|none PORT
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from freehold.engines import encoder
from freehold.engines.scripted import ScriptedStudent
from freehold.engines.upstream import HttpUpstream
from freehold.errors import FreeholdError
from freehold.nouns import Artifact, Audit, Student
from freehold.project import Project
from freehold.serve import serve
from freehold.serve.seats.thread import leave


def opener(folder: Path, artifact: Artifact) -> Student:
    if (folder.parents[1] / "slow").exists():
        _compute()
    script = msgspec.json.decode((folder / "script.json").read_bytes(), type=dict[str, tuple[str, float]])
    return ScriptedStudent(script)


def _compute() -> None:
    """A student whose check goes on and on inside C++, as a real one's does."""
    import onnxruntime

    model = Path(encoder.__file__).parent / "data/all-minilm-l6-v2/model.onnx"
    print("checks", flush=True)
    while True:
        onnxruntime.InferenceSession(str(model))


def main(folder: str, url: str, port: str) -> int:
    project = Project.open(folder)
    upstream = None if url == "none" else HttpUpstream(url, "sk-ours")
    try:
        serve(
            project, project.load(Audit), upstream, opener=opener, port=int(port), pairs=0.0,
            ready=lambda app: print(app.port, flush=True), tell=lambda what, done=None, /: print(what, file=sys.stderr),
        )  # fmt: skip
    except FreeholdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return leave(130)
    return leave(0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
