"""Private data out of what leaves the house: every text of a request, wherever in its JSON it stands.

    {"messages": [{"role": "user", "content": "I'm at ana@firm.com"}], "user": "u-4711", "temperature": 0}
    {"messages": [{"role": "user", "content": "I'm at qkd@example.org"}], "user": "k-8302", "temperature": 0}

What is found (traffic.private: by rules, so no names) gets a pseudonym, the same one wherever it stands in the call,
and by one key the same in every call; a pseudonym that comes back in the next turn stays what it is. Texts are replaced
where they stand: all else of the body stays byte for byte, and a body in which nothing is found is not touched.

What can't be read does not leave, and the client is told (422): no JSON, token numbers in a text's place, pictures,
sound and files inside the request, private data in a URL. The answer speaks of the pseudonyms; it is not turned back.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from freehold.engines.upstream import UpstreamFailed
from freehold.errors import BadSetting, SecretExposed
from freehold.project.storage import read_bytes, writing
from freehold.serve.away.apart import LONGEST, Apart, TooLong, Unable
from freehold.traffic.private import CHECKED, Recogniser, Rules, pseudonym
from freehold.traffic.private.names import USER_KIND, Index, blanked, widened
from freehold.traffic.private.record import label

__all__ = ["Leaving", "Left", "leaving_key"]

KEY_FILE = "leaving.key"
COLON = re.compile(rb"\s*+:")
# A number that is long enough to be somebody's: 7 digits before the point, or fewer and an exponent.
NUMBER = re.compile(rb"(?<![\d.eE+-])-?+(?:\d{7,}+(?:\.\d++)?+(?:[eE][+-]?+\d++)?+|\d{1,6}+(?:\.\d++)?+[eE]\+?+\d++)")
ODD = re.compile(r"-[0-9]{7}|[0-9]{7}\.[0-9]|[0-9][eE][+-]?[0-9]")  # may be numbers that the rules don't read
WHOLE = range(6, 40)  # powers of ten of the first digit of a number with a point or an exponent that is looked at
MARKS = b"0123456789@\\"  # what the rules find holds one of these, or no ASCII (other digits), or a prefix of AWS
# After the key logit_bias: ids of tokens as keys, which are no one's numbers.
BIAS = re.compile(rb'\s*+\{(?:\s*+"\d{1,6}"\s*+:\s*+-?\d{1,3}(?:\.\d*+)?\s*+,?)*+\s*+\}')
DATA = re.compile(rb'"data:[\w/+.;= -]{0,100};base64,')
BACKSLASH = 0x5C
PACKED = re.compile(rb'"[A-Za-z0-9+/_-]{1000,}+={0,2}"')
MIXED = (re.compile(rb"[0-9]"), re.compile(rb"[A-Z]"), re.compile(rb"[a-z]"))  # base64 has all of them
NUMBERS = ("seed", "max_tokens", "max_completion_tokens", "max_output_tokens")  # of the request itself: they stay
WHO = ("user", "safety_identifier", "prompt_cache_key")
UNREAD = {*WHO, "metadata"}  # fields that no model reads
MODEL = re.compile(r"[A-Za-z0-9][\w.:/@-]{0,199}", re.ASCII)
SHORT = 80  # characters of a text that its key may say something about ("phone": "4673395")
LARGE = 32 << 10  # bytes of a request that is read on the event loop: a tenth of a second at most
LARGEST = 1 << 20  # bytes of a request that is read at all
MOST = 2000  # private values of one request: each takes 50 us
DEEPEST = 4  # levels of JSON in a text of JSON
LONG = 9  # letters and digits of a value that is no other's pseudonym by chance
SAYS = b"freehold leaving key 1 "
NONE = msgspec.Raw(b"")


@dataclass(frozen=True, slots=True)
class Left:
    """A request as it may leave. `changed`: what a model reads of it is not what the client wrote."""

    headers: Mapping[str, str]
    body: bytes
    changed: bool = False


class _Head(msgspec.Struct):
    """The fields that are looked at by name; decoding them checks the whole body."""

    model: Any = None
    prompt: Any = None
    input: Any = None
    user: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    seed: msgspec.Raw = NONE
    max_tokens: msgspec.Raw = NONE
    max_completion_tokens: msgspec.Raw = NONE
    max_output_tokens: msgspec.Raw = NONE


_read = msgspec.json.Decoder(_Head).decode
_text = msgspec.json.Decoder(str).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(slots=True)
class _Found:
    """What one call holds: values with their kinds, and who asked."""

    kinds: dict[str, str] = field(default_factory=dict)
    who: dict[str, str] = field(default_factory=dict)
    model: str = ""
    stay: frozenset[tuple[str, bytes]] = frozenset()  # (key, number) of the request's own NUMBERS

    def add(self, value: str, kind: str) -> None:
        if value not in self.kinds:
            if len(self.kinds) >= MOST:
                raise _refused(f"It holds more than {MOST:,} private values.")
            self.kinds[value] = kind


class Leaving:
    """Takes private data out of (path, headers, body), as a fleet's Policy.leaves. `key` is 16 to 64 secret bytes, the
    same for all processes of a server (`leaving_key`). Raises UpstreamFailed (422) for what can't be read."""

    def __init__(self, key: bytes, recogniser: Recogniser | None = None) -> None:
        assert 16 <= len(key) <= 64
        self._key = key
        self._quick = recogniser is None  # other finders than the rules may find what holds no digit
        self._recogniser = recogniser or Rules()
        self._apart = Apart(_hold, key, recogniser)

    def __repr__(self) -> str:
        return "Leaving(key=***)"

    def __call__(self, path: str, headers: Mapping[str, str], body: bytes) -> Left:
        if self._recogniser.find(unquote_plus(path)):
            raise _refused("Its URL holds private data, which can't be taken out there.")
        left = self.clean(body)
        clean = {name: self._header(value) for name, value in headers.items()}
        return Left(clean, left.body, left.changed)

    async def take(self, path: str, headers: Mapping[str, str], body: bytes) -> Left:
        """The same, a large body in a process of its own. Raises UpstreamFailed, also where it takes too long (422) or
        others are read for too long (503)."""
        if not LARGE < len(body) <= LARGEST:
            return self(path, headers, body)
        try:
            said = await self._apart.do(_there, path, dict(headers), body)
        except TooLong:
            raise _refused(f"To read it takes longer than {LONGEST:g} s.") from None
        except Unable as error:
            message = f"This request can't be read for private data now ({error}). Send it again later."
            raise UpstreamFailed(503, "private_busy", message) from None
        if isinstance(said, Left):
            return said
        raise UpstreamFailed(*said)

    async def close(self) -> None:
        """End the process that reads what is large."""
        await self._apart.close()

    def clean(self, body: bytes) -> Left:
        """The body alone."""
        if not body:
            return Left({}, body)
        if len(body) > LARGEST:
            raise _refused(f"A body that is longer than {LARGEST >> 10:,} KiB is not read for private data.")
        try:
            body.isascii() or body.decode()  # what is skipped is not checked to be UTF-8
            head = _read(body)
            found = self._found(body, head)
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeError):
            raise _refused("Its body is not a JSON object.") from None
        if not found.kinds and not found.who:
            return Left({}, body)
        new = _Swap(self, found, Index(self._names(found))).swapped(body, 0)
        return Left({}, new, new != body and _reads_other(body, new))

    def value(self, value: Any) -> Any:
        """Any value that JSON can hold, with the same pseudonyms: for the ledger, where its content is redacted. Raises
        UpstreamFailed as clean does."""
        said = msgspec.json.encode({"value": value})
        new = self.clean(said).body
        return value if new is said else msgspec.json.decode(new)["value"]

    def _found(self, body: bytes, head: _Head) -> _Found:
        for said in (head.prompt, head.input):
            if isinstance(said, list) and any(isinstance(item, int | list) for item in said):
                raise _refused("Its text is given as numbers of tokens.")
        stay = frozenset((name, bytes(getattr(head, name))) for name in NUMBERS)
        found = _Found(model=head.model if isinstance(head.model, str) else "", stay=stay)
        for name in WHO:
            who = getattr(head, name)
            if isinstance(who, str) and who:
                found.who[name] = who
        self._scan(body, found, 0)
        return found

    def _header(self, value: str) -> str:
        pieces = self._recogniser.find(value)
        for piece in reversed(pieces):
            text = value[piece.start : piece.end]
            value = value[: piece.start] + pseudonym(text, piece.kind, self._key) + value[piece.end :]
        return value

    def _names(self, found: _Found) -> dict[str, str]:
        """A pseudonym for each value. One that is another's already (from an earlier turn) keeps standing."""
        names = {value: pseudonym(value, kind, self._key) for value, kind in found.kinds.items()}
        given = {name for value, name in names.items() if sum(map(str.isalnum, name)) >= LONG}
        return {value: name for value, name in names.items() if value not in given}

    # pass 1: what is there

    def _scan(self, data: bytes, found: _Found, depth: int) -> None:
        for start, end, key, is_key in _tokens(data):
            token = data[start:end]
            if token[:1] != b'"':
                if (key, token) not in found.stay:
                    self._number(_digits(token), key, found)
                continue
            if DATA.match(token) or (PACKED.fullmatch(token) and all(some.search(token) for some in MIXED)):
                raise _refused("It holds a picture, sound or a file, which is not read.")
            if self._quick and not _holds(token):
                continue
            text = _text(token)
            if _kept(key, text, found) and not is_key:
                continue
            if depth < DEEPEST and _is_json(text):
                self._scan(text.encode(), found, depth + 1)
            self._look(text, "" if is_key else key, found)

    def _look(self, text: str, key: str, found: _Found) -> None:
        plain, before = blanked(text), label(key) if len(text) <= SHORT else ""
        for piece in self._recogniser.find(before + plain):
            start, end = max(piece.start - len(before), 0), piece.end - len(before)
            if end > 0:
                start, end = widened(plain, start, end)
                value = plain[start:end]
                if any(c.isalnum() for c in value):
                    found.add(value, piece.kind)

    def _number(self, text: str, key: str, found: _Found) -> None:
        before = label(key)
        if text and any(piece.end > len(before) for piece in self._recogniser.find(before + text)):
            found.add(text, "number")

    def _who(self, value: str) -> str:
        return pseudonym(value, USER_KIND, self._key)


