"""Progress goes to stderr, once a stage where nobody watches."""

from __future__ import annotations

import pytest

from freehold.tell import quiet, terminal


def test_a_pipe_gets_one_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal() as tell:
        for step in range(10):
            tell("fit the members", step / 10)
        tell("certify")
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err == "· fit the members\n· certify\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    quiet("anything", 0.5)
    assert capsys.readouterr() == ("", "")
