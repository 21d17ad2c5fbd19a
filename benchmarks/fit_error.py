"""How far the predicted sizes are from the published ones: parameters to the last one, GGUF files within 3 %.

    python benchmarks/fit_error.py            every config.json and litgpt architecture of the shared data, seconds

Parameters: of the config.json files in catalogs/aiconfigurator, litgpt's list and models.json, beside published counts
(published_sizes.json, each with its source). `counts` says what of a model a count holds: its text part, that and the
head stored again, or all that `beside` names too. A row with `differs` says by what the count isn't the formula's; one
whose `published` is null says that none was found. Sizes: beside what llama.cpp's README and llama-bench print.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import _litgpt
import _run
from _run import emit, goal, say

from freehold.facts.tables import Facts
from freehold.fit import Architecture, parameters, weight_bytes

SHARED = Path(os.environ.get("FREEHOLD_SHARED", _run.ROOT.parent / "shared")) / "data"
PUBLISHED = Path(__file__).with_name("published_sizes.json")


def architectures(shared: Path = SHARED) -> dict[str, Architecture]:
    """Every architecture there is to predict, by where it comes from: aic:NAME, litgpt:NAME, facts:ID."""
    folder = shared / "catalogs" / "aiconfigurator" / "model_configs"
    found = {
        f"aic:{file.name.removesuffix('_config.json')}": Architecture.of(json.loads(file.read_bytes()), file.name)
        for file in sorted(folder.glob("*_config.json"))
        if "hf_quant" not in file.name
    }
    found |= {f"litgpt:{name}": Architecture.of(c, name) for name, c in _litgpt.configs(shared).items()}
    rows = (row for row in Facts().rows("models") if "config" in row.values)
    return found | {f"facts:{row.id}": Architecture.of(row.values["config"], row.ref) for row in rows}


def predicted(a: Architecture, counts: str) -> int:
    """What of `a` the published count holds."""
    extra = {"text": 0, "text+head": a.vocabulary * a.hidden, "all": sum(size for _, size in a.beside)}
    return parameters(a) + extra[counts]


def gib(row: Mapping[str, Any], a: Architecture) -> float:
    """A GGUF's predicted size; one that holds what predicts ahead as well is as much larger as its parameters are."""
    return weight_bytes(a, row["format"]) * predicted(a, row.get("counts", "text")) / parameters(a) / 2**30


def compare(row: Mapping[str, Any], a: Architecture) -> dict[str, Any]:
    said, ours = row["published"], predicted(a, row["counts"])
    verdict = "none found" if said is None else "exact" if ours == said else "differs" if "differs" in row else "off"
    return {
        "from": row["from"],
        "published": said,
        "predicted": ours,
        "verdict": verdict,
        "why": row.get("differs", ""),
    }


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    published, found = json.loads(PUBLISHED.read_text("utf-8")), architectures()
    counts = [compare(row, found[row["from"]]) for row in published["parameters"]]
    for row in counts:
        if row["verdict"] != "exact":
            say(f"{row['from']}: {row['verdict']}, {row['predicted']:,} for {row['published']}. {row['why']}")
    sizes = []
    for row in published["gguf"]:
        ours = gib(row, found[row["from"]])
        sizes.append({**row, "predicted": round(ours, 3), "error": round(ours / row["gib"] - 1, 4)})
    for row in sorted(sizes, key=lambda row: -abs(row["error"]))[:5]:
        say(f"{row['from']} {row['format']}: {row['predicted']} GiB for {row['gib']}, {row['error']:+.2%}")
    aic = [row for row in counts if row["from"].startswith("aic:")]
    tally = {v: sum(row["verdict"] == v for row in counts) for v in ("exact", "differs", "off", "none found")}
    of_aic = {v: sum(row["verdict"] == v for row in aic) for v in ("exact", "differs", "off", "none found")}
    worst = max(abs(row["error"]) for row in sizes)
    result = {
        "read": len(found), "parameters": tally, "config_json": of_aic, "sizes": len(sizes),
        "worst_size_error": worst, "differ": [row for row in counts if row["verdict"] in ("differs", "off")],
    }  # fmt: skip
    goals = [
        goal("config.json files read", "85", len(aic), len(aic) == 85),
        goal("published counts off without a reason", "0", tally["off"], tally["off"] == 0),
        goal("published counts met exactly, of those found", "all", tally["exact"], tally["differs"] == 0),
        goal("GGUF size against llama.cpp's, worst", "<= 0.03", worst, worst <= 0.03),
    ]
    return emit("fit_error", full=True, n=len(counts) + len(sizes), goals=goals, result=result)


if __name__ == "__main__":
    sys.exit(main())
