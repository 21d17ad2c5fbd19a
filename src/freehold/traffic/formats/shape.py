"""What the formats share: loose values to plain ones, and the parts of a row in OpenAI's chat form.

    '{"a": 1}'  decoded→ {"a": 1}        "12"  count→ 12        [{"type": "text", "text": "hi"}]  plain→ "hi"
    what a tool logged as input  asked→ (messages, further fields)       as output  said→ (message, finish reason)

Nothing here raises on a value of another type than expected: it is then absent (None, {}, []), and what a call
can't do without is asked for by wire.call_from_row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from freehold import wire

__all__ = [
    "asked", "count", "decoded", "decoded_blocks", "failed", "finish", "has", "listed", "number", "obj", "plain",
    "row", "said", "seconds", "text", "unlogged", "usage",
]  # fmt: skip

FINISH = {
    "end_turn": "stop", "stop_sequence": "stop", "eos": "stop", "max_tokens": "length", "tool_use": "tool_calls",
    "tool_call": "tool_calls", "safety": "content_filter", "refusal": "content_filter", "stopped": "stop",
    "token_limit_reached": "length", "content_filtered": "content_filter",
}  # fmt: skip
"""Other words for OpenAI's finish reasons."""
ASKED = ("messages", "model", "system", "prompt", "input", "instructions")


def obj(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """A text that says something; "" for anything else."""
    return value if isinstance(value, str) else ""


def has(record: Any, *keys: str) -> bool:
    return isinstance(record, dict) and all(key in record for key in keys)


def decoded(value: Any) -> Any:
    """JSON that stands in a text, as in a cell of a table; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
        return value
    try:
        return wire.loads(value)
    except wire.RowError:
        return value


def decoded_blocks(content: Any) -> Any:
    """A content that is a list of typed blocks in text form; any other content as it is, also where it is JSON."""
    inner = decoded(content) if isinstance(content, str) and content.startswith("[{") else content
    return inner if _typed(inner) else content


def count(value: Any) -> int | None:
    """A count of tokens, also from "12" and 12.0; None for anything else."""
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def number(value: Any) -> float | None:
    """A figure of 0 or more, also from its text form; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value) if not isinstance(value, str) or len(value) < 40 else -1.0
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found < 1e20 else None


def plain(content: Any) -> Any:
    """Text blocks and nothing else as one text, so that templates can be found; any other content as it is.

    [{"type": "text", "text": "Translate:"}, {"type": "text", "text": "hej"}] → "Translate:\\nhej"
    """
    if not isinstance(content, list) or not content:
        return content
    texts = [block.get("text", block.get("content")) for block in content if _is_text(block)]
    whole = len(texts) == len(content) and all(isinstance(one, str) for one in texts)
    return "\n".join(texts) if whole else content


