"""Where a plan says that students are tuned and models trained, and that its commands are freehold's own."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from freehold.cli import main
from freehold.errors import BadSetting
from freehold.nouns import Audit, Fact, LogFile, Measure, Plan, Repeats, Slot, Task, Template, Tokens, Training
from freehold.plan import plan
from freehold.plan.demand import by_hand
from freehold.plan.own import Wish
from freehold.plan.show import show
from freehold.train import command as train_command
from freehold.tune import command as tune_command
from freehold.tune.decoder.plan import TRAIN

TODAY = date(2026, 11, 25)
HAS = {"kind": "machine", "memory": 16 << 30, "per_node": 1, "bandwidth": 4e10, "prefill_flops": 4e11,
       "decode_bandwidth": 2e10, "crowd": 0.0, "threads": 4, "name": "made"}  # fmt: skip
MACHINE = Fact("hardware", "this-machine", HAS, "made", "2026-11-25")


def task(name: str, kind: str, tokens: Tokens, labels: int = 0) -> Task:
    template = Template((Slot("user", "", variable=True),))
    names = tuple(f"label{i}" for i in range(labels))
    return Task(name, template, kind, 4000, 0.5, labels=names, tokens=tokens, answer_tokens=90)  # type: ignore[arg-type]


TASKS = (task("route", "labels", Tokens(1_600_000, 8_000), 12), task("write sql", "sql", Tokens(1_200_000, 200_000)),
         task("few", "text", Tokens(100, 100)))  # fmt: skip


def audit(*tasks: Task) -> Audit:
    log = LogFile(("calls.jsonl",), "0" * 64, "0" * 64, 8000, 1)
    money = Measure(10.0, n=8000, unit="USD")
    return Audit(log, 8000, 0, (), tasks, Tokens(), money, money, None, None, (), Repeats(0, 0, Measure(None)))


@pytest.fixture(scope="module")
def made() -> Plan:
    """Two tasks to try, the open model by name, every weight of it asked for too."""
    few = replace(TASKS[2], calls=20)
    demand = by_hand(1e9, "gpt-4o", share=0.75, calls=None, today=TODAY)
    wish = Wish("llama-3.1-8b", train=2e9, machine=MACHINE)
    return plan(audit(*TASKS[:2], few), demand=demand, wish=wish, today=TODAY)


def of(plan: Plan, what: str, place: int = 0) -> Training:
    return [one for one in plan.training if one.what == what][place]


def parsed(line: str) -> argparse.Namespace:
    """As freehold's own parser of that verb reads it."""
    words = shlex.split(line)
    assert words[0] == "freehold"
    parser = argparse.ArgumentParser(exit_on_error=False)
    {"train": train_command, "tune": tune_command}[words[1]].flags(parser)
    return parser.parse_args(words[2:])


def test_a_label_student_is_fitted_here_in_minutes(made: Plan) -> None:
    one = of(made, "labels")
    assert (one.task, one.taken) == ("route", 0)
    assert one.site is not None
    assert one.site.here
    assert one.site.hours.value == pytest.approx(made.tasks[0].minutes.value / 60)  # type: ignore[operator]
    assert one.site.costs.value == pytest.approx(one.site.hours.value * made.machine_cost.value)  # type: ignore[operator]
    assert parsed(one.site.command).task == "route"
    assert [t.task for t in made.training if t.what == "labels"] == ["route"]  # what isn't tried isn't trained


def test_what_must_be_written_is_tuned_here_on_the_default_base_if_it_fits(made: Plan) -> None:
    one = of(made, "adapter")
    assert (one.task, one.model) == ("write sql", "smollm2-135m")
    assert one.site is not None
    assert one.site.memory == 16 << 30
    assert one.site.spread is not None
    assert 0.5e9 < one.site.spread.bytes < 8e9
    assert "--task 'write sql'" in one.site.command
    small = replace(MACHINE, values=HAS | {"memory": 1 << 30})
    tight = plan(audit(TASKS[1]), wish=Wish(machine=small), today=TODAY).training[0]
    assert tight.site is None
    assert "fits in no form" in tight.why


def test_an_adapter_on_the_open_model_goes_to_one_device(made: Plan) -> None:
    one = of(made, "adapter", 1)
    assert (one.task, one.model) == ("write sql", "llama-3.1-8b")
    assert one.tokens.value == pytest.approx(4000 * 0.75 * 0.9 * 350)
    names = [site.hardware for site in one.sites]
    assert names[0] == "this-machine"
    assert {"h100-sxm", "h200-sxm", "a100-sxm"} <= set(names)
    assert all(site.devices == 1 for site in one.sites)
    assert one.site is not None
    assert not one.site.here  # a laptop would take days: tune works in one thread
    least = 4 * 8.03e9 * 4000 * 0.75 * 0.9 * 350 / 1e11 / 3600
    assert one.sites[0].out or one.sites[0].hours.value >= least * 0.99  # type: ignore[operator]
    said = parsed(one.site.command)
    assert (said.device, said.kind, said.task) == ("cuda", "decoder", "write sql")
    assert one.site.hours.value is not None
    assert said.minutes >= 60 * one.site.hours.value / TRAIN
    ids = 4000 * 0.75 * 0.9 * 350
    assert one.site.hours.value == pytest.approx(4 * 8.03e9 * ids / 3600 / (9.89e14 * 0.31), rel=0.02)


