"""How far an estimate of tokens is from a count, by kind of text and by vocabulary; and the weights it is made with.

    python benchmarks/token_estimate.py --vocabularies WHEEL --languages WHEEL [--full] [--weights FILE]

WHEEL is a file that pip fetches without its dependencies: litellm 1.109.1 holds OpenAI's o200k_base and cl100k_base and
the last tokeniser that Anthropic published (`pip download --no-deps litellm==1.109.1`), sphinx 9.0.4 holds sentences in
some seventy languages. They are opened as archives, never run. Texts of each kind go to one of two sides by
a hash; the weights of audit/tallies/estimate.py are fitted on one side (least squares on relative error, never
negative), and every error below is on the other. Beside it: the usual rule of four characters a token.

    error      of the sum over a kind's texts, estimate / count - 1: what a bill is wrong by
    spread     the same of one text, the middle nine tenths
"""

from __future__ import annotations

import argparse
import base64
import functools
import gzip
import hashlib
import json
import os
import re
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _run import ROOT, emit, goal, say

from freehold.audit.tallies.estimate import FEATURES, features

DATA = Path(os.environ.get("FREEHOLD_SHARED", ROOT.parent / "shared")) / "data"
O200K, CL100K = "fb374d419588a4632f3f557e76b4b70aebbca790", "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
"""File names in the wheel: tiktoken's cache keys, the sha1 of each vocabulary's address."""
CASES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
    "o200k": rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CASES}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CASES}?|{TAIL}",
    "cl100k": rf"{CASES}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{TAIL.replace('/', '')}",
}
"""How each vocabulary cuts text before it merges (tiktoken_ext/openai_public.py)."""
LIMIT = 1200
Count = Callable[[str], int]


# vocabularies


def byte_pairs(data: bytes, split: str) -> Count:
    """A count by tiktoken's rule: in each piece the pair of lowest rank merges first."""
    import regex  # type: ignore[import-untyped]

    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in data.splitlines())}
    cut = regex.compile(split)

    @functools.lru_cache(1_000_000)
    def pieces(word: bytes) -> int:
        if word in ranks:
            return 1
        parts = [word[i : i + 1] for i in range(len(word))]
        while len(parts) > 1:
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], 1 << 30))
            if parts[best] + parts[best + 1] not in ranks:
                break
            parts[best : best + 2] = [parts[best] + parts[best + 1]]
        return len(parts)

    return lambda text: sum(pieces(word.encode()) for word in cut.findall(text))


def from_json(data: bytes) -> Count:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(data.decode())
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def vocabularies(wheel: str) -> dict[str, Count]:
    with zipfile.ZipFile(wheel) as archive:
        folder = "litellm/litellm_core_utils/tokenizers/"
        return {
            "o200k": byte_pairs(archive.read(folder + O200K), SPLITS["o200k"]),
            "cl100k": byte_pairs(archive.read(folder + CL100K), SPLITS["cl100k"]),
            "claude": from_json(archive.read(folder + "anthropic_tokenizer.json")),
            "deepseek": from_json(archive.read(folder + "deepseek_tokenizer.json")),
        }


# texts


def pages(path: str, ending: str = "") -> Iterator[str]:
    with tarfile.open(DATA / path) as archive:
        for member in archive.getmembers():
            if member.isfile() and member.name.endswith(ending) and (file := archive.extractfile(member)):
                yield file.read().decode("utf-8", "replace")


def load(path: str) -> Any:
    file = DATA / path
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return json.loads(data)


def lines(path: str) -> Iterator[Any]:
    for line in (DATA / path).read_text("utf-8").splitlines():
        yield json.loads(line)


def cut(texts: Iterator[str], most: int) -> list[str]:
    """Each text in pieces of at most LIMIT characters, some of them shorter, as prompts are."""
    found: list[str] = []
    for text in texts:
        for i, start in enumerate(range(0, len(text), LIMIT)):
            piece = text[start : start + (LIMIT, 400, 120)[i % 3]].strip()
            if len(piece) > 20:
                found.append(piece)
        if len(found) > 8 * most:
            break
    return sorted(found, key=lambda text: hashlib.sha256(text.encode("utf-8", "replace")).digest())[:most]