class _Swap:
    """Pass 2: the same tokens, each value replaced wherever it stands."""

    def __init__(self, leaving: Leaving, found: _Found, index: Index) -> None:
        self._leaving, self._found, self._index = leaving, found, index

    def swapped(self, data: bytes, depth: int) -> bytes:
        parts: list[bytes] = []
        at = 0
        for start, end, key, is_key in _tokens(data):
            token = data[start:end]
            if token[:1] == b'"':
                new = self._token(token, "" if is_key else key, depth)
            else:
                new = token if (key, token) in self._found.stay else self._number(token)
            if new != token:
                parts += [data[at:start], new]
                at = end
        return b"".join([*parts, data[at:]]) if parts else data

    def _token(self, token: bytes, key: str, depth: int) -> bytes:
        text = _text(token)
        if _kept(key, text, self._found):
            return token
        if depth == 0 and self._found.who.get(key) == text:
            return msgspec.json.encode(self._leaving._who(text))
        new = text
        if depth < DEEPEST and _is_json(text):
            new = self.swapped(text.encode(), depth + 1).decode()
        new = self._index.replaced(new)[0]
        return token if new == text else msgspec.json.encode(new)

    def _number(self, token: bytes) -> bytes:
        digits = _digits(token)
        new = self._index.replaced(digits)[0]
        if new == digits:
            return token
        new = "1" + new[1:] if new[:1] == "0" else new
        sign, point = token[:1] == b"-", not token.removeprefix(b"-").isdigit()
        return f"{'-' if sign else ''}{new}{'.0' if point else ''}".encode()


