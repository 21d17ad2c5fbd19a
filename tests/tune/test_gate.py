"""The terms' gate: per row by its vendor, with consent on file, and private data left out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from freehold.errors import BadSetting, TermsBlocked
from freehold.nouns import Call, Slot, Task, Template
from freehold.project import Settings
from freehold.tune.gate import gate

INSIDE = Settings()
MINI, CLAUDE, LLAMA3 = "gpt-4o-mini", "claude-sonnet-4-5", "meta-llama/Meta-Llama-3-8B-Instruct"


def task(kind: str = "json") -> Task:
    return Task("read-out", Template((Slot("user", "", variable=True),)), kind, 1, 1.0)  # type: ignore[arg-type]


def call(model: str, text: str = "to Oslo", answer: str | None = '{"city": "Oslo"}') -> Call:
    return Call(({"role": "user", "content": text},), model, answer=answer)


@pytest.mark.parametrize(
    ("model", "vendor", "kind", "student", "use", "rule", "outcome"),
    [
        (MINI, "", "labels", "label", "internal", "T1", "ALLOW"),
        (MINI, "", "labels", "decoder", "internal", "T2", "WARN_COUNSEL"),
        (MINI, "", "json", "extract", "internal", "T2", "WARN_COUNSEL"),
        (MINI, "", "sql", "decoder", "internal", "T2", "WARN_COUNSEL"),
        (MINI, "anthropic", "text", "decoder", "internal", "T2", "WARN_COUNSEL"),
        (CLAUDE, "", "json", "extract", "internal", "T4", "ALLOW_WITH_NOTE"),
        (CLAUDE, "", "tools", "extract", "internal", "T4", "ALLOW_WITH_NOTE"),
        ("gemini-2.5-pro", "", "text", "decoder", "sold", "T6", "WARN_COUNSEL"),
        ("deepseek-chat", "", "text", "decoder", "sold", "T7", "ALLOW"),
        ("", " OpenAI", "json", "decoder", "internal", "T2", "WARN_COUNSEL"),
        ("our-alias", "deepseek", "json", "decoder", "sold", "T7", "ALLOW"),
        ("openai/gpt-oss-20b", "", "text", "decoder", "sold", "T9", "ALLOW"),
        ("llama-3.3-70b", "", "text", "decoder", "internal", "T9", "ALLOW_WITH_NOTE"),
        ("gemini/gemma-3-27b-it", "", "text", "decoder", "internal", "T6", "WARN_COUNSEL"),
    ],
)
def test_a_row_passes(model: str, vendor: str, kind: str, student: str, use: str, rule: str, outcome: str) -> None:
    found = gate(task(kind), [call(model)] * 3, Settings(vendor=vendor, use=use), student=student)
    assert found.rows == (0, 1, 2)
    assert [(n.rule, n.outcome, n.rows) for n in found.notices] == [(rule, outcome, 3)]
    assert found.blocked == ""
    if outcome == "WARN_COUNSEL":
        assert found.notices[0].clause
        assert found.notices[0].as_of


@pytest.mark.parametrize(
    ("model", "vendor", "kind", "student", "use", "rule", "hint"),
    [
        (MINI, "", "json", "extract", "sold", "T3", 'use = "internal"'),
        (CLAUDE, "", "json", "decoder", "internal", "T5", "anthropic's consent"),
        (CLAUDE, "", "json", "extract", "sold", "T5", "anthropic's consent"),
        (LLAMA3, "", "json", "extract", "internal", "T9", "llama-3's consent"),
        ("", "", "json", "extract", "internal", "T10", "vendor ="),
        ("our-alias", "", "json", "extract", "internal", "T10", "vendor ="),
        ("bedrock/meta.llama3-70b-instruct-v1:0", "", "json", "extract", "internal", "T10", "aws-bedrock's consent"),
        ("mistral-large-latest", "", "text", "decoder", "internal", "T10", "mistral's consent"),
    ],
)
def test_where_no_row_passes_the_clause_and_a_way_on_are_named(
    model: str, vendor: str, kind: str, student: str, use: str, rule: str, hint: str
) -> None:
    with pytest.raises(TermsBlocked, match=rf"rule {rule} .*as of 202\d") as error:
        gate(task(kind), [call(model)] * 3, Settings(vendor=vendor, use=use), student=student)
    assert error.value.exit_code == 38
    assert hint in error.value.hint
    assert "vendor =" in hint or "MIT or Apache-2.0" in error.value.hint


def test_each_row_has_its_own_vendor() -> None:
    calls = [call(MINI), call(CLAUDE), call("deepseek-chat"), call(LLAMA3), call(CLAUDE), call("x")]
    found = gate(task(), calls, INSIDE, student="decoder")
    assert found.rows == (0, 2)
    counted = [(n.rule, n.vendor, n.rows) for n in found.notices]
    assert counted == [
        ("T10", "unknown", 1),
        ("T5", "anthropic", 2),
        ("T9", "llama-3", 1),
        ("T2", "openai", 1),
        ("T7", "deepseek", 1),
    ]
    assert "2 of 6 answers are left out: anthropic, rule T5" in found.blocked
    assert "2025-12-06" in found.blocked


def test_a_label_student_is_told_and_not_stopped() -> None:
    found = gate(task("labels"), [call(MINI), call("x", "ana@firm.com")], Settings(use="sold"), student="label")
    assert found.rows == (0, 1)
    assert [(n.rule, n.outcome, n.rows) for n in found.notices] == [("T10", "QUARANTINE", 1), ("T3", "BLOCK", 1)]


def letter(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "consent.txt"
    path.write_text(text, encoding="utf-8")
    os.utime(path, (1_790_000_000, 1_790_000_000))
    return path


@pytest.mark.parametrize(("body", "date"), [("On 2026-10-02 we", "dated 2026-10-02"), ("We", "without a date in it")])
def test_written_consent_opens_what_it_names(tmp_path: Path, body: str, date: str) -> None:
    path = letter(tmp_path, f"\n  Letter from   Anthropic PBC\n{body} consent to the training of models on outputs.\n")
    found = gate(task(), [call(CLAUDE), call(LLAMA3)], INSIDE, student="decoder", permission=path)
    assert found.rows == (0,)
    notice = next(n for n in found.notices if n.vendor == "anthropic")
    assert (notice.rule, notice.outcome, notice.rows) == ("T5", "PERMITTED", 1)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f'"Letter from Anthropic PBC" (consent.txt, {date}, sha256 {sha256})' in notice.text
    assert str(tmp_path) not in notice.text
    assert "llama-3" in found.blocked


@pytest.mark.parametrize(
    ("model", "text", "covered"),
    [
        ("azure/gpt-4o", "Microsoft agrees.", True),
        ("azure/gpt-4o", "Contoso agrees.", False),
        (LLAMA3, "Meta agrees.", True),
        (LLAMA3, "By metabolism", False),
        ("xai/grok-4", "xAI agrees.", True),
        ("mistral-large-latest", "MISTRAL agrees", True),
        ("x", "unknown agrees", False),
    ],
)
def test_a_consent_must_name_the_vendor(tmp_path: Path, model: str, text: str, covered: bool) -> None:
    path, use = letter(tmp_path, text), Settings(use="sold")
    if covered:
        found = gate(task(), [call(model)], use, student="decoder", permission=path)
        assert (found.rows, found.notices[0].outcome) == ((0,), "PERMITTED")
    else:
        with pytest.raises(TermsBlocked):
            gate(task(), [call(model)], use, student="decoder", permission=path)


@pytest.mark.parametrize(
    "data", [None, b"", b" \n", b"%PDF-1.7\n\xe2\xe3\xcf\xd3", b"Anthropic\0", b"Anthropic " * 200_000]
)
def test_what_is_no_letter_is_refused(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "consent"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BadSetting, match="--permission"):
        gate(task(), [call(MINI)], INSIDE, student="decoder", permission=path)


CALLS = [
    call(MINI),
    call(MINI, "write to ana@firm.com", '{"to": "ana@firm.com"}'),
    call(MINI, "pay", '{"iban": "GB82WEST12345698765432"}'),
    call(CLAUDE, "ring +44 20 7946 0958"),
]


@pytest.mark.parametrize(
    ("private", "rows", "outcome", "said"),
    [
        (None, (0,), "EXCLUDE", "left out"),
        ("redact", (0, 1, 2), "REDACT", "redacted"),
        ("keep", (0, 1, 2), "KEEP", "kept"),
    ],
)
def test_private_data(private: str | None, rows: tuple[int, ...], outcome: str, said: str) -> None:
    found = gate(task(), CALLS, INSIDE, student="decoder", private=private)
    assert found.rows == rows
    notice = found.notices[-1]
    assert (notice.rule, notice.outcome, notice.rows) == ("T12", outcome, 2)
    assert said in notice.text
    assert "email in 1 rows, iban in 1 rows" in notice.text
    assert "ana@" not in str(found)
    text, answer = found.row("write to ana@firm.com", '{"to": "ana@firm.com"}')
    assert ("ana@firm.com" in text) == (private != "redact")
    assert answer == '{"to": "' + text.removeprefix("write to ") + '"}'


def test_where_every_row_is_private_the_flag_is_named() -> None:
    with pytest.raises(TermsBlocked, match="private data") as error:
        gate(task(), CALLS[1:3], INSIDE, student="extract")
    assert "--private redact" in error.value.hint


def test_a_tool_call_is_read_too() -> None:
    said = {"tool_calls": [{"function": {"name": "mail", "arguments": '{"to": "ana@firm.com"}'}}], "role": "assistant"}
    row = {"response": {"choices": [{"message": said, "finish_reason": "tool_calls"}]}}
    calls = [Call(({"role": "user", "content": "mail her"},), MINI, row=row), call(MINI, answer="Whom?")]
    assert gate(task("tools"), calls, INSIDE, student="decoder").rows == (1,)


def test_an_empty_log_and_an_unknown_way() -> None:
    assert gate(task(), [], INSIDE, student="decoder").notices == ()
    with pytest.raises(BadSetting, match="leave-out, redact, keep"):
        gate(task(), [], INSIDE, student="decoder", private="hide")
