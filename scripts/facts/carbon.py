"""Rewrite src/freehold/facts/data/carbon.json from codecarbon's mix of each country's electricity.

    python scripts/facts/carbon.py global_energy_mix.json 3.3.2 2026-11-25

The file is data/private_infra/global_energy_mix.json of the codecarbon wheel (MIT; figures: Our World in Data).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "src" / "freehold" / "facts" / "data" / "carbon.json"
SHORT = {"usa": "us", "gbr": "uk", "fra": "fr", "deu": "de", "irl": "ie", "swe": "se", "ind": "in", "chn": "cn",
         "pol": "pl", "nld": "nl", "esp": "es", "ita": "it", "can": "ca", "jpn": "jp", "sgp": "sg", "aus": "au",
         "bra": "br", "nor": "no", "fin": "fi", "che": "ch", "aut": "at", "bel": "be", "dnk": "dk", "prt": "pt",
         "cze": "cz", "kor": "kr", "mex": "mx", "zaf": "za"}  # fmt: skip


def main(path: str, version: str, day: str) -> None:
    rows = []
    for code, mix in sorted(json.loads(Path(path).read_text(encoding="utf-8")).items()):
        if not mix.get("carbon_intensity"):
            continue
        iso, name = code.lower(), mix["country_name"]
        aliases = sorted({name.lower(), *([SHORT[iso]] if iso in SHORT else [])})
        source = f"codecarbon {version} (MIT), global_energy_mix.json: mix of {mix['year']}"
        rows.append({"id": iso, "name": name, "grams_per_kwh": mix["carbon_intensity"], "year": mix["year"],
                     "aliases": aliases, "source": source, "as_of": day})  # fmt: skip
    text = ",\n".join("  " + json.dumps(row) for row in rows)
    OUT.write_text(f"[\n{text}\n]\n", encoding="utf-8")
    print(len(rows), "rows")


if __name__ == "__main__":
    main(*sys.argv[1:])
