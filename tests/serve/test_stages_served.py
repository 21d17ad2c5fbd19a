"""The whole way over HTTP: a new student from shadow to full, and a closing that two servers on one folder share."""

from __future__ import annotations

from collections import Counter

from freehold.project import Project
from freehold.project.gateway import RolloutSettings

from .conftest import StandIn, Start, client, ledger, request, until
from .rollout import events

STEPS = RolloutSettings(steps=(0.05, 0.25))


async def test_a_new_student_takes_over_step_by_step(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.answer = "balance"
    home: set[str] = set()
    async with start(upstream, pairs=0.5, rollout=STEPS) as app, client(app) as api:
        pairs, stage = app.parts.pairs, app.parts.steps[0].stage
        assert pairs is not None
        assert stage is not None
        for i in range(399):
            user = f"u-{i % 50}"
            was_in = stage.at(f"user {user}")
            answer = await api.chat.completions.create(**request(f"question {i}"), user=user)
            is_home = answer.model.startswith("freehold/")
            assert is_home or not was_in  # who is in stays in
            assert not is_home or stage.at(f"user {user}")
            if is_home:
                home.add(user)
            await until(lambda: pairs.waiting < 32)
            if stage.name == "full":
                break
        await until(lambda: stage.name == "full")
        assert (await api.chat.completions.create(**request("what do i have"))).model.startswith("freehold/")
    rows = [row["freehold"] for row in ledger(project)]
    whys = Counter(own["why"] for own in rows)
    assert min(whys["shadow"], whys["canary"], whys["home"], len(home)) >= 2
    assert {(own["probability"], own["student"]) for own in rows if own["why"] in ("shadow", "canary")} == {(1.0, None)}
    assert [event["share"] for event in events(project, "stage")] == [0.0, 0.05, 0.25, 1.0]
    async with start(upstream, pairs=0.5, rollout=STEPS) as app, client(app) as api:
        assert (await api.chat.completions.create(**request("what do i have"))).model.startswith("freehold/")


async def test_a_closing_holds_in_every_server_on_the_folder(project: Project, start: Start, upstream: StandIn) -> None:
    upstream.answer = "transfer"
    async with start(upstream, pairs=1.0) as one, start(upstream, pairs=1.0) as other, client(one) as api:
        pairs = one.parts.pairs
        assert pairs is not None
        for n in range(1, 40):
            answer = await api.chat.completions.create(**request("what do i have"))
            if not answer.model.startswith("freehold/"):
                break
            await until(lambda n=n: pairs.asked == n)  # type: ignore[misc]
        assert not one.parts.steps[0].rung.open
        await until(lambda: not other.parts.steps[0].rung.open)
        assert "pairs differ" in other.parts.steps[0].rung.why
    assert len([event for event in events(project, "closed") if event["by"] == "monitor"]) == 1
