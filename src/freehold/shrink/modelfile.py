"""A Modelfile that makes Ollama give the student's tokens.

    FROM ./model.gguf
    TEMPLATE three quotes, <|im_start|>system ... {{ .Prompt }}<|im_end|> ..., three quotes
    PARAMETER stop <|im_end|>, num_ctx, num_predict, temperature 0, repeat_penalty 1

Ollama writes chat templates in Go's language and does not read the file's own. The student's prompt has one shape only
(system, question, answer), so the template is what the model's own gives for it, with the texts cut out. Ollama would
punish repeats by 1.1 unless told otherwise, which changes greedy answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from freehold.nouns import Message

__all__ = ["modelfile", "template"]

SYSTEM, QUESTION = "\u2402system\u2403", "\u2402question\u2403"
NAMES = {SYSTEM: "{{ .System }}", QUESTION: "{{ .Prompt }}"}
QUOTES = '"""'


def template(render: Callable[[Sequence[Message]], str], system: str, begin: str = "") -> str:
    """Go's template for a question after this system text. `begin` is the begin token that the engine puts in front by
    itself. A system text with three quotes, which a Modelfile can't hold elsewhere, is written into the template."""
    fixed = system if QUOTES in system else SYSTEM
    messages: list[Message] = [{"role": "system", "content": fixed}] if system else []
    text = render([*messages, {"role": "user", "content": QUESTION}])
    parts = re.split(f"({SYSTEM}|{QUESTION})", text.removeprefix(begin) if begin else text)
    return "".join(NAMES.get(part) or _literal(part) for part in parts) + "{{ .Response }}"


def modelfile(
    go: str, *, model: str, adapter: str | None, system: str, stop: Sequence[str], context: int, most: int
) -> str:
    """The file's text."""
    lines = [f"FROM {model}", *([f"ADAPTER ./{adapter}"] if adapter else []), f"TEMPLATE {QUOTES}{go}{QUOTES}"]
    if system and QUOTES not in system:
        lines.append(f"SYSTEM {QUOTES}{system}{QUOTES}")
    lines += [f'PARAMETER stop "{_escaped(text)}"' for text in stop]
    numbers = {"num_ctx": context, "num_predict": most, "temperature": 0, "repeat_penalty": 1, "seed": 0}
    lines += [f"PARAMETER {name} {value}" for name, value in numbers.items()]
    return "\n".join(lines) + "\n"


def _literal(text: str) -> str:
    """Text as Go's template gives it unchanged."""
    braces = text.replace("{{", '{{ "{{" }}')
    return braces.replace(QUOTES, "{{ `" + QUOTES[:2] + "` }}{{ `" + QUOTES[2:] + "` }}")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
