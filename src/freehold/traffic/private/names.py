"""One pseudonym for each value of a whole log, and the file that leads back.

Names    value → pseudonym, by a secret key; no two values share one; a key file keeps both for the next log
Index    finds values of a map wherever they stand in a text, in time linear in the text

key file (mode 0600), JSON lines:   {"freehold": "redaction key", "version": 1, "key": "9f3c..."}
                                    {"kind": "email", "value": "ana@firm.com", "pseudonym": "qkd@example.org"}
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from freehold.errors import BadSetting
from freehold.project.storage import writing
from freehold.traffic.private.find import ESCAPED
from freehold.traffic.private.pseudonyms import pseudonym

__all__ = ["NUMBER_KIND", "USER_KIND", "Index", "Names", "blanked", "widened"]

USER_KIND, NUMBER_KIND = "user id", "user number"
MOST = 1000  # pseudonyms tried for one value
SAYS = "redaction key"
WORD = re.compile(r"\w+")
NUMBER = re.compile(r"0|-?[1-9][0-9]*")  # as JSON writes a whole number
LEADING = re.compile(r"(?<![0-9])0+(?=[0-9])")
Spans = list[tuple[int, int, str]]


class Names:
    """`of` maps a value to its pseudonym, `back` the other way."""

    def __init__(self, key: bytes | None = None) -> None:
        self.key = key or secrets.token_bytes(32)
        self.kinds: dict[str, str] = {}
        self.of: dict[str, str] = {}
        self.back: dict[str, str] = {}
        self._attempts: dict[str, int] = {}

    def add(self, value: str, kind: str) -> None:
        """A value that needs a pseudonym; the kind it was first found as stays."""
        if value not in self.kinds:
            self.kinds[value] = kind

    def draw(self) -> None:
        """A pseudonym for each value that has none. In order of value, so that what clashes doesn't depend on the
        log's order."""
        for value in sorted(self.kinds.keys() - self.of.keys()):
            self._draw(value)

    def clash(self, name: str) -> None:
        """A pseudonym that stands in the log as itself becomes a value too, with a longer pseudonym of its own."""
        kind = self.kinds[self.back[name]]
        self.add(name, "" if kind in (USER_KIND, NUMBER_KIND) else kind)
        self._attempts[name] = self._attempts.get(self.back[name], 0) + 4

    def _draw(self, value: str) -> None:
        kind = self.kinds[value]
        first = self._attempts.get(value, 0)
        for attempt in range(first, first + MOST):
            new = pseudonym(value, kind, self.key, attempt)
            if NUMBER.fullmatch(value):
                new = LEADING.sub("", new)
            if _stands_alike(new, value) and new not in self.back and new not in self.kinds:
                break
        else:
            raise BadSetting(f"No pseudonym is free for a value of the kind {kind}.", "Redact the log in parts.")
        self._attempts[value] = attempt
        self.of[value] = new
        self.back[new] = value

    def save(self, path: Path) -> None:
        """Write the key file whole or not at all. Raises StorageFailed."""
        with writing(path, mode=0o600) as file:
            file.write(msgspec.json.encode({"freehold": SAYS, "version": 1, "key": self.key.hex()}) + b"\n")
            for value, name in self.of.items():
                row = {"kind": self.kinds[value], "value": value, "pseudonym": name}
                file.write(msgspec.json.encode(row) + b"\n")

    @classmethod
    def open(cls, path: Path) -> Names:
        """Read a key file. Raises BadSetting where it is none, and never says what stands in it."""
        try:
            head, *rows = path.read_bytes().splitlines()
            said = msgspec.json.decode(head)
            if said["freehold"] != SAYS or said["version"] != 1:
                raise ValueError
            names = cls(bytes.fromhex(said["key"]))
            for row in map(msgspec.json.decode, rows):
                names.kinds[row["value"]] = row["kind"]
                names.of[row["value"]] = row["pseudonym"]
                names.back[row["pseudonym"]] = row["value"]
        except OSError as error:
            raise BadSetting(f"Can't read the key file {path}: {error.strerror}.", "Check the name.") from None
        except (ValueError, KeyError, TypeError, msgspec.MsgspecError):
            hint = "It is left as it is: give another name."
            raise BadSetting(f"{path} is no key file of a redaction.", hint) from None
        return names


def _stands_alike(new: str, value: str) -> bool:
    """Can it stand wherever the value does: a number for a number, a word's end for a word's end?"""
    if NUMBER.fullmatch(value):  # an id may stand as 10 in one record and as "10" in another
        return NUMBER.fullmatch(new) is not None
    if WORD.search(value) is None:  # an id such as "***", which stands alone in its field
        return True
    return _wordy(new[0]) == _wordy(value[0]) and _wordy(new[-1]) == _wordy(value[-1])


class Index:
    """Finds the keys of a map in a text, each where it stands as a whole, the longest first.

    A value is looked up by its first word, so a text costs one look per word however many values there are.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        sizes: dict[str, set[tuple[int, int]]] = {}
        for value in names:
            word = WORD.search(value)
            if word is not None:
                sizes.setdefault(word[0], set()).add((len(value), word.start()))
        self._sizes = {word: sorted(found, reverse=True) for word, found in sizes.items()}

    def spans(self, text: str) -> Spans:
        """Where which value stands, in order."""
        found: Spans = []
        end = 0
        for word in WORD.finditer(text):
            sizes = self._sizes.get(word[0]) if word.start() >= end else None
            for size, before in sizes or ():
                start = word.start() - before
                value = text[start : start + size] if start >= end else ""
                if value in self._names and len(value) == size and _whole(text, start, start + size):
                    found.append((start, start + size, value))
                    end = start + size
                    break
        return found

    def replaced(self, text: str) -> tuple[str, Spans]:
        """The text with the other value in place of each, and where those now stand."""
        spans = self.spans(blanked(text))
        if not spans:
            return text, []
        parts: list[str] = []
        placed: Spans = []
        at = size = 0
        for start, end, value in spans:
            new = _woven(self._names[value], text[start:end], value)
            parts += [text[at:start], new]
            size += start - at
            placed.append((size, size + len(new), self._names[value]))
            size += len(new)
            at = end
        return "".join([*parts, text[at:]]), placed


def _whole(text: str, start: int, end: int) -> bool:
    """Does no word go on over either end?"""
    left = start > 0 and _wordy(text[start - 1]) and _wordy(text[start])
    return not left and not (end < len(text) and _wordy(text[end - 1]) and _wordy(text[end]))


def _wordy(c: str) -> bool:
    return c.isalnum() or c == "_"


def _woven(new: str, said: str, plain: str) -> str:
    """With the escapes that stand inside a piece of JSON text (the lines of a private key)."""
    if "\0" not in plain or len(new) != len(said):
        return new
    return "".join(old if blank == "\0" else c for c, old, blank in zip(new, said, plain, strict=True))


def blanked(text: str) -> str:
    """A text that is JSON itself, without its escapes and as long as before; any other text as it is."""
    if "\\" not in text or text.lstrip()[:1] not in ("{", "[", '"'):
        return text
    return ESCAPED.sub(lambda match: "\0" * len(match[0]), text)


def widened(text: str, start: int, end: int) -> tuple[int, int]:
    """To the end of the word that it ends in, on both sides."""
    while start > 0 and _wordy(text[start - 1]) and _wordy(text[start]):
        start -= 1
    while end < len(text) and _wordy(text[end - 1]) and _wordy(text[end]):
        end += 1
    return start, end
