"""A log in parts is audited as it is in one: here, in processes, on Ray, stopped and gone on; and from a sample."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from freehold.audit import audit
from freehold.audit.sample import FULL, numbered, survey, traffic_of
from freehold.audit.workers import Here, Kept, Processes
from freehold.nouns import Audit
from freehold.traffic import Source, find_tasks, open_log, read

ROOT = Path(__file__).resolve().parents[2]
TODAY = date(2026, 11, 24)


def real(name: str, count: int) -> list[dict[str, Any]]:
    with gzip.open(ROOT / "examples" / name / "calls.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line, _ in zip(file, range(count), strict=False)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real logs, with what a log also holds: repeats, failures, bad rows, users, calls without tokens."""
    rows = real("support-desk", 900) + real("extraction", 600)
    for i, row in enumerate(rows):
        row["request"]["user"] = f"user {i % 7}"
        if i % 50 == 3:
            row["response"] = {"error": {"code": "rate_limit_exceeded"}}
        if i % 40 == 5:
            del row["response"]["usage"]
        if i % 90 == 7:
            row["request"]["messages"][-1]["content"] += " write to ana@firm.example"
    rows += rows[100:200]
    lines = [json.dumps(row) for row in rows]
    lines[700:700] = ["{", '{"request": 1}', ""]
    path = tmp_path_factory.mktemp("log") / "calls.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def said(found: Audit) -> Audit:
    return replace(found, made="")


def in_parts(log: Path, piece: int = 300_000) -> Source:
    source = open_log([log], piece=piece)
    assert len(source.parts) > 5
    return source


@pytest.fixture(scope="module")
def whole(log: Path) -> Audit:
    return said(audit(read([log]), today=TODAY))


def test_the_log_has_something_of_everything(whole: Audit) -> None:
    assert (len(whole.tasks), whole.bad_rows, whole.sampled) == (2, 2, 1600)
    parts = (whole.health.errors, whole.estimate.n, whole.private, whole.repeats.texts, whole.moves, whole.days)
    assert all(parts)
    assert len(whole.users) == 7


@pytest.mark.parametrize("piece", [100_000, 777_777, 1 << 30])
def test_parts_are_audited_as_the_log_in_memory(log: Path, whole: Audit, piece: int) -> None:
    assert said(audit(open_log([log], piece=piece), today=TODAY)) == whole


def test_processes_say_the_same(log: Path, whole: Audit) -> None:
    assert said(audit(in_parts(log), today=TODAY, runner=Processes(2))) == whole


def test_ray_says_the_same(log: Path, whole: Audit, tmp_path: Path) -> None:
    """In a process of its own, so that Ray's own ones end with it."""
    pytest.importorskip("ray.data", reason="reading on Ray needs the extra freehold[ray]")
    code = (
        "import sys; from datetime import date; from pathlib import Path; from msgspec import json\n"
        "from freehold.audit import audit; from freehold.audit.ray import OnRay\n"
        "from freehold.traffic import open_log\n"
        "source = open_log([Path(sys.argv[1])], piece=300_000)\n"
        "today, folder = date.fromisoformat(sys.argv[2]), Path(sys.argv[3])\n"
        "found = audit(source, today=today, runner=OnRay(), folder=folder)\n"
        "(folder / 'found.json').write_bytes(json.encode(found))\n"
    )
    argv = [sys.executable, "-c", code, str(log), TODAY.isoformat(), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert said(msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=Audit)) == whole


