"""What a decoder student's artefact says: the prompt, the room, the examples.

decoder.json          {"version": 1, "mode": "merged", "prompt": {"system": "...", "before": "", "after": ""},
                       "context": 512, "max_tokens": 96, "stop": [], "schema": null, "quant": "Q8_0",
                       "speculation": null, "score": "mean_logprob", "k": 0, "encoder": ""}
examples.json         [["play some jazz", "{...}"], ...]         fewshot only: logged texts and answers
examples.safetensors  x float32 [n, dim]                         and the texts' vectors, of the encoder named
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from freehold.errors import ArtifactDamaged
from freehold.nouns import Message, Template

__all__ = ["Examples", "Prompt", "Recipe"]

VERSION = 1
Floats = npt.NDArray[np.float32]


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fixed words around a text: a system message, and what stands before and after it in the user's."""

    system: str = ""
    before: str = ""
    after: str = ""

    @classmethod
    def of(cls, template: Template) -> Prompt:
        """That of a task. Where several messages vary, their texts come as one, and no words stand around it."""
        fixed = [slot.before for slot in template.slots if not slot.variable and slot.role in ("system", "developer")]
        varying = [slot for slot in template.slots if slot.variable]
        if len(varying) == 1:
            return cls("\n\n".join(fixed), varying[0].before, varying[0].after)
        return cls("\n\n".join(fixed))

    def messages(self, text: str, shown: Sequence[tuple[str, str]] = ()) -> list[Message]:
        """As a chat: the system message, `shown` (text, answer) pairs as turns before, and the text itself."""
        said: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        for example, answer in shown:
            said += [self._user(example), {"role": "assistant", "content": answer}]
        return [*said, self._user(text)]

    def _user(self, text: str) -> Message:
        return {"role": "user", "content": f"{self.before}{text}{self.after}"}


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """decoder.json. `k` and `encoder` are for fewshot: how many examples at most, and whose vectors find them."""

    version: int = VERSION
    mode: Literal["merged", "adapter", "fewshot"]
    prompt: Prompt
    context: int
    max_tokens: int
    stop: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    quant: str = ""
    speculation: dict[str, Any] | None = None
    score: Literal["mean_logprob"] = "mean_logprob"
    k: int = 0
    encoder: str = ""

    def encode(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """From decoder.json in an artefact's folder; raises ArtifactDamaged."""
        path = folder / "decoder.json"
        try:
            recipe = msgspec.json.decode(path.read_bytes(), type=cls)
        except OSError as error:
            raise ArtifactDamaged(f"{path} can't be read: {error.strerror}.", "Tune again.") from error
        except msgspec.MsgspecError as error:
            raise ArtifactDamaged(f"{path} is no recipe of this freehold: {error}.", "Tune again.") from error
        if recipe.version != VERSION:
            message = f"{path} was written by version {recipe.version}, and this freehold reads {VERSION}."
            raise ArtifactDamaged(message, "Tune again.")
        return recipe


@dataclass(frozen=True)
class Examples:
    """Logged texts and answers, found by the nearness of their vectors (float32 [n, dim], unit length)."""

    pairs: tuple[tuple[str, str], ...]
    vectors: Floats
    encoder: Any

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]], encoder: str) -> Examples:
        from freehold.engines.encoder import Encoder

        found = Encoder.bundled(encoder)
        return cls(tuple(pairs), found.embed([text for text, _ in pairs]), found)

    def near(self, text: str, k: int) -> list[tuple[str, str]]:
        """The k nearest, the nearest last; the text itself is never among them (a row is not its own example)."""
        heat = self.vectors @ self.encoder.embed([text])[0]
        order = [int(i) for i in np.argsort(-heat, kind="stable") if self.pairs[i][0] != text]
        return [self.pairs[i] for i in reversed(order[:k])]

    def files(self) -> dict[str, bytes]:
        from safetensors.numpy import save

        return {"examples.json": msgspec.json.encode(self.pairs), "examples.safetensors": save({"x": self.vectors})}

    @classmethod
    def read(cls, folder: Path, encoder: str) -> Examples:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        from freehold.engines.encoder import Encoder

        try:
            pairs = msgspec.json.decode((folder / "examples.json").read_bytes(), type=tuple[tuple[str, str], ...])
            vectors = load((folder / "examples.safetensors").read_bytes())["x"]
        except (OSError, KeyError, msgspec.MsgspecError, SafetensorError) as error:
            raise ArtifactDamaged(f"The examples in {folder} can't be read: {error}.", "Tune again.") from error
        if len(pairs) != len(vectors):
            raise ArtifactDamaged(f"{folder} holds {len(pairs)} examples and {len(vectors)} vectors.", "Tune again.")
        return cls(pairs, np.ascontiguousarray(vectors, np.float32), Encoder.bundled(encoder))