def test_every_weight_goes_over_several_and_each_target_is_there(made: Plan) -> None:
    one = of(made, "whole")
    site = one.site
    assert site is not None
    assert (site.hardware, site.devices) == ("h100-sxm", 8)
    assert site.taken in ("fsdp", "zero1", "zero2", "zero3")
    assert [spread.launch for spread in site.spreads][:6] == ["ddp", "fsdp", "zero1", "zero2", "zero3", "tp"]
    assert next(s for s in site.spreads if s.launch == "ddp").out
    assert site.why.startswith(f"{site.taken}:")
    assert "not ddp" in site.why
    assert site.costs.value == pytest.approx(8 * site.hours.value * 2.95)  # type: ignore[operator]
    alone = next(s for s in one.sites if s.hardware == "h100-sxm" and s.devices == 1)
    assert alone.out.startswith("No way to spread this training fits")
    refs = {fact.ref for fact in made.used}
    assert {"calibration/training", "calibration/link", "hardware/h100-sxm", "rents/h100-sxm-market"} <= refs
    assert set(one.uses) <= refs


def test_every_command_is_one_that_freehold_reads(made: Plan) -> None:
    commands = [line for one in made.training for site in one.sites for line in site.command.splitlines()]
    assert len(commands) >= 10
    for line in commands:
        said = parsed(line)
        if said.__dict__.get("write"):
            assert said.into is not None
            assert said.tokens == "2B"
            assert train_command._where(said).all in (1, 8)
        elif "launch" in said.__dict__:
            train_command._asked(said).checked()


@pytest.mark.parametrize(
    ("model", "hardware", "said"),
    [
        ("smollm2-1.7b", "rtx-4090", ["8 --write skypilot", "--processes 8", "name of rtx-4090 there"]),
        ("llama-3.3-70b", "a100-pcie", ["--write torchrun", "--machines ", "--processes 8"]),
        ("qwen3-4b", "h200", ["of the kind qwen3", "nothing here was trained on"]),
    ],
)
def test_named_hardware_alone(typed: Callable[..., Plan], model: str, hardware: str, said: list[str]) -> None:
    demand = by_hand(1e8, "gpt-4o", share=0.75, calls=None, today=TODAY)
    one = plan(demand=demand, wish=Wish(model, hardware, train=1e9), today=TODAY).training[-1]
    assert len({site.hardware for site in one.sites}) == 1
    assert one.site is not None
    text = " ".join((one.site.taken, one.site.command, *one.notes))
    for part in said:
        assert part in text


@pytest.mark.parametrize(
    ("model", "offered"), [("llama-3.1-8b", True), ("mixtral-8x7b", False), ("mistral-nemo", False)]
)
def test_megatron_is_offered_where_its_files_can_be_written(model: str, offered: bool) -> None:
    demand = by_hand(1e8, "gpt-4o", share=0.75, calls=None, today=TODAY)
    one = plan(demand=demand, wish=Wish(model, "h100", train=1e9), today=TODAY).training[-1]
    found = {spread.launch.split()[0] for site in one.sites for spread in site.spreads}
    assert "fsdp" in found
    assert ("megatron" in found) is offered


def test_a_model_of_another_kind_is_served_as_it_is_and_another_is_tuned(typed: Callable[..., Plan]) -> None:
    made = typed(1e9, "gpt-4o")
    (one,) = made.training
    assert one.what == "adapter"
    assert one.model == "mistral-small-3.2-24b"
    assert "qwen3-30b-a3b-2507 is served as it is: it is of the kind qwen3_moe" in one.notes[0]
    assert "1,000 logged calls are assumed" in one.tokens.method


def test_no_log_and_no_demand_trains_nothing() -> None:
    assert plan(today=TODAY).training == ()
    with pytest.raises(BadSetting, match="does not say what to train"):
        plan(audit(TASKS[0]), wish=Wish(train=1e9), today=TODAY)


def test_a_terminal_shows_it(made: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    show(made, "somewhere")
    text = capsys.readouterr().out
    assert "where to train" in text
    flat = " ".join(text.split())
    assert "2 students (route, write sql): on this machine, no card is needed" in flat
    assert ">  8 x h100-sxm" in text
    assert "seconds are a most: no talk is thought to hide behind work" in flat
    assert "run     freehold train TEXT --base DIR --tokens 2B --set dtype=bfloat16 --launch" in text
    assert "this machine" in text


def test_the_flag_goes_into_the_plan_and_verify_computes_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["plan", "--tokens", "10M/month", "--from", "gpt-6-luna", "--model", "smollm2-1.7b", "--train", "500M"]
    asked += ["--project", str(tmp_path / "p"), "--on", "2026-11-25"]
    assert main([*asked, "--json"]) == 0
    saved = json.loads(capsys.readouterr().out)
    assert saved["given"]["train"] == "500M"
    whole = saved["training"][-1]
    assert whole["tokens"]["value"] == 5e8
    assert whole["sites"][whole["taken"]]["taken"]
    main(["plan", "--verify", "--project", str(tmp_path / "p")])
    assert "as of 2026-11-25  the same to the cent" in capsys.readouterr().out


@pytest.mark.parametrize("amount", ["2B/month", "many", "3M calls", "0", "-2B", "2X"])
def test_an_amount_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str], amount: str) -> None:
    asked = ["plan", "--tokens", "10M/month", "--from", "gpt-6-luna", f"--train={amount}"]
    assert main([*asked, "--project", str(tmp_path / "p")]) == 2
    assert "--train is" in capsys.readouterr().err
