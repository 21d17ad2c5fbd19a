"""What is said beside a verdict, in sentences: what it is a promise of, and what there is to be wary of.

per call below the bar → first; then the promise, the opening, what the server sends up, what failed, drift, noise
"""

from __future__ import annotations

from collections.abc import Sequence

from freehold.nouns import Evidence, Measure
from freehold.prove.calls import UNABLE, UNFIT, Held, Scored
from freehold.prove.describe import noise_note

__all__ = ["barred", "notes", "reopened"]

PROMISE = "The promise is per distinct request: of near-duplicates one random call certifies."


def notes(held: Held, scored: Scored, found: Evidence, noise: Measure, moves: bool, bar: float) -> tuple[str, ...]:
    """The notes of a verdict, the loudest first."""
    said = [PROMISE, _opening(found)]
    if held.obstacles:
        said.append(_sentence(barred(held)))
    if unable := int((scored.scores[held.cal] == UNABLE).sum()):
        said.append(f"{unable:,} certification calls are more than the student can read or answer whole: they go up.")
    if broken := int((scored.scores[held.cal] == UNFIT).sum()):
        said.append(
            f"{broken:,} answers are no whole JSON or call a tool that is not offered: the server sends those up."
        )
    if held.failed:
        said.append(f"{held.failed:,} of {held.drawn:,} certification calls have no whole answer: none counts as kept.")
    if found.no_text:
        said.append(f"{found.no_text:,} calls that certify were refused, or answered in another kind: they disagree.")
    if held.kept_out:
        picked = f"{held.kept_out:,} held calls were sent up for being hard, or asked as pairs"
        said.append(f"{picked}: they don't certify.")
    if moves and found.out_of_time.high is not None and found.out_of_time.n and found.out_of_time.high < bar:
        said.append(
            f"The newest tenth of the log agrees less than the bar, {found.out_of_time}: traffic may be drifting."
        )
    if not moves:
        said.append("Nothing is kept home; the table shows every call as if it were.")
    agreed = found.per_call.value
    if moves and agreed is not None and agreed < bar:
        said.insert(0, _repeats_below(found, bar))
    elif agreed is not None:
        kept = f"{found.kept_per_call} kept" if moves else "as if every one were kept"
        said.append(f"Per call, counting repeats: agreement {found.per_call}, {kept}.")
    return tuple(note for note in (*said, noise_note(noise, bar)) if note)


def reopened(said: Sequence[str], before: Evidence, after: Evidence) -> tuple[str, ...]:
    """The notes of a known verdict, with what is to be said of its openings today."""
    kept = [note for note in said if note != _opening(before)]
    at = kept.index(PROMISE) + 1 if PROMISE in kept else 0
    return tuple(note for note in (*kept[:at], _opening(after), *kept[at:]) if note)


def barred(held: Held) -> str:
    """Which requests the server would send up whatever the student says, by the field that most of them stumble on;
    "" where there are none."""
    if not held.obstacles:
        return ""
    field, n = min(held.obstacles.items(), key=lambda item: (-item[1], item[0]))
    every = n == held.drawn
    who = "every request" if every else f"{n:,} of {held.drawn:,} requests"
    verb = {"model": "name", "text": "are"}.get(field, "set")
    does = f"{verb}s" if every and field != "text" else "is" if every else verb
    what = {"model": "a model that the log does not show for this task", "text": "too long"}.get(field, field)
    others = held.obstacles.total() - n
    more = f", and {others:,} fail on others" if others else ""
    return f"{who} {does} {what}{more}: the server sends them up"


def _opening(found: Evidence) -> str:
    if found.opening <= 1:
        return ""
    joint = f"joint confidence >= {found.joint_confidence:.3g}"
    return f"Opening {found.opening} of these certification calls: {joint}."


def _repeats_below(found: Evidence, bar: float) -> str:
    agreed = f"agreement is {100 * (found.per_call.value or 0.0):.1f} %, below the bar"
    kept = f"({found.per_call}; kept {found.kept_per_call}; bar {bar:g})"
    return f"WARNING: per call, counting repeats, {agreed}: the promise is per distinct request {kept}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
