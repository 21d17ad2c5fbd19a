"""python -m claims.write [PATH]: recompute every claim and write the page (docs/claims.md)."""

from __future__ import annotations

import sys
from pathlib import Path

from claims.check import decide, read
from claims.page import page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "claims.md"

if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(page([(claim, decide(claim)) for claim in read()]), encoding="utf-8")
    print(f"{path}: {len(read())} claims")
