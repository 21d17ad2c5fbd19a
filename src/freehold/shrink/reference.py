"""The tuned model as torch computes it in float32: what every hop is held against.

Reference.open(folder, lora)     base + adapter, merged in float32
    .ids(messages) .said(text)   ids of a prompt; of an answer, its end token last
    .logits(ids, first)          float32 [n - first, vocabulary]
    .unmerged(ids)               the same by W x + scale * B (A x): what training saw
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.engines.gguf.names import Shape, hf_name, permuted
from freehold.engines.gguf.weights import Lora
from freehold.engines.hf import with_cache
from freehold.errors import BaseUnusable, MissingExtra
from freehold.nouns import Message

__all__ = ["Reference"]

Floats = npt.NDArray[np.float32]
ASKED, SAID = "What is it?", "Freehold says so."


class Reference:
    def __init__(self, model: Any, tokenizer: Any, pairs: dict[str, tuple[Any, Any]], where: str) -> None:
        """`pairs`: Hugging Face's name of a weight -> (A, scale * B). The model is not merged yet."""
        self.model = model
        self.tokenizer = tokenizer
        self.where = where
        self._pairs = pairs
        self._prefix: list[int] = []
        self._cache: Any = None
        self.end = self._end()

    def __repr__(self) -> str:
        return f"Reference({self.where}, {len(self._pairs)} pairs)"

    @classmethod
    def open(cls, folder: Path, lora: Lora | None, shape: Shape) -> Reference:
        """Raises MissingExtra, BaseUnusable."""
        try:
            import torch
            import transformers
        except ImportError as error:
            raise MissingExtra(
                f"Shrinking measures against torch, and needs the package {error.name}.", "pip install 'freehold[tune]'"
            ) from error
        hugging: Any = transformers
        hugging.utils.logging.set_verbosity_error()
        hugging.utils.logging.disable_progress_bar()
        try:
            model = hugging.AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=False, attn_implementation="eager"
            ).eval()
            # as tokenizer.json says: AutoTokenizer may put a class of its own in its place (Qwen2: another normaliser)
            tokenizer = hugging.PreTrainedTokenizerFast.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as error:
            raise BaseUnusable(f"{folder} can't be loaded: {' '.join(str(error).split())[:200]}") from error
        pairs = {}
        for name, (a, b) in ({} if lora is None else lora.pairs).items():
            scaled = np.float32(1.0 if lora is None else lora.scale) * permuted(name, b, shape, back=True)
            pairs[hf_name(name)] = (torch.from_numpy(a.copy()), torch.from_numpy(scaled))
        return cls(model, tokenizer, pairs, str(folder))

    # ids

    def text(self, messages: Sequence[Message]) -> str:
        """The prompt as text."""
        return str(self._template(messages, True))

    def ids(self, messages: Sequence[Message]) -> list[int]:
        return self.plain(self.text(messages))

    def said(self, text: str) -> list[int]:
        return [*self.plain(text), self.end]

    def plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def words(self, ids: Sequence[int]) -> str:
        """An answer as text, without its end token."""
        kept = list(ids[:-1] if ids and ids[-1] == self.end else ids)
        return str(self.tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    def _template(self, messages: Sequence[Message], ask: bool) -> Any:
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)
        except (TemplateError, ValueError) as error:
            raise BaseUnusable(f"The chat template of {self.where} does not take these messages: {error}") from error

    def _end(self) -> int:
        """What the template writes after an answer; else the tokenizer's end token."""
        whole = str(self._template([{"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}], False))
        after = self.plain(whole.rpartition(SAID)[2])[:1]
        if after and after[0] in {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}:
            return int(after[0])
        if self.tokenizer.eos_token_id is None:
            raise BaseUnusable(f"The tokenizer of {self.where} has no end token.", "Take an instruct model.")
        return int(self.tokenizer.eos_token_id)

    # logits

    def merge(self) -> None:
        """Put the adapter into the weights: W + scale * B A, in float32."""
        import torch

        weights = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, (a, b) in self._pairs.items():
                weights[name] += b @ a
        self._pairs = {}
        self._prefix, self._cache = [], None

    def unmerged(self, ids: Sequence[int]) -> Floats:
        """Logits with the adapter beside the weights; only before merge()."""
        import torch

        hooks = []
        for name, pair in self._pairs.items():
            module = self.model.get_submodule(name.removesuffix(".weight"))
            hooks.append(module.register_forward_hook(_beside(pair)))
        try:
            with torch.no_grad():
                found: Floats = self.model(torch.tensor([list(ids)]), use_cache=False).logits[0].numpy()
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def forget(self) -> None:
        """Let the weights go; ids and words stay."""
        self.model, self._cache = None, None

    def share(self, prefix: Sequence[int]) -> None:
        """Compute what all texts begin with once. To be called after merge()."""
        import torch
        from transformers import DynamicCache

        self._prefix, self._cache = list(prefix), DynamicCache(config=self.model.config)
        if self._prefix:
            with torch.no_grad():
                self.model(torch.tensor([self._prefix]), **with_cache(self.model, self._cache))

    def logits(self, ids: Sequence[int], first: int = 0) -> Floats:
        """The logits after each position from `first` on. Raises AssertionError before merge()."""
        import torch

        assert not self._pairs, "merge() first"
        known = len(self._prefix)
        shared = 0 < known <= first and list(ids[:known]) == self._prefix
        given = list(ids[known:] if shared else ids)
        with torch.no_grad():
            if not shared:
                out = self.model(torch.tensor([given]), use_cache=False, logits_to_keep=len(ids) - first)
            else:
                out = self.model(
                    torch.tensor([given]), **with_cache(self.model, self._cache), logits_to_keep=len(ids) - first
                )
                self._cache.crop(-len(given))
            found: Floats = out.logits[0].numpy()
        return found


def _beside(pair: tuple[Any, Any]) -> Any:
    a, b = pair

    def hook(module: Any, given: tuple[Any, ...], out: Any) -> Any:
        return out + (given[0] @ a.T) @ b.T

    return hook
