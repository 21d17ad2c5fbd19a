"""freehold shrink: the table on stdout, talk on stderr, the same as JSON, and what is wrong in one sentence."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import pytest

from freehold.errors import BadSetting, ProjectMissing
from freehold.nouns import Audit, LogFile, Measure, Repeats, Tokens
from freehold.shrink import command


def asked(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.flags(parser)
    return parser.parse_args(argv)


def audited(tuned: Any) -> str:
    """The audit that names the task, as `freehold audit` would have left it."""
    money = Measure(None, unit="USD")
    log = LogFile(("calls.jsonl",), "0" * 64, "0" * 64, 180, 1)
    tuned.project.save(
        Audit(log, 180, 0, (), (tuned.task,), Tokens(), money, money, None, None, (), Repeats(0, 0, Measure(None)))
    )
    return str(tuned.project.path)


def test_the_table_and_the_same_as_json(tuned: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    folder = audited(tuned())
    assert command.run(asked("--project", folder, "--formats", "BF16", "--rows", "12")) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("orders: BF16, merged, on ")
    assert out.splitlines()[1].split() == ["format", "MB", "KL", "mean", "p99", "max", "top-1", "equal", "agree"]
    assert [line.split()[0] for line in out.splitlines()[2:4]] == ["F32", "BF16"]
    assert "taken" in out
    assert "texts with the same ids" in out
    assert "· write BF16" in err
    # from the decoder that it chose, the adapter behind it is found again
    assert (
        command.run(asked("--project", folder, "--task", "orders", "--formats", "BF16", "--rows", "12", "--json")) == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert said[0]["artifact"]["kind"] == "decoder"
    assert said[0]["parity"]["taken"] == "BF16"
    assert said[0]["parity"]["rows"] == 12


def test_what_is_wrong_is_told(tuned: Callable[..., Any]) -> None:
    t = tuned()
    folder = audited(t)
    with pytest.raises(BadSetting, match=r"--rows is 0"):
        command.run(asked("--project", folder, "--rows", "0"))
    with pytest.raises(BadSetting, match=r"--task is 'other'.*Known: orders"):
        command.run(asked("--project", folder, "--task", "other"))
    with pytest.raises(BadSetting, match=r"--formats names \['Q3_K'\].*Known: F32, BF16, Q8_0, Q4_K_M"):
        command.run(asked("--project", folder, "--formats", "Q3_K,BF16"))
    with pytest.raises(BadSetting, match=r"--formats names nothing"):
        command.run(asked("--project", folder, "--formats", ""))
    t.project.choose("orders", "")
    with pytest.raises(ProjectMissing, match=r"There is no adapter of the task orders to shrink.*freehold tune"):
        command.run(asked("--project", folder, "--task", "orders"))


def test_guessing_that_was_not_timed_is_said_too() -> None:
    from freehold.shrink.command import _guessing

    assert _guessing({"on": False, "why": "no draft was right"}) == "speculation off: no draft was right"
    timed = {"on": True, "why": "it pays", "without": {"value": 10.0}, "with": {"value": 12.5}}
    assert _guessing(timed) == "speculation on, 10.0 tokens/s without it, 12.5 with it: it pays"
