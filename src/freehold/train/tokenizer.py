"""The tokenizer of a model from scratch: trained on its text, one id a character, or taken from a folder.

    bpe          byte-level BPE, split as GPT-2 splits; the size follows from the text (best_size)
    characters   one id for each character that occurs; one of several UTF-8 bytes is merged from them, so that every
                 engine that reads byte-level BPE reads it
    DIR          a Hugging Face folder's, copied

    tokenizer/  tokenizer.json  tokenizer_config.json  chat_template.jinja

Ids 0, 1 and 2 are <|endoftext|> (begins a document, fills up), <|im_start|> and <|im_end|> (ChatML). In a
text that is learned from, these words are words: nobody writes a special token by writing its name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from freehold.errors import BadSetting, CorpusUnusable
from freehold.project.storage import write_atomic

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["END", "TEMPLATE", "best_size", "characters", "check", "end_of", "open_folder", "save", "size_of", "trained"]

END, START, STOP = SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROLES = "system user assistant\n"
LEAST = 256 + len(SPECIAL)
LEAST_BEST, MOST_BEST, STEP = 512, 131_072, 128
PASSES, BYTES_A_PARAMETER = 4, 77
FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
         "chat_template.jinja", "chat_template.json")  # fmt: skip
LINE = 4096  # characters handed to the trainer at once
UNKNOWN_SHARE, SAME_SHARE = 0.001, 0.99


def best_size(size: int) -> tuple[int, str]:
    """The vocabulary that a model of this many bytes of text should have, and why.

    Four passes are about as good as new text (Muennighoff et al. 2023), 77 characters train a parameter outside the
    vocabulary (20 tokens of 3.85, Hoffmann et al. 2022), and of vocabulary parameters the best number is
    3.15M (n / 33M) ** 0.835 (Tao et al. 2024, by derivatives), width 64 times the depth.
    """
    parameters = max(1.0, PASSES * size / BYTES_A_PARAMETER)
    width = (64 / 12 * parameters) ** (1 / 3)
    best = 3_145_728 * (parameters / 33e6) ** 0.8354 / width
    chosen = min(MOST_BEST, max(LEAST_BEST, round(best / STEP) * STEP))
    bound = ", the least that is taken" if chosen == LEAST_BEST else ", the most" if chosen == MOST_BEST else ""
    return chosen, (
        f"vocabulary {chosen:,}{bound}: {size / 1e6:,.1f} MB of text, read four times (arXiv 2305.16264), train about "
        f"{parameters / 1e6:,.2f}M parameters, and to those belong {best:,.0f} tokens (arXiv 2407.13623)"
    )


def trained(texts: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE of at most `size` ids: the same texts give the same, whatever the threads."""
    from tokenizers import pre_tokenizers, trainers

    if size < LEAST:
        raise BadSetting(f"The vocabulary is {size}.", f"Give {LEAST} or more: 256 bytes and {len(SPECIAL)} specials.")
    made = _bytewise({}, [])
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_lines(texts), trainer)
    return _marked(made)


def _lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for at in range(0, len(text), LINE):
            yield text[at : at + LINE]


def characters(found: Iterable[str]) -> Tokenizer:
    """One id for each of these characters, and for those of the chat template's roles."""
    from tokenizers import pre_tokenizers

    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    spelled = sorted(as_bytes.pre_tokenize_str(letter)[0][0] for letter in {*found, *ROLES})
    vocabulary = {token: number for number, token in enumerate(SPECIAL)}
    for part in sorted({part for word in spelled for part in word}):
        vocabulary.setdefault(part, len(vocabulary))
    merges: dict[tuple[str, str], None] = {}
    for word in spelled:
        for end in range(2, len(word) + 1):
            merges.setdefault((word[: end - 1], word[end - 1]))
            vocabulary.setdefault(word[:end], len(vocabulary))
    return _marked(_bytewise(vocabulary, list(merges)))


