"""How long until a rung closes when the promise breaks, and how long a good student takes through its stages.

    python benchmarks/rollback.py [--full]

    150 intents ─random→ log 17,000 ─tune, certify→ student, threshold for the bar       fitted once, kept
                         test 5,500 + 1,200 out-of-scope calls ─┬ as they are            the stationary student
                                                                ├ out of scope           a share of the traffic is new
                                                                ├ meaning                some intents swap their meaning
                                                                └ model                  the closed model's answers are
                                                                                         noisy, or another classifier's
Calls are drawn from the test side with replacement, those that the student keeps are served; 10,000 kept calls go well,
then the fall comes. A row says, for a share of home answers asked upstream, how many kept calls and wrong answers it
took until the Monitor of `freehold serve` closed the rung, beside the ideal bet: the same detector with the one bet
that is best for this very fall, which nobody knows beforehand, and the same limit. The watch for gaps without a pair is
left out: it closes in 2 of 10^9 gaps. Short form: 30 runs a row; --full: 400. Stationary: 200 runs in both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import _run

ENV = _run.one_thread()  # before numpy comes in

import numpy as np  # noqa: E402
from kept_home import OURS, World  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from freehold.serve.ladder.stage import Stage  # noqa: E402
from freehold.serve.pairing.monitor import LIMIT, Monitor  # noqa: E402

BARS = (0.95, 0.99)
SHARES = (0.01, 0.02, 0.05, 0.10)
STEPS = (0.01, 0.05, 0.25)
IN_LOG, IN_TEST = 17_000, 5_500
BEFORE = 10_000  # kept calls that go well
STATIONARY = 200
OUT_OF_SCOPE = (0.05, 0.15, 0.40)  # of the traffic
MEANINGS = (6, 15, 45)  # intents of 150
NOISE = (0.03, 0.10)
MIDDLE = ("15% of calls", "15 of 150 intents", "10% noise")  # the falls that also come in a canary
SHARE = 0.02  # where the stage is what varies
CUT = 2_000_000  # kept calls after which a run is given up
Rng = np.random.Generator
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """The student's word on the test calls, [n], and what else is known of them."""

    truths: Any
    answers: Any
    scores: Any
    words: Any  # another classifier's answers
    thresholds: dict[float, float]

    @property
    def inside(self) -> Flags:
        return np.asarray(self.truths != "out_of_scope")


def fitted() -> Scored:
    """The student, fitted once on the in-scope log and certified at each bar; kept under .benchmarks."""
    source = _run.ROOT / "src" / "freehold"
    mark = _run.fingerprint(_run.LOG, json.dumps([BARS, IN_LOG]), *(source / file for file in OURS))
    path = _run.CACHE / f"rollback-{mark[:16]}.npz"
    if not path.is_file():
        _run.say("fitting the student on 17,000 in-scope calls, once")
        np.savez_compressed(path, **_fit(World.read()))
    held = np.load(path)
    thresholds = dict(zip(BARS, held["thresholds"].tolist(), strict=True))
    return Scored(held["truths"], held["answers"], held["scores"], held["words"], thresholds)