def translations(wheel: str, names: set[str]) -> Iterator[str]:
    """What stands translated in a wheel's catalogues of messages."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".po") and name.split("/")[2] in names:
                said = re.findall(r'^msgstr "(.+)"$', archive.read(name).decode(), re.MULTILINE)
                yield "\n".join(said)


def kinds(most: int, languages: str) -> dict[str, list[str]]:
    tools = [row["function"] for row in lines("tasks/bfcl-tools/BFCL_v4_multiple.json")]
    sql = load("tasks/text2sql-geography/geography.json")
    queries = [query for row in sql for query in row["sql"]]
    code = (path.read_text("utf-8", "replace") for path in sorted(Path(json.__file__).parent.parent.glob("*.py")))
    chat = load("answers/gpteacher/Roleplay/roleplay-simple-deduped-roleplay-instruct.json.gz")
    found = {
        "prose": (page for name in ("sherlock", "pepys") for page in pages(f"text/se-{name}/text-se-{name}.tar.gz")),
        "contracts": pages("documents/cuad/contracts.tar.gz", ".txt"),
        "chat": (row["response"] for row in chat),
        "markdown": (path.read_text("utf-8") for path in sorted((DATA / "documents/18f-handbook").rglob("*.md"))),
        "json": iter([json.dumps(tool) for tool in tools]),
        "sql": iter(["\n".join(queries[i : i + 1 + i % 4]) for i in range(0, len(queries), 4)]),
        "code": code,
        "numbers": iter((DATA / "tasks/text2sql-geography/geography-db.sql").read_text().split("\n\n")),
        "latin": translations(languages, {"de", "fr", "es", "it", "pl", "pt_BR", "tr", "vi", "cs", "sv"}),
        "cyrillic": translations(languages, {"ru", "bg", "uk_UA", "el", "he", "ar", "fa"}),
        "cjk": translations(languages, {"ja", "zh_CN", "zh_TW", "ko"}),
        "indic": translations(languages, {"hi", "bn", "ne", "ta", "si"}),
    }
    return {kind: cut(texts, most) for kind, texts in found.items()}


# weights and errors


def held_back(text: str) -> bool:
    return hashlib.sha256(b"side" + text.encode("utf-8", "replace")).digest()[0] < 128


def fit(texts: dict[str, list[str]], counts: dict[str, int]) -> list[float]:
    """Weights by non-negative least squares on relative error; every kind weighs the same."""
    from scipy.optimize import nnls

    rows, goals = [], []
    for pieces in texts.values():
        seen = [text for text in pieces if not held_back(text)]
        for text in seen:
            weight = 1 / counts[text] / len(seen) ** 0.5
            rows.append(np.array(features(text)) * weight)
            goals.append(counts[text] * weight)
    return [round(float(w), 4) for w in nnls(np.array(rows), np.array(goals))[0]]


def errors(pieces: list[str], counts: dict[str, int], estimate: Callable[[str], float]) -> dict[str, float]:
    seen = [text for text in pieces if held_back(text)]
    each = np.array([estimate(text) / counts[text] - 1 for text in seen])
    whole = sum(map(estimate, seen)) / sum(counts[text] for text in seen) - 1
    low, high = np.quantile(each, (0.05, 0.95))
    return {"texts": len(seen), "error": round(whole, 4), "low": round(float(low), 3), "high": round(float(high), 3)}


def weighed(weights: list[float], text: str) -> float:
    return float(np.dot(features(text), weights))


def quarter(text: str) -> float:
    return len(text) / 4


def show(name: str, found: dict[str, Any], other: dict[str, float]) -> None:
    say(f"{name}: {found['weights']}")
    for kind, e in found["errors"].items():
        spread = f"{e['error']:+.1%} [{e['low']:+.0%}, {e['high']:+.0%}]"
        say(f"  {kind:10} {spread:22} four characters: {found['four'][kind]:+.1%}  o200k: {other[kind]:+.1%}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabularies", required=True, metavar="WHEEL")
    parser.add_argument("--languages", required=True, metavar="WHEEL")
    parser.add_argument("--weights", metavar="FILE", help="write the fitted weights and errors as JSON")
    parser.add_argument("--full", action="store_true", help="1,000 texts a kind instead of 200")
    said = parser.parse_args()
    texts = kinds(1000 if said.full else 200, said.languages)
    say(str({kind: len(pieces) for kind, pieces in texts.items()}))
    result: dict[str, Any] = {}
    other: dict[str, dict[str, float]] = {}
    fitted: dict[str, Callable[[str], float]] = {}
    for name, count in vocabularies(said.vocabularies).items():
        counts = {text: count(text) for pieces in texts.values() for text in pieces}
        weights = fit(texts, counts)
        fitted[name] = functools.partial(weighed, weights)
        found = {kind: errors(pieces, counts, fitted[name]) for kind, pieces in texts.items()}
        four = {kind: errors(pieces, counts, quarter)["error"] for kind, pieces in texts.items()}
        result[name] = {"weights": dict(zip(FEATURES, weights, strict=True)), "errors": found, "four": four}
        other[name] = {kind: errors(pieces, counts, fitted["o200k"])["error"] for kind, pieces in texts.items()}
        show(name, result[name], other[name])
    result["o200k_weights_on_others"] = other
    if said.weights:
        Path(said.weights).write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    worst = max(abs(e["error"]) for e in result["o200k"]["errors"].values())
    goals = [goal("o200k: error of the sum, worst kind of text", "<= 0.10", worst, worst <= 0.10)]
    return emit("token_estimate", full=said.full, n=sum(map(len, texts.values())), goals=goals, result=result)


if __name__ == "__main__":
    sys.exit(main())
