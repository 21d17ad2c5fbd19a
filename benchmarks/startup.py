"""How long the front door takes: `freehold --help` and `import freehold`, beside a Python that does nothing.

    python benchmarks/startup.py [--full]

The commands take turns (nothing, import, help, nothing, ...), so that a busy machine slows all three alike. Then the
modules each of them loaded are read from the interpreter itself: none of the heavy ones may be among them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

from _run import child, emit, goal, must, say

HEAVY = ("numpy", "scipy", "sklearn", "onnxruntime", "aiohttp", "torch", "transformers", "rich", "jinja2", "tokenizers")
HELP = "import sys; sys.argv = ['freehold', '--help']\nfrom freehold.cli import main\n"
COMMANDS = {
    "nothing": [sys.executable, "-c", "pass"],
    "import": [sys.executable, "-c", "import freehold"],
    "help": [sys.executable, "-m", "freehold", "--help"],
}
MODULES = "\nimport json; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})), file=sys.stderr)"
LOADED = {
    "import": "import sys, freehold" + MODULES,
    "help": HELP + "try:\n    main()\nexcept SystemExit:\n    pass" + MODULES,
}


def seconds(rounds: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, argv in COMMANDS.items():
            taken[name].append(must(child(argv), name).wall)
    return taken


def heavy(code: str) -> list[str]:
    loaded = set(json.loads(must(child([sys.executable, "-c", code]), "module list").err.splitlines()[-1]))
    return [name for name in HEAVY if name in loaded]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="41 rounds instead of 9")
    full = parser.parse_args().full
    rounds = 41 if full else 9
    seconds(1)  # the first run fills the file cache
    taken = seconds(rounds)
    middle = {name: round(statistics.median(values), 4) for name, values in taken.items()}
    loaded = {name: heavy(code) for name, code in LOADED.items()}
    say(f"median seconds: {middle}; heavy modules: {loaded}")
    goals = [
        goal("freehold --help, median seconds", "< 0.3", middle["help"], middle["help"] < 0.3),
        goal("import freehold, median seconds", "< 0.3", middle["import"], middle["import"] < 0.3),
        goal("heavy modules loaded", "none", loaded, not any(loaded.values())),
    ]
    spread = {name: [round(min(v), 4), round(max(v), 4)] for name, v in taken.items()}
    result = {"median_seconds": middle, "least_and_most": spread, "heavy": loaded}
    return emit("startup", full=full, n=rounds, goals=goals, result=result, peers={"python -c pass": middle["nothing"]})


if __name__ == "__main__":
    raise SystemExit(main())