def _fit(world: World) -> dict[str, Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    from freehold.measure import certify, grid
    from freehold.traffic import split
    from freehold.tune.label import fit as tune

    labels = np.array(world.labels)
    outside = np.flatnonzero(labels == "out_of_scope")
    inside = np.random.default_rng(0).permutation(np.flatnonzero(labels != "out_of_scope"))
    log, test = inside[:IN_LOG], np.append(inside[IN_LOG : IN_LOG + IN_TEST], outside)
    sides = split([world.texts[i] for i in log], key=b"rollback")
    rows, cal = log[sides.fit], log[sides.cal]
    vectors = [np.load(path, mmap_mode="r") for path in world.embeddings]

    def texts(at: Any) -> list[str]:
        return [world.texts[i] for i in at]

    groups = sides.groups[sides.fit]
    made = tune(texts(rows), labels[rows].tolist(), groups=groups, embeddings=[v[rows] for v in vectors])
    student = made.student()
    told = [student.score(texts(at), [v[at] for v in vectors]) for at in (cal, test)]
    ok = np.array([a.text for a in told[0]]) == labels[cal]
    scores = np.array([a.score for a in told[0]])
    thresholds = []
    for bar in BARS:
        found = certify(grid(made.prior_scores, made.prior_ok, len(cal), bar), scores, ok).threshold
        assert found is not None, bar
        thresholds.append(max(found, 0.0))
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    words = LinearSVC().fit(vectorizer.fit_transform(texts(rows)), labels[rows])
    return {
        "truths": labels[test],
        "answers": np.array([a.text for a in told[1]]),
        "scores": np.array([a.score for a in told[1]]),
        "words": words.predict(vectorizer.transform(texts(test))),
        "thresholds": np.array(thresholds),
    }


# what the upstream says after the fall: the share of the kept calls that then agree


@dataclass(frozen=True)
class Fall:
    case: str
    size: str
    agreement: float


def falls(s: Scored, bar: float) -> Iterator[Fall]:
    """Each case at each size, as the agreement of the calls that are kept then."""
    rng = np.random.default_rng(1)
    kept, right, inside = s.scores >= s.thresholds[bar], s.answers == s.truths, s.inside
    at_home = kept & inside
    new_kept = float(kept[~inside].mean())
    for share in OUT_OF_SCOPE:
        old = (1 - share) * float(kept[inside].mean())
        agree = old * float(right[at_home].mean()) / (old + share * new_kept)
        yield Fall("out of scope", f"{share:.0%} of calls", agree)
    intents = rng.permutation(np.unique(s.truths[inside]))
    for count in MEANINGS:
        swapped = dict(zip(intents[:count], np.roll(intents[:count], 1), strict=True))
        truths = np.array([swapped.get(truth, truth) for truth in s.truths])
        yield Fall("meaning", f"{count} of 150 intents", float((s.answers == truths)[at_home].mean()))
    base = float(right[at_home].mean())
    for noise in NOISE:  # another label, whichever: agreement by chance is 1 in 150
        yield Fall("model", f"{noise:.0%} noise", base * (1 - noise))
    yield Fall("model", "another classifier", float((s.answers == s.words)[at_home].mean()))


# the detectors


class Ideal:
    """The same detector with the one bet that is best where agreement falls to `after`: a likelihood ratio."""

    def __init__(self, bar: float, after: float, pairs: float) -> None:
        self._agree, self._differ, self._weight = after / bar, (1 - after) / (1 - bar), 1 / pairs
        self._bet = 0.0

    def pair(self, agrees: bool) -> str:
        self._bet = (self._bet + self._weight) * (self._agree if agrees else self._differ)
        return "alarm" if self._bet >= LIMIT else ""


def until_closed(
    make: Callable[[], Monitor | Ideal], before: float, after: float, share: float, rng: Rng
) -> tuple[int, int] | None:
    """Kept calls and wrong answers from the fall to the alarm; None for an alarm before the fall."""
    detector = make()
    for agrees in (rng.random(rng.binomial(BEFORE, share)) < before).tolist():
        if detector.pair(agrees):
            return None
    kept = differed = pairs = 0
    while kept < CUT:
        gaps, agree = rng.geometric(share, 500).tolist(), (rng.random(500) < after).tolist()
        for gap, agrees in zip(gaps, agree, strict=True):
            kept += gap
            pairs += 1
            differed += not agrees
            if detector.pair(agrees):
                return kept, differed + int(rng.binomial(kept - pairs, 1 - after))
    return kept, int(rng.binomial(kept, 1 - after))


def spread(values: list[int]) -> dict[str, float]:
    return {"median": float(np.median(values)), "p95": float(np.quantile(values, 0.95))}


def cell(bar: float, before: float, fall: Fall, share: float, runs: int) -> dict[str, Any]:
    rng = np.random.default_rng([int(bar * 100), int(share * 100), round(fall.agreement * 1e6)])
    row: dict[str, Any] = {"bar": bar, "case": fall.case, "size": fall.size, "agreement": round(fall.agreement, 4)}
    row |= {"share": share, "runs": runs}
    makes: dict[str, Callable[[], Monitor | Ideal]] = {
        "freehold": lambda: Monitor(bar, share),
        "ideal": lambda: Ideal(bar, fall.agreement, share),
    }
    for name, make in makes.items():
        found = [until_closed(make, before, fall.agreement, share, rng) for _ in range(runs)]
        closed = [one for one in found if one is not None]
        row[name] = {"kept": spread([k for k, _ in closed]), "wrong": spread([w for _, w in closed])}
    return row


def false_alarms(bar: float, agreement: float, chance: Callable[[Rng], Any], runs: int) -> float:
    """The share of runs of 10,000 kept calls with an alarm. `chance` gives each call's chance of being a pair."""
    rng, alarms = np.random.default_rng(7), 0
    for _ in range(runs):
        monitor, chances = Monitor(bar, SHARE), chance(rng)
        at = np.flatnonzero(rng.random(BEFORE) < chances)
        agree = (rng.random(len(at)) < agreement).tolist()
        alarms += any(monitor.pair(a, q) for a, q in zip(agree, chances[at].tolist(), strict=True))
    return alarms / runs


def chances_of() -> dict[str, Callable[[Rng], Any]]:
    """How likely each kept call is to be compared: full at each share, shadow, a canary, all the stages in a row."""

    def full(share: float) -> Callable[[Rng], Any]:
        return lambda rng: np.full(BEFORE, share)

    found = {f"full, {share:.0%}": full(share) for share in SHARES}
    found["shadow"] = lambda rng: np.ones(BEFORE)
    found["canary at 25 %"] = lambda rng: np.where(rng.random(BEFORE) < 0.25, SHARE, 1.0)
    stages = np.repeat([0.0, 0.01, 0.05, 0.25, 1.0], BEFORE // 5)
    found["shadow to full"] = lambda rng: np.where(rng.random(BEFORE) < stages, SHARE, 1.0)
    return found


# the stages


def through(bar: float, agreement: float, rng: Rng, most: int, start: float = 0.0) -> tuple[list[int], int, bool, int]:
    """From the share `start` on: the calls that the student would keep until each step, wrong answers at home by the
    end, whether the monitor closed the rung, and the calls in all. A run ends at full, at an alarm, or after `most`
    calls."""
    stage, monitor = Stage(bar, STEPS, share=start), Monitor(bar, SHARE)
    steps: list[int] = []
    calls = wrong = 0
    while calls < most and stage.name != "full":
        at_home = rng.random(1000) < stage.share
        agree = rng.random(1000) < agreement
        is_pair = ~at_home | (rng.random(1000) < SHARE)
        moved = -1
        for i in np.flatnonzero(is_pair).tolist():
            if monitor.pair(bool(agree[i]), SHARE if at_home[i] else 1.0):
                return steps, wrong + int((at_home & ~agree)[: i + 1].sum()), True, calls + i + 1
            if stage.pair(bool(agree[i])):
                moved = i
                break
        done = 1000 if moved < 0 else moved + 1
        calls += done
        wrong += int((at_home & ~agree)[:done].sum())
        if moved >= 0:
            steps.append(calls)
    return steps, wrong, False, calls


def fall_in_canary(bar: float, fall: Fall, runs: int) -> list[dict[str, Any]]:
    """The fall comes while the student is at one of its stages: most calls go up and are free pairs."""
    rows, rng = [], np.random.default_rng(13)
    for share in (0.0, *STEPS):
        found = [through(bar, fall.agreement, rng, CUT, share) for _ in range(runs)]
        row: dict[str, Any] = {"bar": bar, "case": fall.case, "size": fall.size, "agreement": round(fall.agreement, 4)}
        row |= {"stage": share, "runs": runs, "went_up": sum(bool(steps) for steps, *_ in found) / runs}
        row |= {"kept": spread([calls for *_, calls in found]), "wrong": spread([wrong for _, wrong, *_ in found])}
        rows.append(row)
        print(json.dumps({"row": "fall in canary"} | row), flush=True)
    return rows


def stages_row(bar: float, agreement: float, runs: int, most: int) -> dict[str, Any]:
    rng = np.random.default_rng(11)
    found = [through(bar, agreement, rng, most) for _ in range(runs)]
    row: dict[str, Any] = {"bar": bar, "agreement": round(agreement, 4), "runs": runs, "calls_to": {}}
    for i, share in enumerate((*STEPS, 1.0)):
        got = [steps[i] for steps, *_ in found if len(steps) > i]
        row["calls_to"][f"{share:g}"] = {"reached": len(got) / runs, **(spread(got) if got else {})}
    row["closed"] = sum(closed for _, _, closed, _ in found) / runs
    row["wrong_at_home"] = spread([wrong for _, wrong, *_ in found])
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="400 runs a row instead of 30")
    args = parser.parse_args()
    runs, through_runs = (400, 100) if args.full else (30, 10)
    start = time.perf_counter()
    scored = fitted()
    rows: list[dict[str, Any]] = []
    quiet: dict[str, dict[str, float]] = {}
    stages: list[dict[str, Any]] = []
    canary: list[dict[str, Any]] = []
    student: dict[str, Any] = {}
    for bar in BARS:
        at_home = (scored.scores >= scored.thresholds[bar]) & scored.inside
        own = float((scored.answers == scored.truths)[at_home].mean())
        kept = float(at_home.sum() / scored.inside.sum())
        student[f"{bar:g}"] = {"kept": round(kept, 4), "agreement": round(own, 4)}
        for fall in falls(scored, bar):
            if fall.agreement >= bar:
                rows.append({"bar": bar, "case": fall.case, "size": fall.size, "agreement": round(fall.agreement, 4)})
                continue  # the promise still holds
            for share in SHARES:
                rows.append(cell(bar, max(own, bar), fall, share, runs))
                print(json.dumps({"row": "fall"} | rows[-1]), flush=True)
            if fall.size in MIDDLE:
                canary += fall_in_canary(bar, fall, through_runs)
        for name, chance in chances_of().items():
            quiet[f"bar {bar:g}, {name}"] = {
                "at the bar": false_alarms(bar, bar, chance, STATIONARY),
                "the student": false_alarms(bar, max(own, bar), chance, STATIONARY),
            }
        levels = [own, bar, bar - (1 - bar), bar - 4 * (1 - bar)]
        for agreement in levels if args.full else [own, bar - 4 * (1 - bar)]:
            stages.append(stages_row(bar, agreement, through_runs, 200_000))
            print(json.dumps({"row": "stages"} | stages[-1]), flush=True)
    result = {"student": student, "stationary": quiet, "falls": rows, "in_canary": canary, "stages": stages}
    return report(args.full, runs, result | {"seconds": round(time.perf_counter() - start, 1)})


def report(full: bool, runs: int, result: dict[str, Any]) -> int:
    quiet, rows = result["stationary"], result["falls"]
    worst = max(quiet, key=lambda name: quiet[name]["at the bar"])
    most = quiet[worst]["at the bar"]
    goals = [_run.goal(f"runs with a false alarm, the worst ({worst})", "<= 0.05", most, most <= 0.05)]
    ratios = [row["freehold"]["kept"]["median"] / row["ideal"]["kept"]["median"] for row in rows if "freehold" in row]
    ratio = round(float(np.median(ratios)), 3)
    goals.append(
        _run.goal("kept calls until closed, times the ideal bet's (median row)", "<= 1.5", ratio, ratio <= 1.5)
    )
    return _run.emit("rollback", full=full, n=runs, goals=goals, result=result)


if __name__ == "__main__":
    sys.exit(main())