def _is_text(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in ("text", "input_text", "output_text")


def unlogged(record: Mapping[str, Any] | None = None, *names: str) -> dict[str, Any]:
    """The message that stands for a text which the log doesn't hold: no template fits it, so it makes no task
    (wire.unseen). Where its `record` is at hand it is unlike any other, by what that calls its call under one of
    `names`: two such are no repeat."""
    if record is None:
        return {"role": "user", "content": None}
    said = next((record[name] for name in names if isinstance(record.get(name), str) and record[name]), None)
    return {"role": "user", "content": None, "id": said[:200] if said else sha256(wire.dumps(record)).hexdigest()}


def asked(value: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What a tool logged as a call's input: its messages, and the fields that stood beside them (tools, ...).

    A list of messages, a request body, one message, texts to embed, or any text; JSON in a text is looked into.
    """
    value = decoded(value)
    if value in (None, "", [], {}):
        return [unlogged()], {}
    if isinstance(value, str):
        return [{"role": "user", "content": value}], {}
    if isinstance(value, list):
        return (_messages(value) or _inputs(value)), {}
    if isinstance(value, dict):
        return _body(value)
    return [{"role": "user", "content": wire.dumps(value).decode()}], {}


def _body(value: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if isinstance(value.get("role"), str):
        return _messages([value]), {}
    further = {key: one for key, one in value.items() if key not in ASKED}
    first = value.get("system") or value.get("instructions")
    head = [{"role": "system", "content": plain(first)}] if isinstance(first, str | list) and first else []
    for key in ("messages", "input", "prompt"):
        inner = decoded(value.get(key))
        found = _messages(inner) if isinstance(inner, list) else []
        if not found and isinstance(inner, str | list) and inner:
            found = [{"role": "user", "content": inner}] if isinstance(inner, str) else _inputs(inner)
        if found:
            return head + found, further
    return [{"role": "user", "content": wire.dumps(value).decode()}], {}


def _messages(value: list[Any]) -> list[dict[str, Any]]:
    """Messages in OpenAI's form; none where any of them is no message."""
    inner = value[0] if len(value) == 1 and isinstance(value[0], list) else value
    if not all(isinstance(one, dict) and isinstance(one.get("role"), str) for one in inner):
        return []
    return [_message(one) for one in inner]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message without the fields that are there and empty, and with plain text where that says the same."""
    kept = {key: one for key, one in message.items() if one not in (None, [], {}, "") or key in ("role", "content")}
    return kept | {"content": plain(kept.get("content"))}


def _inputs(value: list[Any]) -> list[dict[str, Any]]:
    """Texts that were sent together, to be embedded or completed, one a line; token ids can't be read."""
    if value and all(isinstance(one, str) for one in value):
        return [{"role": "user", "content": "\n".join(value)}]
    if value and all(isinstance(one, int | list) for one in value):
        return [unlogged()]
    return [{"role": "user", "content": wire.dumps(value).decode()}]


def said(value: Any) -> tuple[dict[str, Any], str]:
    """What a tool logged as a call's output: the assistant's message, and the finish reason where it stands there.

    A text, a message, a list with one, or a response body of OpenAI's or Anthropic's. A text that is JSON of another
    shape is the answer itself.
    """
    inner = decoded(value)
    if isinstance(inner, str) or inner in (None, [], {}):
        return {"role": "assistant", "content": inner or None}, ""
    first = obj(inner[0]) if isinstance(inner, list) else obj(inner)
    found = _from_body(first)
    if found is None or (isinstance(value, str) and first.keys() == {"content"}):  # an answer that is JSON itself
        written = value if isinstance(value, str) else wire.dumps(value).decode()
        return {"role": "assistant", "content": written}, ""
    return found


def _from_body(body: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    choice = obj(next(iter(listed(body.get("choices"))), None))
    if isinstance(choice.get("message"), dict):
        return _message({"role": "assistant"} | choice["message"]), finish(choice.get("finish_reason"))
    if isinstance(choice.get("text"), str):
        return {"role": "assistant", "content": choice["text"]}, finish(choice.get("finish_reason"))
    if _typed(body.get("output")):
        return _from_blocks([block for item in body["output"] for block in _blocks(item)]), ""
    if _typed(body.get("content")) and body.get("role", "assistant") == "assistant":
        return _from_blocks(body["content"]), finish(body.get("stop_reason") or body.get("finish_reason"))
    if body.get("role") == "assistant" or (body and body.keys() <= {"content", "tool_calls"}):
        found = _message({"role": "assistant", "content": None} | body)
        return {key: one for key, one in found.items() if key != "finish_reason"}, finish(body.get("finish_reason"))
    return None


def _typed(value: Any) -> bool:
    """Is this a list of blocks, as Anthropic's messages and OpenAI's responses hold them?"""
    return bool(value) and isinstance(value, list) and all(has(one, "type") for one in value)


def _blocks(item: Any) -> list[Any]:
    """The blocks of one item of a responses output; an item without content is a block itself."""
    return item["content"] if isinstance(item, dict) and isinstance(item.get("content"), list) else [item]


def _from_blocks(blocks: Iterable[Any]) -> dict[str, Any]:
    """Blocks of an answer as one message: texts, calls of tools; reasoning is left out."""
    blocks = [obj(block) for block in blocks]
    texts = [text(b.get("text", b.get("content"))) for b in blocks if _is_text(b)]
    message: dict[str, Any] = {"role": "assistant", "content": "\n".join(filter(None, texts)) or None}
    calls = [_called(b) for b in blocks if b.get("type") in ("tool_use", "function_call", "tool_call")]
    return message | ({"tool_calls": calls} if calls else {})


def _called(block: Mapping[str, Any]) -> dict[str, Any]:
    given = block.get("arguments", block.get("input"))
    arguments = given if isinstance(given, str) else wire.dumps(given or {}).decode()
    function = {"name": text(block.get("name")), "arguments": arguments}
    return {"id": text(block.get("call_id") or block.get("id")), "type": "function", "function": function}


def finish(reason: Any) -> str:
    """A finish reason in OpenAI's words, where it has one; also of an enumeration: CompletionsFinishReason.STOPPED."""
    said = text(reason).lower().rpartition(".")[2]
    return FINISH.get(said, said)


def usage(prompt: Any, completion: Any, *, cached: Any = None, write: Any = None, **more: Any) -> dict[str, Any] | None:
    """Token counts in OpenAI's form, or None where the two main ones aren't there.

    OpenAI's prompt tokens hold the cached ones. A source that counts them apart gives itself away where they are
    more than the prompt; they are then added to it. `more`: reasoning, audio_in, audio_out.
    """
    asked, answered = count(prompt), count(completion)
    if asked is None or answered is None:
        return None
    read, written = count(cached) or 0, count(write) or 0
    if read + written > asked:
        asked += read + written
    counts = {name: count(one) or 0 for name, one in more.items()}
    inner = {"cached_tokens": read, "cache_write_tokens": written, "audio_tokens": counts.get("audio_in", 0)}
    outer = {"reasoning_tokens": counts.get("reasoning", 0), "audio_tokens": counts.get("audio_out", 0)}
    found: dict[str, Any] = {"prompt_tokens": asked, "completion_tokens": answered}
    details = {"prompt_tokens_details": inner, "completion_tokens_details": outer}
    kept = {name: {key: n for key, n in part.items() if n} for name, part in details.items()}
    return found | {name: part for name, part in kept.items() if part}


def failed(code: Any, message: Any = "") -> dict[str, Any]:
    """A response that is a failure."""
    return {"error": {"code": str(code or "error")[:80], "message": text(message)[:2000]}}


def seconds(start: Any, end: Any) -> float | None:
    """From one time to another, to the microsecond; None where either is no time, or they stand the wrong way round."""
    try:
        first, last = wire.timestamp(start), wire.timestamp(end)
    except wire.RowError:
        return None
    return round(last - first, 6) if first is not None and last is not None and last >= first else None


def row(
    request: Mapping[str, Any], response: Mapping[str, Any] | None = None, *, message: Mapping[str, Any] | None = None,
    why: str = "", usage: Mapping[str, Any] | None = None, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A row in the canonical form, from a response body as it stands (a failure), or from a message, its finish
    reason (`why`) and usage; `more` are timestamp, seconds, endpoint, tier, user, freehold: those that are there."""
    choice: dict[str, Any] = {"index": 0, "message": message or {"role": "assistant", "content": None}}
    if why:
        choice["finish_reason"] = why
    body: dict[str, Any] = dict(response) if response else {"object": "chat.completion", "choices": [choice]}
    if usage:
        body["usage"] = usage
    kept = {name: one for name, one in more.items() if one not in (None, "")}
    fields = {name: one for name, one in request.items() if one is not None}
    return kept | {"request": fields, "response": body}
