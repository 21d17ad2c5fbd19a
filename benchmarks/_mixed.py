"""Mixed logs with known tasks, made from real texts: each is a way in which teams write their prompts.

    texts(data)   source → [(its text, answer), ...]                    questions, passages, tickets, contracts ...
    logs(data)    style  → [(task, messages, answer, further), ...]     shuffled, with no tag

No figure of the finder was set by the names of sources or tasks; the prompts are written here.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Pair = tuple[str, str]
Texts = dict[str, list[Pair]]
Row = tuple[str, list[dict[str, Any]], str, dict[str, Any]]
ROUTE = "You route tickets of a bank. Answer with the intent only."
PREAMBLE = (
    "You work for Meridian Freight, a carrier in northern Europe. Our customers write in English, Dutch and German. "
    "Never promise a delivery date. Never name another customer. Keep to the facts that you are given, and say so "
    "where you don't know. Our opening hours are 8 to 18, Monday to Friday.\n\n"
)


def _json(path: Path) -> Any:
    with gzip.open(path, "rt", encoding="utf-8-sig") as file:
        return json.load(file)


def texts(data: Path) -> Texts:
    """The sources, in an order that is always the same."""
    found: Texts = {}
    clinc = _json(data / "tasks/clinc150/data/data_full.json.gz")
    found["tickets"] = [(t, label) for t, label in clinc["train"]]
    with gzip.open(data / "answers/gsm8k/train.jsonl.gz", "rt") as file:
        found["sums"] = [(r["question"], r["answer"]) for r in map(json.loads, file)]
    for path in sorted((data / "answers/bbh-codex/bbh").glob("*.json.gz")):
        rows = _json(path)["examples"]
        found["bbh:" + path.name.removesuffix(".json.gz")] = [(r["input"], r["target"]) for r in rows]
    squad = _json(data / "documents/xquad/xquad.en.json.gz")["data"]
    asked = [(p["context"], q) for page in squad for p in page["paragraphs"] for q in p["qas"]]
    found["passages"] = [(f"{context}\x00{q['question']}", q["answers"][0]["text"]) for context, q in asked]
    for name in ("Codegen", "Roleplay"):
        (path,) = (data / "answers/gpteacher" / name).glob("*.json.gz")
        found[name.lower()] = [((r["instruction"] + "\n" + r["input"]).strip(), r["response"]) for r in _json(path)]
    geography = json.loads((data / "tasks/text2sql-geography/geography.json").read_text())
    found["queries"] = [(t, sql) for entry in geography for t, sql in _asked(entry)]
    snips = _json(data / "tasks/snips/GetWeather/train_GetWeather_full.json.gz")["GetWeather"]
    found["weather"] = [(_said(r["data"]), json.dumps({"slots": _slots(r["data"])})) for r in snips]
    abstracts = _json(data / "documents/pubmedqa/train500.json.gz")
    rows = abstracts.values() if isinstance(abstracts, dict) else abstracts
    found["abstracts"] = [(" ".join(r["CONTEXTS"]) + "\x00" + r["QUESTION"], r["final_decision"]) for r in rows]
    with gzip.open(data / "documents/cuad/master_clauses.csv.gz", "rt", encoding="utf-8") as file:
        found["clauses"] = list(_clauses(csv.DictReader(file)))
    found["turns"] = [
        ("\x00".join(json.loads(line)["turns"]), "An answer.")
        for line in (data / "answers/mtbench/mt_bench/question.jsonl").read_text().splitlines()
    ]
    found["tools"] = []
    for line in (data / "tasks/bfcl-tools/BFCL_v4_simple_python.json").read_text().splitlines():
        r = json.loads(line)
        found["tools"].append((r["question"][0][0]["content"], json.dumps(r["function"])))
    for name, pairs in found.items():
        random.Random(name).shuffle(pairs)
    return found


def _asked(entry: dict[str, Any]) -> Iterator[Pair]:
    for sentence in entry["sentences"]:
        text, sql = sentence["text"], entry["sql"][0]
        for name, value in sentence["variables"].items():
            text, sql = text.replace(name, value), sql.replace(name, value)
        yield text, sql


def _said(parts: list[dict[str, str]]) -> str:
    return "".join(part["text"] for part in parts).strip()


def _slots(parts: list[dict[str, str]]) -> dict[str, str]:
    return {part["entity"]: part["text"] for part in parts if "entity" in part}


def _clauses(rows: Iterator[dict[str, str]]) -> Iterator[Pair]:
    for row in rows:
        for name, text in row.items():
            if name.endswith("-Answer") or name == "Filename" or len(text) < 120 or f"{name}-Answer" not in row:
                continue
            yield re.sub(r"\s+", " ", text.strip("[]'"))[:1500] + "\x00" + name, row[f"{name}-Answer"]


def user(text: str, system: str | None = None, *earlier: str) -> list[dict[str, Any]]:
    messages = [] if system is None else [{"role": "system", "content": system}]
    roles = ("user", "assistant")
    messages += [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(earlier)]
    return [*messages, {"role": "user", "content": text}]


def _rows(task: str, pairs: list[Pair], ask: Callable[[str], Any], answer: Callable[[str], str] = str) -> list[Row]:
    """One row a pair; `ask` writes its messages (or its only user message)."""
    made: list[Row] = []
    for text, said in pairs:
        asked = ask(text)
        made.append((task, user(asked) if isinstance(asked, str) else asked, answer(said), {}))
    return made


def _short(text: str) -> str:
    return "long" if len(text) > 60 else "short"


def logs(data: Path) -> dict[str, list[Row]]:
    """Every style's log, shuffled."""
    found = texts(data)
    made: dict[str, list[Row]] = {}
    for style in STYLES:
        rows = style(found, random.Random(style.__name__))
        random.Random(style.__name__).shuffle(rows)
        made[style.__name__.removeprefix("_").replace("_", " ")] = rows
    return made


