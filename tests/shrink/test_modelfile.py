"""The Modelfile gives, by Go's template rules, the very prompt that the model's own chat template gives."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from freehold.shrink.modelfile import modelfile, template

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEFAULT = "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are {{ '{{' }}nice}}.<|im_end|>\n{% endif %}"
LLAMA2 = (
    "{{ '<s>' }}{% if messages[0]['role'] == 'system' %}[INST] <<SYS>>\n{{ messages[0]['content'] }}\n<</SYS>>\n\n"
    "{{ messages[1]['content'] }} [/INST]{% else %}[INST] {{ messages[0]['content'] }} [/INST]{% endif %}"
)


def by_jinja(source: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(source)
    return lambda messages: made.render(messages=messages, add_generation_prompt=True)


def by_go(source: str, values: dict[str, str]) -> str:
    """The part of Go's text/template that a Modelfile here uses: fields, quoted and raw strings."""

    def one(found: re.Match[str]) -> str:
        inside = found[1].strip()
        if inside.startswith('"'):
            return str(json.loads(inside))
        return inside[1:-1] if inside.startswith("`") else values[inside]

    return re.sub(r"\{\{(.*?)\}\}", one, source, flags=re.DOTALL)


@pytest.mark.parametrize("source", [CHATML, DEFAULT + CHATML, LLAMA2])
@pytest.mark.parametrize("system", ["", "Give JSON.", 'Quote """thrice""" and {{braces}}.'])
def test_it_is_the_models_own_prompt(source: str, system: str) -> None:
    render = by_jinja(source)
    go = template(render, system, begin="<s>")
    text = modelfile(go, model="./model.gguf", adapter=None, system=system, stop=("<|im_end|>",), context=256, most=64)
    found = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    assert found
    said = re.search(r'SYSTEM """(.*?)"""', text, re.DOTALL)
    question = "What's on {{ in }} Zürich?"
    given = by_go(found[1], {".System": said[1] if said else "", ".Prompt": question, ".Response": ""})
    messages = [{"role": "system", "content": system}] if system else []
    assert given == render([*messages, {"role": "user", "content": question}]).removeprefix("<s>")


def test_greedy_answers_of_bounded_length_without_ollamas_penalty() -> None:
    text = modelfile("{{ .Prompt }}", model="../ab/model.gguf", adapter="adapter.gguf", system="", stop=('a"\n',),
                     context=256, most=64)  # fmt: skip
    assert text.splitlines() == [
        "FROM ../ab/model.gguf", "ADAPTER ./adapter.gguf", 'TEMPLATE """{{ .Prompt }}"""', 'PARAMETER stop "a\\"\\n"',
        "PARAMETER num_ctx 256", "PARAMETER num_predict 64", "PARAMETER temperature 0", "PARAMETER repeat_penalty 1",
        "PARAMETER seed 0",
    ]  # fmt: skip
