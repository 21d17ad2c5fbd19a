"""An open model at a host as a student: what it is asked, what its answers are worth, and what goes wrong."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from tests.hosting import OpenHost, hosting

from freehold.engines import hosted, hosted_link
from freehold.engines.hosted import Form, HostedStudent, Reach, check, is_outside, reach
from freehold.engines.hosted_form import in_the_house
from freehold.engines.hosted_gate import Gate
from freehold.engines.hosts.secret import Secret
from freehold.engines.open import closing, open_student
from freehold.engines.title import title
from freehold.errors import ArtifactDamaged, BadSetting, StudentUnusable, UpstreamMissing
from freehold.nouns import Artifact, Slot, Task, Template, Tokens
from freehold.project import Settings
from freehold.project.gateway import PrivateSettings, UpstreamSettings
from freehold.project.settings import TaskSettings
from freehold.serve.seats.students import Abandons
from freehold.wire import completion

TASK = Task(
    "intents",
    Template((Slot("system", "Name the intent."), Slot("user", "Message: ", " Intent:", variable=True))),
    "labels",
    100,
    1.0,
    labels=("transfer", "balance"),
    params={"response_format": [{"type": "text"}], "temperature": [0.7], "tool_choice": ["auto", "none"]},
    answer_tokens=3,
)
KEY = "sk-very-secret"


@pytest.fixture
def host() -> Iterator[OpenHost]:
    with hosting(lambda body: (" transfer\n", [-0.1, -0.3])) as one:
        yield one


def student(host: OpenHost, task: Task = TASK, *, tries: int = 1, **form: Any) -> HostedStudent:
    to = Reach("local", host.url, "qwen3-32b", Secret(KEY), None, tries)
    made = Form.of(task, "local", host.url, "qwen3-32b", private=False)
    return HostedStudent(msgspec.structs.replace(made, **form), to)


def test_it_asks_what_the_log_asked_greedily(host: OpenHost) -> None:
    with student(host) as own:
        (answer,) = own.answers(["move money"])
    assert (answer.text, answer.able) == ("transfer", True)
    assert answer.score == pytest.approx(math.exp(-0.2))
    (body,) = host.seen
    assert body == {
        "model": "qwen3-32b",
        "messages": [
            {"role": "system", "content": "Name the intent."},
            {"role": "user", "content": "Message: move money Intent:"},
        ],
        "temperature": 0,
        "stream": False,
        "max_tokens": 22,
        "response_format": {"type": "text"},
        "logprobs": True,
    }
    assert host.keys == [f"Bearer {KEY}"]
    assert (own.asked, own.tokens.prompt, own.tokens.completion) == (1, 100, 4)
    assert KEY not in repr(own)


def test_many_texts_keep_their_order_and_few_connections(host: OpenHost) -> None:
    host.said = lambda body: ("transfer" if "1" in body["messages"][1]["content"] else "balance", [-0.5])
    texts = [f"text {i}" for i in range(100)]
    with student(host) as own:
        found = own.answers(texts)
        own.answers(["again"])
        own.answers(["and again"])
    assert [a.text for a in found] == ["transfer" if "1" in t else "balance" for t in texts]
    assert host.connections <= hosted.PARALLEL + 1


def test_without_log_probabilities_every_answer_is_as_good_as_any(host: OpenHost) -> None:
    host.said = lambda body: ("transfer", None)
    with student(host) as own:
        assert not own.gives_logprobs("x")
        assert own.answers(["x"])[0].score == 0.0  # certified with scores: an answer without one is worth nothing
    with student(host, logprobs=False) as own:
        assert own.answers(["x"])[0].score == 1.0
    assert "logprobs" not in host.seen[-1]


@pytest.mark.parametrize(
    "message",
    [
        "a label that nobody has met",
        {"role": "assistant", "content": None, "refusal": "I can't."},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
    ],
    ids=str,
)
def test_what_no_client_could_use_is_not_able(host: OpenHost, message: Any) -> None:
    host.said = lambda body: (message, [-0.01])
    with student(host) as own:
        assert not own.answers(["x"])[0].able


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_cut_answer_is_not_able(host: OpenHost, finish: str) -> None:
    host.finish = finish
    with student(host) as own:
        assert not own.answers(["x"])[0].able


def test_tools_that_differ_from_call_to_call_go_along(host: OpenHost) -> None:
    tools = [{"type": "function", "function": {"name": "city", "parameters": {"type": "object"}}}]
    called = {"role": "assistant", "content": None, "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "city", "arguments": '{"name": "Oslo"}'}}]}  # fmt: skip
    host.said = lambda body: (called, None)
    task = replace(TASK, kind="tools", labels=(), reads=("tools",), params={})
    with student(host, task, logprobs=False) as own:
        (answer,) = own.answers([task.with_fields("two\n\nparagraphs", _call(tools))])
    assert json.loads(answer.text) == [{"name": "city", "arguments": {"name": "Oslo"}}]
    assert host.seen[0]["tools"] == tools
    assert host.seen[0]["messages"][1]["content"] == "Message: two\n\nparagraphs Intent:"


def _call(tools: Any) -> Any:
    from freehold.nouns import Call

    return Call((), params={"tools": tools})


def test_texts_that_can_t_be_told_apart_are_not_able(host: OpenHost) -> None:
    two = Template((Slot("user", "", variable=True), Slot("assistant", "Go on."), Slot("user", "And: ", variable=True)))
    task = replace(TASK, template=two)
    with student(host, task) as own:
        fine, torn = own.answers(["one\ntwo", "one\ntwo\nthree"])
    assert fine.able
    assert not torn.able
    assert [m["content"] for m in host.seen[0]["messages"]] == ["one", "Go on.", "And: two"]
    assert len(host.seen) == 1


def test_a_busy_host_is_asked_again_and_a_request_it_can_t_take_is_not(
    host: OpenHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "PAUSE", 0.001)
    host.fails = [429, 503]
    with student(host, tries=3) as own:
        assert own.answers(["x"])[0].text == "transfer"
        host.fails = [400]
        assert not own.answers(["x"])[0].able
    assert len(host.seen) == 4


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 429, 500, 503])
def test_a_host_that_fails_is_said_without_its_words(host: OpenHost, status: int) -> None:
    host.fails = [status]
    with student(host) as own, pytest.raises(UpstreamMissing) as error:
        own.answers(["x"])
    assert f"answered {status}" in str(error.value)
    assert "sk-" not in str(error.value)
    assert len(host.seen) == 1  # no redirect is followed


def test_a_host_that_is_down_is_said() -> None:
    with hosting(lambda body: ("transfer", None)) as gone:
        own = student(gone)
    with own, pytest.raises(UpstreamMissing, match="can't be reached"):
        own.answers(["x", "y"])


def test_another_host_or_model_than_was_certified_is_refused(host: OpenHost) -> None:
    form = Form.of(TASK, "local", host.url, "qwen3-32b", private=False)
    to = Reach("local", host.url, "qwen3-32b", Secret(""))
    for other in (
        replace(to, url="http://127.0.0.1:1/v1"),
        replace(to, model="qwen3-8b"),
        replace(to, clean=lambda texts: list(texts)),
    ):
        with pytest.raises(StudentUnusable, match="freehold tune --hosted local"):
            HostedStudent(form, other)


def test_private_data_is_taken_out_before_it_is_asked(host: OpenHost) -> None:
    def clean(texts: Sequence[str]) -> list[str]:
        return [text.replace("ana@firm.example", "x@example.org") for text in texts]

    to = Reach("local", host.url, "qwen3-32b", Secret(""), clean)
    with HostedStudent(Form.of(TASK, "local", host.url, "qwen3-32b", private=True), to) as own:
        own.answers(["write to ana@firm.example"])
    assert "ana@firm" not in json.dumps(host.seen)
    assert "x@example.org" in host.seen[0]["messages"][1]["content"]


def test_reach_reads_what_a_person_declared(tmp_path: Path) -> None:
    said = UpstreamSettings("http://127.0.0.1:8000/v1/", open=True, model="m", key_env="LOCAL_KEY")
    settings = Settings(upstreams={"local": said, "closed": UpstreamSettings("https://api.example/v1", model="m")})
    to = reach(settings, tmp_path, "local", {"LOCAL_KEY": KEY}, list)
    assert (to.url, to.model, to.key.reveal(), to.clean) == ("http://127.0.0.1:8000/v1", "m", KEY, None)
    assert KEY not in repr(to)
    redacted = replace(settings, private=PrivateSettings("redacted"))
    assert reach(redacted, tmp_path, "local", {"LOCAL_KEY": KEY}, list).clean is list
    for name, why in (("other", "no \\[upstreams.other\\]"), ("closed", "closed API")):
        with pytest.raises(BadSetting, match=why):
            reach(settings, tmp_path, name, {}, list)
    nameless = Settings(upstreams={"local": replace(said, model="")})
    with pytest.raises(BadSetting, match="names no model"):
        reach(nameless, tmp_path, "local", {}, list)


@pytest.mark.parametrize(
    ("url", "outside"),
    [
        ("http://127.0.0.1:8000/v1", False),
        ("http://10.1.2.3/v1", False),
        ("http://localhost/v1", False),
        ("http://vllm:8000/v1", False),
        ("https://api.together.xyz/v1", True),
        ("http://8.8.8.8/v1", True),
        ("http://169.254.169.254/v1", True),
    ],
)
def test_what_is_in_the_house(url: str, outside: bool) -> None:
    assert is_outside(url) is outside


def test_from_an_artefact_and_its_name(host: OpenHost, tmp_path: Path) -> None:
    form = Form.of(TASK, "local", host.url, "qwen3-32b", private=False)
    (tmp_path / "hosted.json").write_bytes(form.encode())
    made = Artifact("ab" * 32, "hosted", "intents", "qwen3-32b", "Apache-2.0", (), {}, "", {})
    with closing(open_student(tmp_path, made, lambda name: Reach(name, host.url, "qwen3-32b", Secret("")))) as own:
        assert own.answers(["x"])[0].text == "transfer"
    assert title(made, tmp_path) == "qwen3-32b at local"
    with pytest.raises(StudentUnusable, match="none is given here"):
        open_student(tmp_path, made)
    (tmp_path / "hosted.json").write_bytes(b"{}")
    with pytest.raises(ArtifactDamaged):
        Form.read(tmp_path)


def test_stored_calls_may_differ_once(host: OpenHost) -> None:
    rows = [{"text": f"t{i}", "label": "transfer", "score": 0.1} for i in range(8)]
    with student(host) as own:
        assert check(own, rows) == 0.0
        assert check(own, [rows[0] | {"label": "balance"}, *rows[1:]]) == 0.0
        assert check(own, [row | {"label": "balance"} for row in rows[:2]] + rows[2:]) == 1.0


# where it may be asked, and who pays


def test_inside_the_house_is_where_its_name_leads(host: OpenHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local name that a resolver leads to a public address: nothing is sent there for a task that never leaves."""
    real, led = socket.create_connection, []

    def lead(address: tuple[str, int], *args: Any, **options: Any) -> socket.socket:
        led.append(address[0])
        return real(("127.0.0.1", address[1]), *args, **options)

    port = host.url.rpartition(":")[2]
    to = Reach("local", f"http://vllm:{port}", "qwen3-32b", Secret(""))
    form = Form.of(TASK, "local", to.url, "qwen3-32b", private=False)
    monkeypatch.setattr(socket, "create_connection", lead)
    with HostedStudent(form, to) as own:
        own.limit(inside=True)
        assert own.answers(["x"])[0].text == "transfer"
    monkeypatch.setattr(socket.socket, "getpeername", lambda _: ("93.184.215.14", 80))
    with HostedStudent(form, to) as own:
        assert own.answers(["x"])[0].text == "transfer"  # of another task: a local name may lead there
        seen = len(host.seen)
        own.close()
        own.limit(inside=True)
        own.limit()  # said once, it holds
        with pytest.raises(UpstreamMissing, match="address of another network"):
            own.answers(["private"])
    with HostedStudent(form, replace(to, inside=True)) as own, pytest.raises(UpstreamMissing):
        own.answers(["private"])
    assert (len(host.seen), set(led)) == (seen, {"vllm"})


