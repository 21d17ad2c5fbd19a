"""Whose text it is: the licence and the source of a part, as the files beside it say.

    SOURCE.md    - Licence: CC0-1.0 (...)       - Source: https://...
    README.md    front matter: license: cc-by-4.0
    LICENSE      word for word a licence on file (facts), an SPDX line, or a title

What a person says goes before all of them. What nobody says is "unknown", and stays so.
"""

from __future__ import annotations

import re
from pathlib import Path

from freehold.facts import facts
from freehold.facts.licences import licence_of_text

__all__ = ["ABOUT", "SAYS", "UNKNOWN", "licence_in", "named", "source_in"]

UNKNOWN = "unknown"
PUBLIC = "LicenseRef-scancode-public-domain"
MOST = 64 << 10  # bytes of such a file that are read
TEXTS = re.compile(r"^(licen[sc]e|copying|unlicense)([.-].*)?$", re.I)
ABOUT = re.compile(r"^((licen[sc]e|copying|unlicense|notice)([.-].*)?|source(\.md|\.txt)?|files\.tsv)$", re.I)
"""Files about a text, which are no text to learn from."""
SAYS = re.compile(r"^((licen[sc]e|copying|unlicense)([.-].*)?|source(\.md|\.txt)?)$", re.I)
"""Files that make a folder a part of its own."""
IDS = (
    "CC0-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-2.0", "CC-BY-SA-2.5", "CC-BY-SA-3.0",
    "CC-BY-SA-4.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0",
    "CC-BY-NC-ND-4.0", "PDDL-1.0", "ODC-By-1.0", "ODbL-1.0", "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause",
    "ISC", "Unlicense", "GFDL-1.3-or-later", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later",
    "LGPL-3.0-only", "AGPL-3.0-only", "AGPL-3.0-or-later", "MPL-2.0", "EUPL-1.2", "CDLA-Permissive-2.0",
    "OGL-UK-3.0", "etalab-2.0",
)  # fmt: skip
TITLES = (
    (r"CC0 1\.0 Universal", "CC0-1.0"),
    (r"Attribution-NonCommercial-ShareAlike 4\.0", "CC-BY-NC-SA-4.0"),
    (r"Attribution-NonCommercial-NoDerivatives 4\.0", "CC-BY-NC-ND-4.0"),
    (r"Attribution-NonCommercial 4\.0", "CC-BY-NC-4.0"),
    (r"Attribution-ShareAlike 4\.0", "CC-BY-SA-4.0"),
    (r"Attribution-ShareAlike 3\.0", "CC-BY-SA-3.0"),
    (r"Attribution-NoDerivatives 4\.0", "CC-BY-ND-4.0"),
    (r"Attribution 4\.0", "CC-BY-4.0"),
    (r"Attribution 3\.0", "CC-BY-3.0"),
    (r"Apache License\s+Version 2\.0", "Apache-2.0"),
    (r"The MIT License|MIT License|Permission is hereby granted, free of charge, to any person obtaining", "MIT"),
    (r"GNU AFFERO GENERAL PUBLIC LICENSE\s+Version 3", "AGPL-3.0-only"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 3", "GPL-3.0-only"),
    (r"GNU GENERAL PUBLIC LICENSE\s+Version 2", "GPL-2.0-only"),
    (r"Mozilla Public License Version 2\.0", "MPL-2.0"),
)


def licence_in(folder: Path) -> str:
    """What the files in a folder say: an SPDX id, several with AND between, or "unknown"."""
    files = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    for name in ("source.md", "source.txt", "source"):
        said = name in files and _line(_read(files[name]), r"licen[sc]e")
        if said and (found := named(said)) != UNKNOWN:
            return found
    front = _front(_read(files["readme.md"])) if "readme.md" in files else ""
    if front:
        return named(front) if named(front) != UNKNOWN else front
    texts = [_of_text(_read(path)) for name, path in files.items() if TEXTS.match(name)]
    return _all(dict.fromkeys(one for one in texts if one != UNKNOWN))


def source_in(folder: Path) -> str:
    """Where a part comes from, as its SOURCE file says; "" where it says nothing."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and re.match(r"^source(\.md|\.txt)?$", path.name, re.I):
            return _line(_read(path), "source")[:300]
    return ""


def named(said: str) -> str:
    """The licences that a line names: "CC-BY-4.0 (pages), MIT (scripts)" -> "CC-BY-4.0 AND MIT"."""
    known = sorted({*IDS, *_on_file()}, key=len, reverse=True)
    found: dict[int, str] = {}
    left = said
    for name in known:
        for match in re.finditer(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\d)", left, re.I):
            found[match.start()] = name
        left = re.sub(
            rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\d)", lambda match: " " * len(match[0]), left, flags=re.I
        )
    names = dict.fromkeys(name for _, name in sorted(found.items()))
    if not names and re.search(r"public[ -]domain", said, re.I):
        return PUBLIC
    return _all(names)


def _all(names: dict[str, None]) -> str:
    return " AND ".join(names) or UNKNOWN


def _on_file() -> set[str]:
    return {str(row.values["spdx"]) for row in facts().rows("licences") if row.values.get("spdx")}


def _of_text(text: str) -> str:
    whole = licence_of_text(text, facts())
    if whole is not None and whole.values.get("spdx"):
        return str(whole.values["spdx"])
    said = re.search(r"SPDX-License-Identifier:[ \t]*([\w.+-]+)", text)
    if said:
        return named(said[1])
    found = dict.fromkeys(name for title, name in TITLES if re.search(title, text, re.I))
    if not found and re.search(r"dedicat\w+ .{0,80}public domain", text, re.I | re.S):
        return PUBLIC
    return _all(found)


def _line(text: str, word: str) -> str:
    found = re.search(rf"^[ \t]*(?:[-*#][ \t]*)*\**{word}\**[ \t]*:\**[ \t]*(\S.*)$", text, re.I | re.M)
    return found[1].strip() if found else ""


def _front(text: str) -> str:
    found = re.match(r"---\n(?:(?!---\n).*\n)*?license:[ \t]*['\"]?([\w.+-]+)", text)
    return found[1] if found else ""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST).decode("utf-8", "replace")
    except OSError:
        return ""  # it can't be read, so it says nothing: "unknown"
