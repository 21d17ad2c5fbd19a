"""Rewrite src/freehold/facts/data/quality.json from a copy of LMArena's text leaderboard.

    python scripts/facts/quality.py lmarena_text.csv 2025-08-06

The CSV is that of https://github.com/fboulnois/llm-leaderboard-csv (MPL-2.0; figures: LMArena), of the date given. A
model's plain name (gpt-4o) is an alias of its newest dated entry.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parents[2] / "src" / "freehold" / "facts" / "data" / "quality.json"
DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")
NOISE = re.compile(r"^(meta|nvidia)-(?=llama)|-(bf16|fp8)$")
TUNED = re.compile(r"-(instruct|it|chat)(-v[\d.]+)?$")
MEANT = {"gpt-4": "gpt-4-0613", "gpt-3.5-turbo": "gpt-3.5-turbo-0125"}  # what the bare name last stood for


def plain(name: str) -> str:
    text = re.sub(r"[()]", " ", name.lower())
    return re.sub(r"[\s_/:]+", "-", text.strip()).strip("-")


def _short(name: str) -> set[str]:
    """What else it is called: without its date, its maker's prefix, its precision, its "instruct"."""
    found = {name}
    for pattern in (NOISE, DATED, TUNED):
        found |= {pattern.sub("", one) for one in found}
    return found - {name}


def main(path: str, as_of: str) -> None:
    rows: list[dict[str, Any]] = []
    names: dict[str, list[str]] = {}
    source = "LMArena text leaderboard, arena score with 95 % interval, by github.com/fboulnois/llm-leaderboard-csv"
    for row in csv.DictReader(Path(path).read_text(encoding="utf-8").splitlines()):
        name = plain(row["model"])
        up, down = (float(x.strip("+-")) for x in row["95_pct_ci"].split("/"))
        score = float(row["arena_score"])
        for alias in _short(name):
            names.setdefault(alias, []).append(name)
        rows.append(
            {
                "id": name, "arena": score, "low": score - down, "high": score + up, "votes": int(row["votes"]),
                "licence": row["license"], "source": source, "as_of": as_of,
            }
        )  # fmt: skip
    ids = {row["id"] for row in rows}
    owner = {alias: MEANT.get(alias, max(of)) for alias, of in names.items() if alias not in ids}
    lines = []
    for row in sorted(rows, key=lambda r: str(r["id"])):
        aliases = sorted(alias for alias, name in owner.items() if name == row["id"])
        lines.append(json.dumps({"id": row["id"], "aliases": aliases} | row, ensure_ascii=False))
    OUT.write_text("[\n" + ",\n".join(f"  {line}" for line in lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