@pytest.mark.parametrize(
    ("address", "inside"),
    [("127.0.0.1", True), ("::1", True), ("10.2.3.4", True), ("fd00::1", True), ("fe80::1%eth0", False),
     ("8.8.8.8", False), ("2606:4700::1", False), ("169.254.169.254", False), ("::ffff:127.0.0.1", False)],
)  # fmt: skip
def test_addresses_of_the_house(address: str, inside: bool) -> None:
    assert in_the_house(address) is inside


def test_reach_knows_the_tasks_that_never_leave(tmp_path: Path) -> None:
    said = UpstreamSettings("http://vllm:8000/v1", open=True, model="m")
    settings = Settings(upstreams={"local": said}, tasks={"intents": TaskSettings(leaves=False)})
    assert reach(settings, tmp_path, "local", {}, list, task="intents").inside
    assert not reach(settings, tmp_path, "local", {}, list, task="orders").inside


def test_a_host_whose_budget_is_spent_is_not_asked(host: OpenHost) -> None:
    billed: list[tuple[str, Tokens]] = []
    gate = Gate(left=lambda: 1.0 - len(billed), bill=lambda model, tokens: billed.append((model, tokens)))
    with student(host) as own:
        own.limit(gate=gate)
        assert own.answers(["x"])[0].able
        with pytest.raises(UpstreamMissing, match="budget of the day"):
            own.answers(["y"])
    assert billed == [("qwen3-32b", Tokens(100, 4))]
    assert len(host.seen) == 1