def _bbh(found: Texts) -> list[str]:
    return [name for name in found if name.startswith("bbh:")]


def _instruction_in_the_system_message(found: Texts, draw: random.Random) -> list[Row]:
    rows: list[Row] = []
    for name in _bbh(found):
        told = f"Solve the puzzle about {name[4:].replace('_', ' ')}. Give the option only."
        rows += _rows(name, found[name][:150], lambda t, told=told: user(t, told))  # type: ignore[misc]
    return rows


def _few_shot_in_one_user_message(found: Texts, draw: random.Random) -> list[Row]:
    rows: list[Row] = []
    for name in _bbh(found):
        first = "\n\n".join(f"Q: {t}\nA: {a}" for t, a in found[name][:3])
        told = f"Here are questions on {name[4:].replace('_', ' ')} with their answers.\n\n{first}"
        ask = lambda t, told=told: f"{told}\n\nQ: {t}\nA:"  # type: ignore[misc] # noqa: E731
        rows += _rows(name, found[name][3 : 3 + draw.randint(20, 200)], ask)
    return rows


def _few_shot_as_earlier_turns(found: Texts, draw: random.Random) -> list[Row]:
    rows: list[Row] = []
    for name in _bbh(found):
        turns = [part for pair in found[name][:3] for part in pair]
        rows += _rows(name, found[name][3:120], lambda t, turns=turns: user(t, None, *turns))  # type: ignore[misc]
    return rows


def _examples_that_vary(found: Texts, draw: random.Random) -> list[Row]:
    """Three examples drawn for each call: out of 300 for one task, out of 10 for another, as turns for a third."""

    def shots(pairs: list[Pair], names: tuple[str, str]) -> str:
        return "".join(f"{names[0]}: {t}\n{names[1]}: {a}\n\n" for t, a in draw.sample(pairs, 3))

    tickets, weather, sums = found["tickets"], found["weather"], found["bbh:navigate"]
    rows = _rows(
        "route",
        tickets[300:900],
        lambda t: f"Name the intent.\n\n{shots(tickets[:300], ('Text', 'Intent'))}Text: {t}\nIntent:",
    )
    rows += _rows(
        "weather",
        weather[300:600],
        lambda t: f"Write the slots as JSON.\n\n{shots(weather[:10], ('Request', 'JSON'))}Request: {t}\nJSON:",
    )
    rows += _rows(
        "navigate",
        sums[10:200],
        lambda t: user(t, "Yes or No?", *[part for pair in draw.sample(sums[:10], 2) for part in pair]),
    )
    return rows + _rows("chat", found["roleplay"][:300], str)


def _variables_with_fixed_text_between(found: Texts, draw: random.Random) -> list[Row]:
    def two(form: str) -> Callable[[str], str]:
        return lambda t: form.format(*t.split("\x00"))

    rows = _rows("passage", found["passages"], two("Context: {0}\n\nQuestion: {1}\nAnswer:"))
    rows += _rows("abstract", found["abstracts"][:400], two("Read the abstract.\n\n{0}\n\nQ: {1}\nyes, no or maybe:"))
    rows += _rows("clause", found["clauses"][:600], two("Clause: {0}\n\nCategory: {1}\n\nWhat does the clause say?"))
    return rows + _rows("route", found["tickets"][:500], lambda t: f"Ticket: {t}\nIntent:")


