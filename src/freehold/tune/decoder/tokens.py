"""Prompts and answers as ids, as the base's own tokenizer and chat template make them.

    Tokens.prompt([{"role": "system", ...}, {"role": "user", ...}]) -> [1, 9690, 198, ..., 520, 9531, 198]
    Tokens.answer('{"intent":"GetWeather"}')                        -> [11853, 29, 7024, ..., 2]     the end token last

The end token is the one that the chat template itself writes after an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from freehold.errors import BaseUnusable, MissingExtra
from freehold.nouns import Message

__all__ = ["Tokens", "quiet_transformers"]

ASKED, SAID = "What is it?", "Freehold says so."


def quiet_transformers() -> Any:
    """The package transformers, its bars and advice off: progress is tell's."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("Tuning needs the package transformers.", "pip install 'freehold[tune]'") from error
    speak: Any = transformers.utils.logging
    speak.set_verbosity_error()
    speak.disable_progress_bar()
    return transformers


class Tokens:
    """`end` closes every answer; `pad` fills rows up and is never learned."""

    def __init__(self, tokenizer: Any, where: str) -> None:
        self._tokenizer = tokenizer
        self._where = where
        self._undated()
        self.end = self._end()
        self.pad: int = self.end if tokenizer.pad_token_id is None else tokenizer.pad_token_id

    @classmethod
    def open(cls, folder: Path) -> Tokens:
        """The tokenizer of a Hugging Face folder, as its tokenizer.json says. Raises BaseUnusable, MissingExtra."""
        transformers = quiet_transformers()
        try:
            tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as error:
            raise BaseUnusable(f"The tokenizer in {folder} can't be used: {_short(error)}") from error
        return cls(tokenizer, str(folder))

    def text(self, messages: Sequence[Message]) -> str:
        """What the chat template makes of them, up to where the answer begins."""
        return str(self._template(messages, True))

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        return self.ids(self.text(messages))

    def ids(self, text: str) -> list[int]:
        """Ids of a text as it stands: the template has written the special tokens already."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def answer(self, text: str) -> list[int]:
        return [*self.ids(text), self.end]

    def words(self, ids: Sequence[int]) -> str:
        """Ids as text, for showing them."""
        return str(self._tokenizer.decode(list(ids)))

    def _undated(self) -> None:
        """Raises BaseUnusable where the template writes today's date: tomorrow's prompts would be other ones than those
        that were trained on and certified."""
        asked: list[Message] = [{"role": "user", "content": ASKED}]
        self._template(asked, True)
        try:
            self._tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True, strftime_now="")
        except TypeError as error:  # it calls what is no function now
            raise BaseUnusable(
                f"The chat template of {self._where} writes today's date into every prompt (strftime_now), so a "
                "student would be asked something else each day.",
                "Write a fixed date, or none, into its chat template.",
            ) from error

    def _template(self, messages: Sequence[Message], ask: bool) -> Any:
        try:
            from jinja2 import TemplateError
        except ImportError as error:
            raise MissingExtra("Tuning needs the package jinja2.", "pip install 'freehold[tune]'") from error
        try:
            return self._tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=ask)
        except (TemplateError, TypeError, ValueError) as error:
            raise BaseUnusable(
                f"The chat template of {self._where} does not take these messages: {_short(error)}",
                "Take a base whose template has the roles of the log.",
            ) from error

    def _end(self) -> int:
        asked: list[Message] = [{"role": "user", "content": ASKED}]
        whole = str(self._template([*asked, {"role": "assistant", "content": SAID}], False))
        after = whole.rpartition(SAID)[2]
        first = self.ids(after)[:1]
        special = set(self._tokenizer.all_special_ids) | set(self._tokenizer.added_tokens_decoder)
        if first and first[0] in special:
            return first[0]
        if self._tokenizer.eos_token_id is None:
            raise BaseUnusable(f"The tokenizer of {self._where} has no end token.", "Take an instruct model.")
        return int(self._tokenizer.eos_token_id)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
