"""The engine: one contract that the real one and its scripted twin both keep, and what only a real process can do."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from freehold.engines.llama.completion import Request, speculation
from freehold.engines.llama.engine import Engine, container_cores, idle_cores
from freehold.engines.scripted import ScriptedEngine
from freehold.errors import AdapterMismatch, BadSetting, BaseUnusable, EngineFailed, MissingExtra, SchemaUnmet

CAPITAL = [{"role": "user", "content": "What is the capital of France? One word."}]
ANSWER = "The capital of France is Paris."
LONG = [{"role": "user", "content": "Write a long story about a llama."}]


@pytest.fixture(scope="module")
def real(smollm2: Path) -> Iterator[Engine]:
    pytest.importorskip("xllamacpp")
    with Engine.start(smollm2, context=256, threads=1) as engine:
        yield engine


@pytest.fixture(params=["scripted", "real"])
def engine(request: pytest.FixtureRequest) -> Any:
    if request.param == "real":
        return request.getfixturevalue("real")
    return ScriptedEngine({"capital of France": (ANSWER, 0.7)}, otherwise=("word " * 99, 0.2), context=256)


# the contract


def test_an_answer_has_its_end_token_and_a_logprob_for_each_token(engine: Any) -> None:
    said = engine.complete(Request(CAPITAL, max_tokens=40))
    assert (said.text, said.stopped) == (ANSWER, "eos")
    assert said.tokens[-1] == engine.end()
    assert said.prompt_tokens == len(engine.ids(CAPITAL))
    assert len(said.logprobs) == len(said.top) == len(said.tokens)
    assert all(logprob <= 0 for logprob in said.logprobs)
    assert [list(top) for top in said.top] == [[token] for token in said.tokens]


def test_its_cpu_seconds_grow_with_what_it_writes(engine: Any) -> None:
    before = engine.cpu_seconds()
    engine.complete_all([Request(CAPITAL, max_tokens=24)] * 4)
    assert engine.cpu_seconds() > before


def test_messages_and_their_ids_are_the_same_question(engine: Any) -> None:
    ids = engine.ids(CAPITAL)
    assert ids == engine.tokenize(engine.template(CAPITAL))
    assert engine.complete(Request(prompt_ids=ids, max_tokens=40)) == engine.complete(Request(CAPITAL, max_tokens=40))


def test_a_stream_brings_the_same_answer_in_pieces(engine: Any) -> None:
    whole = engine.complete(Request(CAPITAL, max_tokens=40))
    pieces, stream = [], engine.stream(Request(CAPITAL, max_tokens=40))
    with contextlib.suppress(StopIteration):
        while True:
            pieces.append(next(stream))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert len(pieces) > 1


def test_an_answer_that_is_not_finished_says_so(engine: Any) -> None:
    said = engine.complete(Request(CAPITAL, max_tokens=3))
    assert (said.stopped, len(said.tokens)) == ("length", 3)
    assert ANSWER.startswith(said.text)


def test_a_stop_text_ends_the_answer_before_it(engine: Any) -> None:
    said = engine.complete(Request(CAPITAL, max_tokens=40, stop=(" France",)))
    assert (said.text, said.stopped) == ("The capital of", "stop")


def test_many_answers_come_in_order(engine: Any) -> None:
    said = engine.complete_all([Request(CAPITAL, max_tokens=40), Request(LONG, max_tokens=2)])
    assert said[0].text == ANSWER
    assert said[1].stopped == "length"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            Request([{"role": "user", "content": "x y " * 300}]),
            "The prompt has [0-9,]+ tokens, and the engine's context 256",
        ),
        (Request(CAPITAL, adapter=0), "0 adapters; there is no number 0"),
        (Request(CAPITAL, prefix=3), "a prompt in ids"),
        (Request(prompt_ids=[]), "at least one token"),
        (Request(CAPITAL, max_tokens=0), "max_tokens of at least 1"),
    ],
)
def test_what_can_not_be_asked_is_refused_in_one_sentence(engine: Any, request_: Request, words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        engine.complete(request_)


def test_a_schema_that_can_not_be_held_to_is_refused_and_never_ignored(engine: Any) -> None:
    with pytest.raises(SchemaUnmet, match="can't be held to"):
        engine.complete(Request(CAPITAL, schema={"type": "nonsense"}))


@pytest.mark.parametrize(
    ("value", "fits"), [({"city": "Paris"}, True), ({"city": 3}, False), ({"town": "Paris"}, False), ([1], False)]
)
def test_the_engine_says_whether_a_value_satisfies_a_schema(engine: Any, value: Any, fits: bool) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert engine.compiles({"allOf": [schema, {"const": value}]}) is fits


@pytest.mark.parametrize("kind", ["scripted", "real"])
def test_a_closed_engine_answers_no_more(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "real":
        engine: Any = Engine.start(request.getfixturevalue("smollm2"), context=64, threads=1)
    else:
        engine = ScriptedEngine({"": ("x", 0.5)})
    engine.close()
    engine.close()
    with pytest.raises(EngineFailed, match="closed"):
        engine.complete(Request(CAPITAL))


def test_the_scripted_twin_dies_when_told() -> None:
    engine = ScriptedEngine({"capital": (ANSWER, 0.7)}, dies=1)
    assert engine.complete(Request(CAPITAL)).text == ANSWER
    engine.dies = 2
    with pytest.raises(EngineFailed, match="twice"):
        engine.complete(Request(CAPITAL))
    assert engine.complete(Request(CAPITAL)).text == ANSWER


# answers of the real one


def test_a_schema_is_held_to(real: Engine) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}
    schema |= {"additionalProperties": False, "x-guidance": {"whitespace_flexible": False}}
    said = real.complete(Request(CAPITAL, max_tokens=40, schema=schema, logprobs=3))
    assert said.text == '{"city":"Paris"}'
    assert all(len(top) == 3 for top in said.top)


def test_log_probabilities_may_be_left_out(real: Engine) -> None:
    scored, bare = (real.complete(Request(CAPITAL, max_tokens=3, logprobs=n)) for n in (0, None))
    assert bare.tokens == scored.tokens
    assert all(math.isnan(x) for x in bare.logprobs)


def test_characters_of_several_tokens_come_whole(real: Engine) -> None:
    emojis = [
        {"role": "system", "content": "Answer with emojis."},
        {"role": "user", "content": "Say: naïve 😀🦙 日本語"},
    ]
    said = real.complete(Request(emojis, max_tokens=11))
    pieces = [piece.text for piece in real.stream(Request(emojis, max_tokens=11))]
    assert "".join(pieces) == said.text.rstrip("\ufffd")
    assert all(len(piece) == 1 and ord(piece) > 0xFFFF for piece in pieces)
    assert len(said.tokens) == len(said.logprobs) == 11
    assert sum(math.isnan(x) for x in said.logprobs) >= 2 * len(pieces)  # llama.cpp reports a character's last token


def test_the_same_question_gives_the_same_bits_whatever_came_before(smollm2: Path, real: Engine) -> None:
    system = "You turn what people ask for into one line of JSON that holds their intent, and no more.\n"
    asks = [f"{verb} {thing}" for verb in ("play", "book me", "find", "rate") for thing in
            ("some jazz", "a table for 4", "Moby Dick", "the film Dune at noon", "日本 in the rain")]  # fmt: skip

    def bits(engine: Engine, prefix: int, ask: str) -> Any:
        ids = engine.tokenize(system + ask)
        return engine.complete(Request(prompt_ids=ids, max_tokens=3, prefix=prefix))

    for prefix, some in ((0, asks), (18, asks[:6])):
        first = {ask: bits(real, prefix, ask) for ask in some}
        assert {ask: bits(real, prefix, ask) for ask in reversed(some)} == first  # in another order, after others
        real.complete(Request(LONG, max_tokens=2))
        assert bits(real, prefix, some[4]) == first[some[4]]
        with Engine.start(smollm2, context=256, threads=1) as other:  # alone
            assert bits(other, prefix, some[-1]) == first[some[-1]]


def test_a_schema_that_is_looked_at_between_two_questions_changes_no_bit(real: Engine) -> None:
    """Two students share the engine, and one asks whether its schema compiles: the other's kept prefix is gone."""
    system = "You turn what people ask for into one line of JSON that holds their intent, and no more.\n"

    def bits(ask: str) -> Any:
        return real.complete(Request(prompt_ids=real.tokenize(system + ask), max_tokens=2, prefix=18))

    asks = ["play some jazz", "book a table for 4"]
    first = {ask: bits(ask) for ask in asks}
    for ask in asks:
        assert real.compiles({"type": "object", "properties": {ask: {"type": "string"}}})
        assert bits(ask) == first[ask]