def _bytewise(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    made.decoder = decoders.ByteLevel()
    return made


def _marked(made: Tokenizer) -> Tokenizer:
    from tokenizers import AddedToken

    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return made


def save(made: Tokenizer, folder: Path) -> None:
    """A folder that transformers' AutoTokenizer opens."""
    folder.mkdir()
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": STOP,  # what a server stops at: the token that the chat template closes an answer with
        "pad_token": END,
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
    }
    write_atomic(folder / "tokenizer.json", made.to_str(pretty=True).encode())
    write_atomic(folder / "tokenizer_config.json", json.dumps(said, indent=2).encode())
    write_atomic(folder / "chat_template.jinja", TEMPLATE.encode())


def open_folder(folder: Path, into: Path) -> Tokenizer:
    """The tokenizer of a Hugging Face folder, its files copied. Raises CorpusUnusable."""
    from tokenizers import Tokenizer

    if not (folder / "tokenizer.json").is_file():
        raise CorpusUnusable(
            f"--tokenizer names {folder}, which holds no tokenizer.json.", "Give bpe, characters, or such a folder."
        )
    try:
        made = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except Exception as error:  # the library has no error of its own
        raise CorpusUnusable(f"{folder}/tokenizer.json can't be read: {error}.", "Fetch it again.") from error
    if "auto_map" in _json(folder / "tokenizer_config.json"):
        raise CorpusUnusable(f"{folder}/tokenizer_config.json names code to run (auto_map).", "Remove it there.")
    into.mkdir()
    for name in FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, into / name)
    made.no_truncation()
    made.no_padding()
    return made


def end_of(made: Tokenizer, folder: Path) -> int:
    """The id that divides documents: <|endoftext|> where there is one, else what ends an answer. Raises
    CorpusUnusable."""
    if (divides := made.token_to_id(END)) is not None:
        return int(divides)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        said = _json(folder / name).get("eos_token")
        word = said.get("content") if isinstance(said, dict) else said
        number = made.token_to_id(word) if isinstance(word, str) else None
        if number is not None:
            return int(number)
    raise CorpusUnusable(
        f"The tokenizer in {folder} names no token that ends a text.", "Write eos_token into its tokenizer_config.json."
    )


def size_of(made: Tokenizer) -> int:
    """Ids: the largest and those below it."""
    return 1 + max(made.get_vocab(with_added_tokens=True).values())


def check(made: Tokenizer, samples: Sequence[str], name: str) -> None:
    """Can it write these texts, and read them back? Raises CorpusUnusable."""
    made.encode_special_tokens = True
    unknown = _unknown(made)
    rows = [row.ids for row in made.encode_batch(list(samples), add_special_tokens=False)]
    ids = sum(map(len, rows))
    lost = sum(row.count(unknown) for row in rows) if unknown is not None else 0
    hint = "Take a byte-level one, or leave --tokenizer out: one is then trained on this text."
    if lost > UNKNOWN_SHARE * ids:
        raise CorpusUnusable(f"The tokenizer in {name} has no id for {lost / ids:.1%} of this text's pieces.", hint)
    again = [made.decode(row, skip_special_tokens=False) for row in rows]
    other = [(said, text) for said, text in zip(again, samples, strict=True) if said != text]
    if len(other) > (1 - SAME_SHARE) * len(samples):
        raise CorpusUnusable(
            f"The tokenizer in {name} gives back {len(samples) - len(other)} of {len(samples)} samples of this text as "
            f"they were; in the first other one {_differing(*other[0])}.",
            hint,
        )


def _differing(said: str, text: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(said, text, strict=False)) if a != b), min(len(said), len(text)))
    return f"{text[at : at + 1]!r} comes back as {said[at : at + 1]!r}"


def _unknown(made: Tokenizer) -> int | None:
    word = json.loads(made.to_str())["model"].get("unk_token")
    if isinstance(word, str):
        number = made.token_to_id(word)
        return None if number is None else int(number)
    return None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise CorpusUnusable(f"{path} can't be read: {error}.", "Fetch it again.") from error
    return found if isinstance(found, dict) else {}