def _digits(token: bytes) -> str:
    """The digits of a whole number, however JSON writes it; "" of another one."""
    token = token.removeprefix(b"-")
    if token.isdigit():
        return token.decode()
    number = Decimal(token.decode())
    if number.adjusted() not in WHOLE or number != number.to_integral_value():
        return ""
    return str(int(number))


def _tokens(data: bytes) -> Iterator[tuple[int, int, str, bool]]:
    """Where each text and each long number of a JSON document stands, the key before it, and whether it is a key; of
    logit_bias none."""
    at, key, size = 0, "", len(data)
    while at < size:
        start = data.find(b'"', at)
        gap = start if start >= 0 else size
        if gap - at >= 5:
            for match in NUMBER.finditer(data, at, gap):
                yield *match.span(), key, False
        if start < 0:
            return
        at = end = _end(data, start)
        colon = COLON.match(data, end)
        yield start, end, key, colon is not None
        if colon is not None:
            at, key = colon.end(), _text(data[start:end])
            if key == "logit_bias" and (bias := BIAS.match(data, at)):
                at = bias.end()


def _end(data: bytes, start: int) -> int:
    """Where a text of JSON ends: behind the first quote with an even number of backslashes before it."""
    at = start
    while True:
        at = data.index(b'"', at + 1)
        before = at - 1
        while data[before] == BACKSLASH:
            before -= 1
        if (at - before) % 2:
            return at + 1


