"""The reasons of a plan, a sentence for each choice that nobody made by hand, with its source.

reasons(plan, size, ...) -> ("Size: 2 layers of 96, 0.6M parameters: ...", "Batch: ...", ..., "As asked: layers 4.")
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from freehold.train.dial.enough import EPOCHS
from freehold.train.dial.size import Budget, Size, millions
from freehold.train.dial.speed import Speed
from freehold.train.nouns import Plan

__all__ = ["reasons"]


def reasons(
    plan: Plan, size: Size, budget: Budget, speed: Speed, given: Mapping[str, Any], *, again: bool
) -> tuple[str, ...]:
    said = [text for names, text in _all(plan, size, budget, speed, again) if not set(names) & set(given)]
    if given:
        said.append("As asked: " + ", ".join(f"{name} {_value(value)}" for name, value in given.items()) + ".")
    return tuple(said)


def _value(value: Any) -> str:
    return "/".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)


def _all(plan: Plan, size: Size, budget: Budget, speed: Speed, again: bool) -> Iterator[tuple[tuple[str, ...], str]]:
    """(fields that a sentence is about, the sentence)."""
    if again:
        yield (), f"Size: the model's own, {_parameters(size)}."
    else:
        yield ("width", "layers"), _size(size, budget)
        yield from _shape(plan)
    yield (
        ("context",),
        (
            f"Context: rows of {plan.shape.context} ids, longer for wider models, half of it where a token is about a "
            "character, an eighth of the held-out text at most."
        ),
    )
    yield from _steps(plan, size, budget, speed)
    yield from _rate(plan, again)
    yield ("dtype",), f"Arithmetic: {speed.said}."
    if speed.together:
        yield (), f"Threads: {speed.together}."


def _parameters(size: Size) -> str:
    if size.active == size.parameters:
        return f"{millions(size.parameters)} parameters"
    return f"{millions(size.active)} active of {millions(size.parameters)} parameters"


def _size(size: Size, budget: Budget) -> str:
    times = size.tokens / budget.once
    worth = f", {times:.1f} times the text, worth {millions(size.worth)} (Muennighoff et al., arXiv 2305.16264)"
    which = "the largest that learns enough" if size.worth >= size.asks else "it learns less than enough"
    said = (
        f"Size: {size.shape.layers} layers of {size.shape.width}, {_parameters(size)}: {which}, "
        f"20 tokens a parameter (Hoffmann et al., arXiv 2203.15556) being {millions(size.asks)}, and "
        f"{millions(size.tokens)} are read{worth if times > 1 else ''}. {size.why}".strip()
    )
    if times > EPOCHS:
        said += (
            f" More than {EPOCHS} times the same text teaches next to nothing more: give more text, or fewer tokens."
        )
    return said


def _shape(plan: Plan) -> Iterator[tuple[tuple[str, ...], str]]:
    s = plan.shape
    yield ("layers",), f"Depth: {s.layers} layers, one for each 64 of width, at least 2 (nanochat)."
    yield ("heads", "kv_heads"), f"Heads: {s.heads} of {s.width // s.heads} numbers, each with keys of its own."
    if not s.experts:
        yield ("inner",), f"MLP: {s.inner} inside, 8/3 of the width (Shazeer, arXiv 2002.05202), in whole 64s."
        return
    yield (
        ("experts", "chosen", "inner"),
        (
            f"Experts: {s.experts}, {s.chosen} for each token (Mixtral, arXiv 2401.04088), each of {s.inner} inside, "
            "so that as many parameters are active as in the dense model."
        ),
    )
    yield (
        ("balance",),
        (f"Balance: {plan.balance:g} of the loss that keeps experts evenly used (Switch, arXiv 2101.03961)."),
    )


def _steps(plan: Plan, size: Size, budget: Budget, speed: Speed) -> Iterator[tuple[tuple[str, ...], str]]:
    ids = plan.rows * plan.shape.context
    yield (
        ("rows",),
        (
            f"Batch: {plan.rows} rows, {ids:,} ids a step: 0.3 of Step Law's 0.58 D^0.571 (arXiv 2503.04715), since "
            "small models learned more from small steps in our runs, as in arXiv 2507.07101."
        ),
    )
    each = speed.step(ids // budget.processes)
    takes = (
        f", about {plan.steps * each / 60:.1f} minutes of learning at {ids / each:,.0f} tokens a second on a "
        "machine that does nothing else"
        if each
        else ""
    )
    capped = budget.seconds is not None and size.tokens >= EPOCHS * budget.once
    yield (
        ("steps",),
        (
            f"Steps: {plan.steps:,}, {millions(plan.tokens)} tokens{takes}."
            + f" The text is read {EPOCHS} times and the rest of the minutes is not used." * capped
        ),
    )


def _rate(plan: Plan, again: bool) -> Iterator[tuple[tuple[str, ...], str]]:
    rule = f"{plan.rate:g}: a quarter of DeepSeek LLM's 0.3118 C^-0.125 (arXiv 2401.02954), for steps as small as these"
    if again:
        rule += "; a tenth of that, warmed up again, for a model that has learned (Ibrahim et al., arXiv 2403.08763)"
    yield ("rate",), f"Rate: {rule}."
    yield (
        ("warm", "schedule", "least"),
        (
            f"Schedule: {plan.warm:,} steps up, then down in a straight line to nothing, which beat a cosine to a "
            "tenth here as in Bergsma et al., arXiv 2502.15938."
        ),
    )
    yield (
        ("decay", "betas", "clip"),
        (
            f"AdamW: decay {plan.decay:g} of matrices, betas {plan.betas[0]:g} and {plan.betas[1]:g} (0.99 for steps "
            "of less than 4,096 ids, arXiv 2507.07101, else 0.95), gradients clipped "
            f"at {plan.clip:g} (Llama, arXiv 2302.13971)."
        ),
    )
