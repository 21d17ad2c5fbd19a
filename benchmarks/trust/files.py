"""G09: 2,000 seeded mutants of model files through the checks, and those that look whole through llama.cpp.

    python benchmarks/trust/files.py [--full] [--seed 9]

    checks   every mutant, in one child under 1 GiB: without the sha256 (does the check live, in 5 s?), then with it
             (what a manifest, a pinned base or an artefact has): refused, all of them
    engine   mutants that the header check lets through without a sha256, each loaded by the engine's own process: it
             answers, refuses or dies; the process that asked lives, each within its limit

The short form takes 300 mutants and 6 loads. The small files are those of tests/trust/test_damaged_files.py; the GGUF
with a vocabulary is the small base (its header is mutated: the first 2 MiB), where it is here.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _run

GIB = 1 << 30


def cases() -> Any:
    """The corpus, its mutations and its child process, as the tests have them."""
    path = _run.ROOT / "tests" / "trust" / "test_damaged_files.py"
    spec = importlib.util.spec_from_file_location("damaged_files", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def base() -> Path | None:
    from freehold.engines import bases
    from freehold.errors import BaseUnusable

    try:
        return bases.find("smollm2").path
    except BaseUnusable as error:
        _run.say(f"without a real GGUF: {error}")
        return None


def loads(paths: list[Path], seconds: float) -> Counter[str]:
    """What llama.cpp's process makes of each: answered, refused, or died (and this process lives)."""
    from freehold.engines.llama.completion import Request
    from freehold.engines.llama.engine import Engine
    from freehold.errors import FreeholdError

    said: Counter[str] = Counter()
    for path in paths:
        begun = time.monotonic()
        try:
            with Engine.start(path, context=64, threads=1) as engine:
                engine.complete(Request(messages=[{"role": "user", "content": "Hi"}], max_tokens=4))
            outcome = "answered"
        except FreeholdError as error:
            outcome = f"{type(error).__name__}"
        said[outcome if time.monotonic() - begun < seconds else "too slow"] += 1
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="2,000 mutants and 60 loads instead of 300 and 6")
    parser.add_argument("--seed", type=int, default=9)
    args = parser.parse_args()
    count, most = (2000, 60) if args.full else (300, 6)
    _run.CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_run.CACHE) as work:
        made, real = cases(), base()
        goods = [("small.gguf", made.GOOD), ("small.safetensors", made.SAFE)]
        tail = b""
        if real is not None:
            whole = real.read_bytes()
            goods.append(("base.gguf", whole[: 2 << 20]))
            tail = whole[2 << 20 :]
        share = count // len(goods)
        paths: dict[Path, str] = {}
        for name, good in goods:
            own = hashlib.sha256(good + (tail if name == "base.gguf" else b"")).hexdigest()
            for named, data in made.mutants(good, name, share, args.seed):
                path = Path(work) / named
                if name == "base.gguf":  # 97 MB each: the rest is behind a hole where the length is the same
                    with path.open("wb") as file:
                        file.write(data)
                        file.truncate(len(data) + len(tail))
                else:
                    path.write_bytes(data)
                paths[path] = own
        begun = time.monotonic()
        bare = made.checked(dict.fromkeys(paths), GIB)
        checked = {path: own for path, own in paths.items() if path.stat().st_size < 1 << 20}
        known = made.checked(checked, GIB) if checked else {}
        seconds = time.monotonic() - begun
        slowest = max(s for _, s in (*bare.values(), *known.values()))
        open_ones = [Path(p) for p, (said, _) in bare.items() if said == "whole"]
        lost = len(paths) - len(bare) + len(checked) - len(known)
        through = [p for p, (said, _) in known.items() if said != "refused"]
        engine: Counter[str] = Counter()
        if real is not None:
            chosen = [p for p in open_ones if p.name.endswith("base.gguf")][:most]
            for path in chosen:  # with the weights behind it, as an attacker would
                head = path.read_bytes()[: 2 << 20]
                with path.open("wb") as file:
                    file.write(head)
                    file.write(tail)
            engine = loads(chosen, 60.0)
            for path in chosen:
                path.unlink()
        shutil.rmtree(work, ignore_errors=True)
        Path(work).mkdir(exist_ok=True)
    goals = [
        _run.goal("mutants that ended the process that checks", "0", lost, lost == 0),
        _run.goal("mutants that a known sha256 lets through", f"0 of {len(checked)}", len(through), not through),
        _run.goal("seconds of the slowest check", "<= 5", round(slowest, 3), slowest <= 5),
        _run.goal("the process that asked the engine lives", "yes", f"{sum(engine.values())} loads: {dict(engine)}",
                  None if not engine else engine["too slow"] == 0),
    ]  # fmt: skip
    result = {"mutants": len(paths), "refused_by_header_alone": len(bare) - len(open_ones),
    "looked_whole": len(open_ones),
              "engine": dict(engine), "wall": round(seconds, 1), "seed": args.seed}  # fmt: skip
    return _run.emit("trust/files", full=args.full, n=len(paths), goals=goals, case="G09", result=result)


if __name__ == "__main__":
    sys.exit(main())