def test_a_host_that_failed_five_times_rests_and_is_tried_again(host: OpenHost) -> None:
    now = [0.0]
    gate = Gate(clock=lambda: now[0])
    host.fails = [503] * 5
    with student(host) as own, student(host) as another:
        own.limit(gate=gate)
        another.limit(gate=gate)
        for _ in range(5):
            with pytest.raises(UpstreamMissing, match="answered 503"):
                own.answers(["x"])
        for one in (own, another):
            with pytest.raises(UpstreamMissing, match="left alone"):
                one.answers(["x"])
        assert len(host.seen) == 5
        now[0] = 31.0
        assert another.answers(["x"])[0].able
        assert own.answers(["x"])[0].able


def test_a_host_that_is_down_is_left_alone() -> None:
    with hosting(lambda body: ("transfer", None)) as gone:
        own = student(gone)
    own.limit(gate=Gate(clock=lambda: 0.0))
    for why in ["can't be reached"] * 5 + ["left alone"]:
        with own, pytest.raises(UpstreamMissing, match=why):
            own.answers(["x"])


# connections


class Raw:
    """A host that does with each request what the next of `acts` does with its connection."""

    def __init__(self, *acts: Callable[[socket.socket], None]) -> None:
        self.acts, self.requests = list(acts), 0
        self._listen = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listen.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(20)
        self._listen.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while self.acts:
            taken, _ = self._listen.accept()
            with taken:
                while taken.fileno() >= 0 and self.acts and _whole_request(taken):
                    self.requests += 1
                    self.acts.pop(0)(taken)