def _before_after_and_around(found: Texts, draw: random.Random) -> list[Row]:
    rows = _rows("before", found["tickets"][:400], lambda t: f"Name the intent of this message: {t}")
    rows += _rows("after", found["tickets"][400:800], lambda t: f"{t}\n\nIs the message above long or short?", _short)
    rows += _rows("around", found["sums"][:400], lambda t: f'Solve: """{t}"""\nEnd with #### and the number.')
    rows += _rows("step", found["sums"][400:800], lambda t: f"{t} Let's think step by step.")
    rows += _rows("code", found["codegen"][:300], lambda t: f"Write code for the task.\nTask: {t}\nCode only.")
    return rows + _rows("chat", found["roleplay"][:500], str)


def _one_start_and_different_ends(found: Texts, draw: random.Random) -> list[Row]:
    rows = _rows("mood", found["roleplay"][:300], lambda t: f"Text: {t}\n\nIs its mood calm or angry?", _short)
    rows += _rows("sum", found["roleplay"][300:600], lambda t: f"Text: {t}\n\nSummarise the text in one sentence.")
    rows += _rows("french", found["roleplay"][600:900], lambda t: f"Text: {t}\n\nTranslate the text to French.")
    return rows + _rows("route", found["tickets"][:300], lambda t: f"Ticket: {t}\n\nWhich intent is it?")


def _systems_that_vary(found: Texts, draw: random.Random) -> list[Row]:
    """A date (40 of them), a user's name (8), a retrieved passage (each about five times), another user's plan."""
    names = ("Anna", "Bob", "Chidi", "Dora", "Emil", "Fatima", "Goran", "Hanako")
    passages = [t.split("\x00") for t, _ in found["passages"]]
    rows: list[Row] = []
    for text, label in found["tickets"][:800]:
        day = f"2026-{draw.randint(1, 2):02}-{draw.randint(1, 20):02}"
        rows.append(("route", user(text, f"{ROUTE} Today is {day}."), label, {}))
    for text, answer in found["roleplay"][:400]:
        told = f"You are a friendly writer. You talk to {draw.choice(names)}. Be brief, and never swear."
        rows.append(("write", user(text, told), answer, {}))
    for (context, question), (_, answer) in zip(passages, found["passages"], strict=True):
        told = f"Answer from the passage only; say so where it has no answer.\n\nPassage:\n{context}"
        rows.append(("rag", user(question, told), answer, {}))
    for text, answer in found["sums"][:300]:
        told = f"You are a tutor. The pupil is {draw.randint(6, 17)} years old.\nExplain each step."
        rows.append(("tutor", user(text, told), answer, {}))
    return rows


def _long_preamble_and_one_sentence(found: Texts, draw: random.Random) -> list[Row]:
    """In the system message and in the user's: the same 60 words, then the one sentence that says what to do."""
    end = " Answer in English, without a greeting and without a closing line."
    rows = _rows("route", found["tickets"][:400], lambda t: user(t, PREAMBLE + "Name the message's intent." + end))
    rows += _rows(
        "reply", found["roleplay"][:300], lambda t: user(t, PREAMBLE + "Write a reply that a customer likes." + end)
    )
    rows += _rows(
        "length", found["tickets"][400:600], lambda t: user(t, PREAMBLE + "Say if the text is long." + end), _short
    )
    rows += _rows("sum", found["sums"][:300], lambda t: f"{PREAMBLE}Work out the number.{end}\n\n{t}")
    return rows + _rows(
        "code", found["codegen"][:300], lambda t: f"{PREAMBLE}Write a small program for the clerk.{end}\n\n{t}"
    )


def _chat_with_history(found: Texts, draw: random.Random) -> list[Row]:
    """Two chat products of one to four turns, beside a router; each is one task, whatever its turns."""
    rows: list[Row] = []
    for told, source in (("You are Ada, the help of a bookshop.", "roleplay"), ("You are a coding mate.", "codegen")):
        pairs = iter(found[source])
        for _ in range(250):
            turns = [part for _ in range(draw.choice((0, 0, 1, 2, 3))) for part in next(pairs)]
            text, answer = next(pairs)
            rows.append((source, user(text, told, *turns), answer, {}))
    return rows + _rows("route", found["tickets"][:400], lambda t: user(t, ROUTE))