class Stopping(Here):
    """Does some jobs, then is stopped."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.done: list[int] = []

    def run(self, do: Callable[[int], bytes], jobs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        for job, result in super().run(do, jobs):
            if len(self.done) >= self.most:
                raise KeyboardInterrupt
            self.done.append(job)
            yield job, result


def test_a_stopped_run_goes_on_with_the_same_result(log: Path, whole: Audit, tmp_path: Path) -> None:
    source = in_parts(log)
    looks = len(source.parts)
    first = Stopping(looks + 3)
    with pytest.raises(KeyboardInterrupt):
        audit(source, today=TODAY, folder=tmp_path, runner=first)
    second = Stopping(2 * looks)
    assert said(audit(source, today=TODAY, folder=tmp_path, runner=second)) == whole
    assert second.done == [*range(looks), *range(3, looks)]


def test_what_was_kept_of_another_log_is_not_taken(log: Path, tmp_path: Path) -> None:
    copy = tmp_path / "calls.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    copy.write_text("".join(lines))
    with pytest.raises(KeyboardInterrupt):
        audit(in_parts(copy), today=TODAY, folder=tmp_path / "work", runner=Stopping(len(in_parts(copy).parts) + 3))
    copy.write_text("".join(lines[10:]))
    assert audit(in_parts(copy), today=TODAY, folder=tmp_path / "work").calls == len(lines) - 13


def test_kept_results_are_whole_or_absent(tmp_path: Path) -> None:
    runner = Kept(Here(), tmp_path, "x")
    assert [*runner.run(lambda job: b"%d" % job, [0, 1])] == [(0, b"0"), (1, b"1")]
    assert [*runner.run(lambda job: b"again", [0, 1, 2])] == [(0, b"0"), (1, b"1"), (2, b"again")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"part-00000{i}-x.msgpack" for i in range(3)]


def test_every_call_has_its_line(log: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    audit(open_log([log]), today=TODAY, lines=one)
    audit(in_parts(log), today=TODAY, lines=other)
    assert one.read_bytes() == other.read_bytes()
    rows = one.read_text().splitlines()
    assert (rows[0], len(rows)) == ("line,task", 1601)
    assert [int(row.split(",")[0]) for row in rows[1:]] == [n for n in range(1, 1604) if n not in (701, 702, 703)]


def test_a_sample_hangs_on_the_rows_alone(log: Path) -> None:
    def sampled(piece: int) -> list[int]:
        source = open_log([log], piece=piece)
        surveys = [survey(part, FULL, 200) for part in source.parts]
        return [call.line for call in traffic_of(numbered(source, surveys), surveys, 200).calls]

    once = sampled(1 << 30)
    assert 190 <= len(once) <= 230
    assert sampled(100_000) == sampled(777_777) == once


def test_a_log_whose_first_rows_are_short_is_sampled_in_full(tmp_path: Path) -> None:
    rows = real("support-desk", 1200)
    for i, row in enumerate(rows):
        row["request"]["messages"][0]["content"] = "Route." + (" x" * 20_000 if i > 1050 else "")
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert 295 <= audit(open_log([path]), today=TODAY, sample=300).sampled <= 330


def test_a_log_larger_than_the_sample_is_counted_whole(log: Path, whole: Audit) -> None:
    found = audit(in_parts(log), today=TODAY, sample=300)
    assert 290 <= found.sampled <= 330
    assert [(t.name, t.calls, t.labels, t.params, t.noise) for t in found.tasks] == [
        (t.name, t.calls, t.labels, t.params, t.noise) for t in whole.tasks
    ]
    assert (found.calls, found.repeats, found.private, found.health) == (
        whole.calls, whole.repeats, whole.private, whole.health,
    )  # fmt: skip
    counted = whole.money.value - whole.estimate.value  # what is estimated is calibrated on the sample
    assert found.money.value - found.estimate.value == pytest.approx(counted, rel=1e-12)
    assert found.estimate.value == pytest.approx(whole.estimate.value, rel=0.05)


def test_a_log_that_changes_meanwhile_is_told(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    path.write_text("".join(lines))

    class Changing(Here):
        def run(self, do: Callable[[int], bytes], jobs: Sequence[int]) -> Iterator[tuple[int, bytes]]:
            yield from super().run(do, jobs)
            path.write_text("".join(lines[20:]))

    found = audit(open_log([path]), today=TODAY, runner=Changing())
    assert found.calls == 1580
    assert any("changed while it was read" in warning for warning in found.warnings)


def test_batches_in_two_files_are_one_task(tmp_path: Path) -> None:
    for i in range(12):
        body = {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "Route the message."},
                                                     {"role": "user", "content": f"text {i}"}]}  # fmt: skip
        asked = {"custom_id": f"r{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        message = {"role": "assistant", "content": "a"}
        answered = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "model": "gpt-4o-mini"}
        came = {"id": f"b{i}", "custom_id": f"r{i}", "response": {"status_code": 200, "body": answered}, "error": None}
        for name, row in (("in", asked), ("out", came)):
            with (tmp_path / f"{name}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
    source = open_log([tmp_path])
    (task,) = find_tasks(read([tmp_path]))
    (found,) = audit(source, today=TODAY).tasks
    assert (found.calls, found.template) == (12, task.template)
