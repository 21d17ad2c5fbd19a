"""The same request under another model's name: only that value changes, every other one stays byte for byte."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

__all__ = ["Renamed", "asks"]

Renamed = Callable[[bytes], bytes]

_read = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def asks(model: str) -> Renamed:
    """rename(body): the body with `model` in it. What holds no model, or is no JSON object, comes back as it is."""
    value = msgspec.Raw(msgspec.json.encode(model))

    def rename(body: bytes) -> bytes:
        try:
            found = _read(body)
        except (msgspec.DecodeError, msgspec.ValidationError, RecursionError):
            return body
        said = found.get("model")
        if said is None or bytes(said) == bytes(value):
            return body
        return msgspec.json.encode(found | {"model": value})

    return rename
