"""A verdict on a terminal: the sentence, then the figures, then where the student loses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from freehold.nouns import Verdict

__all__ = ["show"]

WORST = 8


def show(verdicts: Sequence[Verdict]) -> None:
    """Print the verdicts on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = Console(highlight=False)
    for v in verdicts:
        out.print(f"\n[bold]{sentence(v)}[/]")
        out.print(v.reason, markup=False)
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, said in figures(v):
            table.add_row(Text(name, style="dim"), Text(said))
        out.print(table)
        lost = [row for row in v.labels if row.wrong][:WORST]
        if lost:
            table = Table(box=None, pad_edge=False, header_style="dim")
            for head in ("where it loses", "calls", "kept", "wrong", "taken for"):
                table.add_column(head, justify="left" if head in ("where it loses", "taken for") else "right")
            for row in lost:
                cells = (row.label, f"{row.calls:,}", f"{row.kept:,}", f"{row.wrong:,}", row.confused_with)
                table.add_row(*(Text(cell) for cell in cells))
            out.print(table)
        for note in v.notes:
            out.print(note, markup=False)


def sentence(v: Verdict) -> str:
    """The verdict in one sentence."""
    if v.decision == "move":
        return f"{v.task}: move. {v.kept_home} of its calls can stay home at bar {v.bar:g}."
    if v.decision == "need_more":
        more = "more calls" if v.needed is None else f"{v.needed:,} more calls"
        return f"{v.task}: need more. {more} could prove it at bar {v.bar:g}."
    return f"{v.task}: stay with the closed model at bar {v.bar:g}."


def figures(v: Verdict) -> Iterator[tuple[str, str]]:
    """Name and value of what the verdict rests on."""
    yield "agreement", f"{v.agreement}; {v.agreement.method}"
    if v.threshold is not None:
        yield "threshold", f"{v.threshold:.6g}"
    if v.evidence is not None:
        e = v.evidence
        yield (
            "evidence",
            f"{e.cal_groups:,} certification calls ({e.cal_calls:,} with near-duplicates), {e.fit_calls:,} fit",
        )
        for said, n in (("the server sends up", e.not_honoured), ("have no whole answer", e.failed)):
            if n:
                yield "", f"{n:,} more, which {said}: not kept, and part of the share"
        yield "opening", f"{e.opening}, joint confidence >= {e.joint_confidence:.3g}"
        yield "design effect", f"{e.design_effect:.2f}"
        yield "per call", f"agreement {e.per_call}; kept {e.kept_per_call}"
        yield "newest tenth", f"{e.out_of_time}"
        yield "noise floor", f"{v.noise}; {v.noise.method}"
        yield "latency", f"{v.latency}"
    for name in ("bill", "home", "saved"):
        if name in v.money:
            yield name, f"{v.money[name]}"
    if "home" in v.money and v.money["home"].value is not None:
        yield "", v.money["home"].method
    for notice in v.terms:
        yield f"terms, {notice.vendor}", f"{notice.outcome}: {notice.text} ({notice.clause}, {notice.as_of})"
