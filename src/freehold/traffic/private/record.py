"""Every text of a record, with what its field is: who asked, what must stay, or a text like any other.

{"timestamp": "2026-10-01T09:12:44Z",                      stays
 "request": {"user": "u-4711",                             who asked
             "messages": [{"role": "user",                 stays
                           "content": "I'm Ana ..."}]}}    a text; JSON inside it (a tool's arguments) too
{"key": "user.id", "value": {"stringValue": "u-4711"}}     an attribute of a span: its key names the field
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Each", "label", "rewritten"]

USERS = frozenset({
    "user", "userid", "enduser", "enduserid", "safetyidentifier", "username", "useremail", "customerid", "accountid",
    "requestuserid", "userapikeyuserid", "userapikeyuseremail", "userapikeyenduserid", "genaiuser", "sessionid",
    "conversationid", "threadid", "promptcachekey", "deviceid", "clientid", "heliconeuserid",
})  # fmt: skip
STAYS = re.compile(
    r"\w*(?:model|modelname|modelid|timestamp|unixnano|finishreason|finishreasons|stopreason)"
    r"|(?:created|updated|started|start|ended|end|finished|completed|completionstart|arrived|arrival|logged|event|request"
    r"|requested|requestcreated|response|responsecreated)?(?:at|time|date|datetime)"
    r"|ts|created|id|requestid|responseid|traceid|spanid|parentid|parentspanid|object|role|type|endpoint|servicetier|tier"
    r"|calltype|status|statuscode|toolcallid|callid|kind|version"
)
LONGEST = 80  # characters of what stays; more is a text, whatever its field is called
VALUES = frozenset({"value", "stringValue", "intValue", "arrayValue", "values"})
OTHERS = re.compile(r"[^a-z0-9]")
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_.-]")


@dataclass(frozen=True, slots=True)
class Each:
    """What becomes of a text (with its field's key), of who asked (a text or a whole number), and of a key."""

    text: Callable[[str, str], str]
    user: Callable[[str], str]
    number: Callable[[int], int]
    key: Callable[[str], str]


def rewritten(value: Any, each: Each, key: str = "") -> Any:
    """The value with each of its texts replaced; the same object where nothing changed."""
    if isinstance(value, str):
        return _text(value, each, key)
    if isinstance(value, dict):
        return _object(value, each, key)
    if isinstance(value, list):
        new = [rewritten(item, each, key) for item in value]
        return new if any(a is not b for a, b in zip(new, value, strict=True)) else value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0 and _plain(key) in USERS:
        return each.number(value)
    return value


def _text(value: str, each: Each, key: str) -> str:
    name = _plain(key)
    if name in USERS and value and not (name == "user" and any(c.isspace() for c in value)):
        return each.user(value)  # a column called "user" may hold what the user wrote
    if len(value) <= LONGEST and STAYS.fullmatch(name):
        return value
    return each.text(value, key)


def _object(value: dict[str, Any], each: Each, key: str) -> dict[str, Any]:
    named = value.get("key")
    attribute = isinstance(named, str) and "value" in value
    new: dict[str, Any] = {}
    changed = False
    for name, item in value.items():
        inner = str(named) if attribute and name == "value" else key if name in VALUES else name
        said, into = rewritten(item, each, inner), each.key(name)
        changed = changed or said is not item or into != name
        new[into] = said
    return new if changed else value


def _plain(key: str) -> str:
    return OTHERS.sub("", key.lower())


def label(key: str) -> str:
    """A key as words, as the rules read them: phoneNumber → "phone Number: "."""
    return f"{CAMEL.sub(' ', key)}: " if key else ""