def _whole_request(taken: socket.socket) -> bool:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = taken.recv(65536)
        if not piece:
            return False
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(
        next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    )
    while len(body) < length:
        body += taken.recv(65536)
    return True


def _answers(taken: socket.socket) -> None:
    body = json.dumps(completion("m", "transfer", Tokens(9, 1), "chatcmpl-1", 1)).encode()
    taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def _at(raw: Raw, **options: Any) -> HostedStudent:
    made = msgspec.structs.replace(Form.of(TASK, "local", raw.url, "m", private=False), logprobs=False)
    return HostedStudent(made, Reach("local", raw.url, "m", Secret(""), **options))


def test_a_call_that_nobody_waits_for_ends_at_its_host() -> None:
    asked, ended, gone = threading.Event(), threading.Event(), threading.Event()
    billed: list[Tokens] = []

    def never_answers(taken: socket.socket) -> None:
        asked.set()
        taken.settimeout(20)
        assert taken.recv(1) == b""
        ended.set()

    with Raw(never_answers, _answers) as raw, _at(raw) as own:
        own.limit(gate=Gate(bill=lambda model, tokens: billed.append(tokens)))
        failed: list[BaseException] = []

        def ask() -> None:
            try:
                own.answer_unless("x", gone.is_set)
            except UpstreamMissing as error:
                failed.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        assert asked.wait(20)
        gone.set()
        asking.join(20)
        assert ended.wait(20)
        assert "nobody waits" in str(failed[0])
        assert own.answer_unless("x", lambda: False).text == "transfer"
        with pytest.raises(UpstreamMissing, match="nobody waits"):
            own.answer_unless("x", lambda: True)
    assert raw.requests == 2  # nor was it sent again, and a call given up beforehand never was
    assert billed[0].completion == own.form.max_tokens  # the host may bill what it had begun
    assert billed[1:] == [Tokens(9, 1)]


def test_what_a_host_may_have_read_is_not_sent_again() -> None:
    billed: list[Tokens] = []
    with Raw(_answers, socket.socket.close, _answers) as raw, _at(raw) as own:
        own.limit(gate=Gate(bill=lambda model, tokens: billed.append(tokens)))
        assert own.answers(["x"])[0].able
        with pytest.raises(UpstreamMissing, match="can't be reached"):
            own.answers(["y"])  # on the same connection, which ends once the request was read
        assert (raw.requests, len(billed)) == (2, 2)
        assert own.answers(["z"])[0].able


def test_a_connection_that_the_host_has_closed_is_not_used() -> None:
    def answers_and_closes(taken: socket.socket) -> None:
        _answers(taken)
        taken.close()

    with Raw(answers_and_closes, _answers) as raw, _at(raw) as own:
        assert own.answers(["x"])[0].able
        (_, kept) = own._links._idle[0]
        until = time.monotonic() + 20
        while not hosted_link._readable(kept.sock):
            assert time.monotonic() < until
            time.sleep(0.01)
        assert own.answers(["y"])[0].able
    assert raw.requests == 2


def test_a_connection_that_lay_idle_for_long_is_not_used(host: OpenHost) -> None:
    now = [0.0]
    links = hosted_link.Links(host.url, lambda address: True, clock=lambda: now[0])
    body = json.dumps({"model": "m", "messages": []}).encode()
    for seconds, connections in ((0.0, 1), (2.0, 1), (6.0, 2)):
        now[0] = seconds
        assert links.post("/chat/completions", {}, body)[0] == 200
        assert host.connections == connections
    links.close()


def test_a_seat_lets_a_hosted_call_go(host: OpenHost) -> None:
    assert isinstance(student(host), Abandons)