def test_a_prefix_that_was_lost_is_an_error_and_never_other_bits(real: Engine) -> None:
    ids = real.tokenize("You turn what people ask for into one line of JSON that holds their intent, and no more. Go")
    first = real.complete(Request(prompt_ids=ids, max_tokens=1, prefix=18))
    with real.up().turn():
        real.up().post("/completion", {"prompt": [1, 2, 3], "n_predict": 1})  # what nobody but a defect would do
    with pytest.raises(EngineFailed, match="did not keep the prefix"):
        real.complete(Request(prompt_ids=[*ids[:18], ids[17]], max_tokens=1, prefix=18))
    assert real.complete(Request(prompt_ids=ids, max_tokens=1, prefix=18)) == first


def test_the_number_of_threads_changes_no_bit(smollm2: Path, real: Engine) -> None:
    request = Request(prompt_ids=real.tokenize("One two three four five"), max_tokens=1, logprobs=5)
    with Engine.start(smollm2, context=256, threads=2) as other:
        assert other.complete(request) == real.complete(request)


@pytest.mark.parametrize(
    ("said", "cores"), [("200000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 65536), ("", 65536)]
)
def test_a_container_has_no_more_threads_than_its_share(tmp_path: Path, said: str, cores: int) -> None:
    (tmp_path / "cpu.max").write_text(said)
    assert container_cores(tmp_path / "cpu.max") == cores
    assert container_cores(tmp_path / "none") == 65536
    assert 1 <= idle_cores() <= len(os.sched_getaffinity(0))


def test_a_cancelled_stream_frees_the_engine(real: Engine) -> None:
    stream = real.stream(Request(LONG, max_tokens=200))
    next(stream)
    stream.close()
    used = psutil.Process(real.pid).cpu_times().user
    assert real.complete(Request(CAPITAL, max_tokens=1)).stopped == "length"
    assert psutil.Process(real.pid).cpu_times().user - used < 1.5  # 200 tokens would take more


def test_it_listens_on_no_port_and_logs_no_prompt(real: Engine) -> None:
    real.complete(Request(CAPITAL, max_tokens=1))
    process = real.up()
    assert psutil.Process(process.pid).net_connections("inet") == []
    folder = Path(process.address).parent
    assert folder.stat().st_mode & 0o077 == 0
    assert b"France" not in (folder / "log").read_bytes()


def test_what_it_leaves_is_nothing(smollm2: Path) -> None:
    with Engine.start(smollm2, context=64, threads=1) as engine:
        folder, pid = Path(engine.up().address).parent, engine.pid
    assert not folder.exists()
    assert not psutil.pid_exists(pid or 0)


def test_threads_may_ask_at_once(smollm2: Path) -> None:
    with Engine.start(smollm2, context=128, slots=4, threads=1) as engine:
        said = engine.complete_all([Request(CAPITAL, max_tokens=20)] * 6)
        assert [one.text for one in said] == [ANSWER] * 6


# deaths


def test_a_killed_child_is_started_again(real: Engine) -> None:
    before = real.complete(Request(CAPITAL, max_tokens=20))
    os.kill(real.pid or 0, signal.SIGKILL)
    assert real.complete(Request(CAPITAL, max_tokens=20)) == before


def test_a_child_killed_in_the_middle_of_a_stream_goes_on_where_it_was(real: Engine) -> None:
    whole = real.complete(Request(LONG, max_tokens=12))
    stream = real.stream(Request(LONG, max_tokens=12))
    text = next(stream).text + next(stream).text
    os.kill(real.pid or 0, signal.SIGKILL)
    assert text + "".join(piece.text for piece in stream) == whole.text


def test_a_second_death_on_the_same_call_is_an_error(smollm2: Path) -> None:
    with Engine.start(smollm2, context=256, threads=1) as engine:
        over = threading.Event()

        def kill_each() -> None:
            while not over.wait(0.02):
                with contextlib.suppress(ProcessLookupError):
                    if engine.pid:
                        os.kill(engine.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill_each)
        ids = engine.ids(LONG)
        killer.start()
        try:
            with pytest.raises(EngineFailed, match=r"died.*twice"):
                engine.complete(Request(prompt_ids=ids, max_tokens=200))
        finally:
            over.set()
            killer.join()
        assert engine.complete(Request(CAPITAL, max_tokens=20)).text == ANSWER


def test_a_child_that_hangs_is_ended(smollm2: Path) -> None:
    with Engine.start(smollm2, context=64, threads=1, silence=0.5) as engine:
        os.kill(engine.pid or 0, signal.SIGSTOP)
        while psutil.Process(engine.pid).status() != psutil.STATUS_STOPPED:  # a signal takes its time on a busy machine
            time.sleep(0.01)
        with pytest.raises(EngineFailed, match="said nothing for longer"):
            engine.tokenize("hello")
        assert engine.tokenize("hello") == [28120]


def test_the_child_ends_with_its_parent_and_leaves_no_folder(smollm2: Path, tmp_path: Path) -> None:
    code = "import sys, os, signal; from pathlib import Path; from freehold.engines.llama.engine import Engine\n"
    code += "engine = Engine.start(Path(sys.argv[1]), context=64, threads=1)\n"
    code += "print(engine.pid, engine.up().address, flush=True)\n"
    code += "os.kill(os.getpid(), signal.SIGKILL)"
    (tmp_path / "msgspec.py").write_text("raise SystemExit(3)")  # what lies where we stand is not imported
    command = [sys.executable, "-P", "-c", code, str(smollm2)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    child, address = int(done.stdout.split()[0]), Path(done.stdout.split()[1])
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)
    assert not address.parent.exists()


def test_without_its_package_the_sentence_says_what_to_install(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ModuleNotFoundError(\"No module named 'xllamacpp'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingExtra, match=r"needs the package xllamacpp.*freehold\[text\]"):
        Engine.start(smollm2, context=64, threads=1)


# files


def damaged(kind: str, whole: bytes) -> bytes:
    if kind == "half":
        return whole[: len(whole) // 2]
    if kind == "bit":
        return whole[:9] + bytes([whole[9] ^ 0x10]) + whole[10:]
    if kind == "architecture":
        return whole.replace(b"\x05\x00\x00\x00\x00\x00\x00\x00llama", b"\x05\x00\x00\x00\x00\x00\x00\x00lxama", 1)
    return {"text": b"hello world\n" * 100, "pickle": b"\x80\x04\x95\x0b\x00", "zip": b"PK\x03\x04zip", "empty": b""}[
        kind
    ]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("half", "not within the file bounds"),
        ("bit", "failed to read tensor info"),
        ("architecture", "unknown model architecture: 'lxama'"),
        ("text", "is no GGUF file"),
        ("empty", "is no GGUF file"),
        ("pickle", "looks like a pickle"),
        ("zip", "looks like a pickle"),
    ],
)
def test_a_damaged_model_is_refused_in_one_sentence(kind: str, words: str, smollm2: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(damaged(kind, smollm2.read_bytes()))
    with pytest.raises(BaseUnusable, match=words) as failed:
        Engine.start(path, context=64, threads=1)
    assert "\n" not in str(failed.value)
    path.unlink()


LOUD = """
    import ctypes, os
    from freehold.engines.gguf.ggml import library
    from freehold.engines.llama.child import _written

    lib = library()
    lib._Z15common_log_mainv.restype = ctypes.c_void_p
    log = ctypes.c_void_p(lib._Z15common_log_mainv())
    for i in range(200):
        lib._Z14common_log_addP10common_log14ggml_log_levelPKcz(log, ctypes.c_int(4), b"why it failed\\n")
    _written()
    os._exit(1)
"""


def test_what_llama_cpp_says_is_written_before_the_process_ends() -> None:
    pytest.importorskip("xllamacpp")
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(LOUD)], capture_output=True, text=True, check=False)
    assert done.stderr.count("why it failed") == 200, done.stderr[:300]


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BaseUnusable, match="No such file"):
        Engine.start(tmp_path / "none.gguf", context=64)


def test_a_model_without_a_chat_template_is_not_given_another(smollm2: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(smollm2.read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.chat_tamplete", 1))
    with Engine.start(path, context=64, threads=1) as engine:
        assert engine.complete(Request(prompt_ids=engine.tokenize("Hello"), max_tokens=1)).prompt_tokens == 1
        with pytest.raises(BaseUnusable, match="no chat template"):
            engine.ids(CAPITAL)
    path.unlink()


# adapters


def lora(path: Path, width: int = 576, seed: int = 0) -> Path:
    """A random adapter for one tensor of the base, strong enough to change what it says."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 16.0)
    rng = np.random.default_rng(seed)
    writer.add_tensor("blk.29.ffn_down.weight.lora_a", rng.normal(0, 0.1, (4, 1536)).astype(np.float32))
    writer.add_tensor("blk.29.ffn_down.weight.lora_b", rng.normal(0, 0.1, (width, 4)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_adapters_are_chosen_by_request_and_added_while_it_runs(smollm2: Path, real: Engine, tmp_path: Path) -> None:
    bare = real.complete(Request(CAPITAL, max_tokens=6))
    with Engine.start(smollm2, adapters=[lora(tmp_path / "one.gguf")], context=256, threads=1) as engine:
        one = engine.complete(Request(CAPITAL, max_tokens=6, adapter=0))
        assert one.logprobs != bare.logprobs
        assert engine.complete(Request(CAPITAL, max_tokens=6)) == bare  # untouched by the adapter beside it
        stream = engine.stream(Request(LONG, max_tokens=6))
        text, old = next(stream).text, psutil.Process(engine.pid)
        assert engine.with_adapter(lora(tmp_path / "two.gguf", seed=1)) == 1
        two = engine.complete(Request(CAPITAL, max_tokens=6, adapter=1))
        assert two.logprobs not in (one.logprobs, bare.logprobs)
        assert engine.complete(Request(CAPITAL, max_tokens=6, adapter=0)) == one
        assert old.is_running()
        assert len(text + "".join(piece.text for piece in stream)) > len(text)  # a call under way ends on the old one
        assert not old.is_running()
        assert engine.with_adapter(tmp_path / "one.gguf") == 0


def test_an_adapter_for_another_base_is_refused(smollm2: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterMismatch, match="does not fit"):
        Engine.start(smollm2, adapters=[lora(tmp_path / "a.gguf", width=512)], context=64, threads=1)


# speculation


def test_speculation_is_counted_and_changes_no_answer(smollm2: Path) -> None:
    again = [{"role": "user", "content": "Repeat this: one two three four one two three four one two three four"}]
    with Engine.start(smollm2, context=256, threads=1) as plain:
        expected = plain.complete(Request(again, max_tokens=24))
    spec = {"kind": "ngram", "match": 2, "tokens": 4}
    with Engine.start(smollm2, context=256, threads=1, speculate=spec) as engine:
        said = engine.complete(Request(again, max_tokens=24))
    assert expected.drafted == 0
    assert said.drafted > 0
    assert 0 < said.accepted <= said.drafted
    assert said.text == expected.text
    # llama.cpp's server looks at no probability of what was drafted: not known is not certain
    assert not any(logprob == 0.0 for logprob in said.logprobs)
    assert sum(math.isnan(logprob) for logprob in said.logprobs) >= said.accepted


def test_an_unknown_speculation_lists_the_known() -> None:
    with pytest.raises(BadSetting, match="ngram"):
        speculation({"kind": "magic"})