def _sizes_from_5_to_5000(found: Texts, draw: random.Random) -> list[Row]:
    rows = _rows("route", found["tickets"][:5000], lambda t: f"Route this message to a team: {t}\nTeam:")
    sizes = (5, 6, 8, 12, 20, 40, 100, 400, 5, 7, 9, 30, 60, 200, 15, 10, 25)
    for name, size in zip(_bbh(found), sizes, strict=True):
        told = f"A puzzle on {name[4:].replace('_', ' ')}: choose the right option, and say nothing else.\n\n"
        rows += _rows(name, found[name][:size], lambda t, told=told: f"{told}Q: {t}\nA:")  # type: ignore[misc]
    return rows


def _two_versions_and_white_space(found: Texts, draw: random.Random) -> list[Row]:
    """A prompt edited half way is two tasks here; blanks at the ends are none."""
    old, new = "Name the intent of the ticket. One label.", "Name the intent of the ticket. Give one label only."
    rows = _rows("route 1", found["tickets"][:300], lambda t: user(t, old))
    rows += _rows("route 2", found["tickets"][300:600], lambda t: user(t, new))
    rows += _rows(
        "sums", found["sums"][:400], lambda t: user(t, "Solve the problem step by step." + draw.choice(("", "\n", " ")))
    )
    ends = ("", " ", "\n")
    rows += _rows(
        "query", found["queries"][:400], lambda t: f"Write SQLite for this question.\nQ: {t}\nSQL:{draw.choice(ends)}"
    )
    return rows + _rows("code", found["codegen"][:300], lambda t: f"Write this program:\n\n{t}{draw.choice(ends)}")


def _free_chat_alone(found: Texts, draw: random.Random) -> list[Row]:
    rows = _rows("chat", found["roleplay"][:1500] + found["codegen"][:1500] + found["tickets"][:1000], str)
    turns = [t.split("\x00")[0] for t, _ in found["turns"]]
    return rows + [("chat", user(t), "An answer.", {}) for t in turns]


def _chat_beside_tasks(found: Texts, draw: random.Random) -> list[Row]:
    rows = _rows("chat", found["roleplay"][:800] + found["tickets"][:800], str)
    rows += _rows("grade", found["sums"][:200], lambda t: user(t, "Grade the solution. PASS or FAIL."), _short)
    rows += _rows("weather", found["weather"][:300], lambda t: f"Slots as JSON for the request below.\n\n{t}")
    rows += [("tools", user(t, "Use the tools."), a, {"tools": json.loads(a)}) for t, a in found["tools"]]
    return rows + _rows("query", found["queries"][:300], lambda t: f"-- SQLite, geography\n-- {t}\nSELECT")


def _one_wrapper_and_many_instructions(found: Texts, draw: random.Random) -> list[Row]:
    """The form that open models were tuned on: a fixed frame, an instruction for each task, an input."""
    frame = (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that completes the request.\n\n### Instruction:\n{}\n\n### Input:\n{}\n\n### Response:\n"
    )
    told = {
        "tickets": "Name the intent of the message.",
        "sums": "Solve the problem and explain each step.",
        "weather": "Extract the slots of the request as JSON.",
        "queries": "Translate the question to SQL.",
        "bbh:navigate": "Decide whether one returns to the starting point.",
        "bbh:sports_understanding": "Decide whether the sentence on sports is plausible.",
    }
    rows: list[Row] = []
    for name, what in told.items():
        rows += _rows(name, found[name][:300], lambda t, what=what: frame.format(what, t))  # type: ignore[misc]
    return rows


def _questions_after_a_bare_wrapper(found: Texts, draw: random.Random) -> list[Row]:
    """Only `Q: ... A:` stands around the question, and only for one task; others have their own words."""
    rows = _rows("sums", found["sums"][:500], lambda t: f"Q: {t}\nA:")
    rows += _rows("passage", found["passages"][:800], lambda t: "{}\n\n{}".format(*t.split("\x00")))
    rows += _rows("route", found["tickets"][:400], lambda t: f"Intent of '{t}'? One label.")
    return rows + _rows("code", found["codegen"][:300], lambda t: user(t, "You write code."))


STYLES = (
    _instruction_in_the_system_message, _few_shot_in_one_user_message, _few_shot_as_earlier_turns,
    _examples_that_vary, _variables_with_fixed_text_between, _before_after_and_around, _one_start_and_different_ends,
    _systems_that_vary, _long_preamble_and_one_sentence, _chat_with_history, _sizes_from_5_to_5000,
    _two_versions_and_white_space, _free_chat_alone, _chat_beside_tasks, _one_wrapper_and_many_instructions,
    _questions_after_a_bare_wrapper,
)  # fmt: skip