def _holds(token: bytes) -> bool:
    """Could the rules find anything in it?"""
    marked = len(token.translate(None, MARKS)) < len(token)
    return marked or not token.isascii() or b"AKIA" in token or b"ASIA" in token


def _kept(key: str, text: str, found: _Found) -> bool:
    """Is it the model's name, and can it be one? It must arrive as it is."""
    if key != "model" or text != found.model or not MODEL.fullmatch(text):
        return False
    return not any(piece.kind in CHECKED or piece.kind in ("email", "secret", "login") for piece in Rules().find(text))


def _is_json(text: str) -> bool:
    """A text that is JSON itself, with escapes or numbers that hide what stands there."""
    if text.lstrip()[:1] not in ("{", "[") or not ("\\" in text or ODD.search(text)):
        return False
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


def _reads_other(old: bytes, new: bytes) -> bool:
    """Whether any field differs that a model reads."""
    before, after = _fields(old), _fields(new)
    if before.keys() != after.keys():
        return True
    return any(bytes(before[name]) != bytes(after[name]) for name in before if name not in UNREAD)


def _refused(why: str) -> UpstreamFailed:
    message = f"This request may leave this house only without private data, and it can't be read. {why}"
    return UpstreamFailed(422, "private_unread", message)


# in a process of its own


_held: list[Leaving] = []


def _hold(key: bytes, recogniser: Recogniser | None) -> None:
    _held[:] = [Leaving(key, recogniser)]


def _there(path: str, headers: Mapping[str, str], body: bytes) -> Left | tuple[int, str, str]:
    """What _hold's Leaving gives; the parts of an UpstreamFailed, which can't be sent as it is."""
    try:
        return _held[0](path, headers, body)
    except UpstreamFailed as error:
        return error.http, error.code, error.message


def leaving_key(folder: Path) -> bytes:
    """The key of a project's pseudonyms, made where there is none. Raises SecretExposed, BadSetting, StorageFailed."""
    path = folder / KEY_FILE
    if not path.exists():
        with writing(path, mode=0o600) as file:
            file.write(SAYS + secrets.token_hex(32).encode() + b"\n")
    if path.stat().st_mode & 0o077:
        raise SecretExposed(f"{path} can be read by others, and leads from pseudonyms to people.", f"chmod 600 {path}")
    said = read_bytes(path)
    try:
        if not said.startswith(SAYS):
            raise ValueError
        key = bytes.fromhex(said[len(SAYS) :].decode())
        if len(key) != 32:
            raise ValueError
    except ValueError:
        raise BadSetting(f"{path} is no key of pseudonyms.", "Remove it: a new one is made.") from None
    return key
