"""A plan's figures as people read them: the filters of its three pages.

big 1.2e9 -> 1.2 billion     size 141e9 -> 141 GB      seconds 0.34 -> 340 ms     power 4.2e18 -> 4.2 × 10¹⁸
usd 4375 -> $4,375           usd 0.0375 -> $0.0375     amount (0.3, "share") -> 30 %

Unknown is said in words, never as 0.
"""

from __future__ import annotations

import re
from math import floor, log10

from freehold.nouns import Fact, Measure, Option
from freehold.report.words import dollars, percent, plural, window

__all__ = [
    "OWNED", "PLAN_FILTERS", "WAYS", "amount", "becomes", "beside", "big", "chance", "digits", "factor", "measured",
    "odds", "plain", "power", "range_of", "seconds", "size", "stale", "usd",
]  # fmt: skip

OWNED = ("here", "rent", "buy")  # ways with machines of one's own
WAYS = {
    "closed": "as it is now",
    "cheaper": "a cheaper closed model",
    "hosted": "an open model, hosted by somebody",
    "rent": "a model of one's own, on rented machines",
    "buy": "a model of one's own, on bought machines",
    "here": "a model of one's own, on this machine",
}
STATUS = {
    "seen": "seen in its source", "computed": "computed", "unverified": "unverified", "given": "given by the team",
    "measured": "measured", "catalogue": "from a dated catalogue", "assumed": "assumed",
}  # fmt: skip
OUTCOMES = {
    "ALLOW": "allowed", "ALLOW_WITH_NOTE": "allowed, with duties", "WARN_COUNSEL": "ask counsel",
    "BLOCK": "blocked", "QUARANTINE": "set aside",
}  # fmt: skip
PARTS = {
    "base": "weights", "adapter": "adapter", "draft": "draft model", "encoder": "encoder", "dataset": "data set",
    "teacher": "teacher (its answers are learnt from)",
}  # fmt: skip
BECOMES = {
    "STAY": "stay as it is", "STAY CHEAPER": "a cheaper closed model", "HOSTED OPEN": "an open model, hosted",
    "OWN": "machines of your own", "HYBRID": "part of it at home, the rest closed", "MUST MOVE BY": "must move",
    "BLOCKED": "blocked", "NEEDS PROOF": "machines of your own, once proved",
}  # fmt: skip
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NONE = "not known"
SCALE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def digits(value: float, most: int = 3) -> str:
    """With `most` digits that count below a thousand, no exponent: 1,234; 12.5; 0.037."""
    if value == 0:
        return "0"
    places = max(0, most - 1 - floor(log10(abs(value))))
    text = f"{value:,.{min(places, 12)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def usd(value: float | None) -> str:
    """US dollars as exact as it matters: whole ones from 100 on, cents below, small prices with their digits."""
    if value is None:
        return NONE
    sign, size_ = "-" if value < 0 else "", abs(value)
    if size_ >= 1e6:
        return f"{sign}${digits(size_ / 1e6, 4 if size_ >= 1e8 else 3)} million"
    if size_ >= 100:
        return f"{sign}${size_:,.0f}"
    if size_ >= 1 or size_ == 0:
        return f"{sign}${size_:,.2f}".removesuffix(".00")
    if size_ < 0.01:
        return dollars(value)
    text = digits(size_)
    return f"{sign}${text}{'0' * (4 - len(text))}"  # $0.20, not $0.2


def big(value: float | None) -> str:
    """A count: 950; 12,300; 1.2 million; 3 billion."""
    if value is None:
        return NONE
    for least, unit in SCALE:
        if abs(value) >= least * 0.9995:
            return f"{digits(value / least)} {unit}"
    return f"{value:,.0f}" if abs(value) >= 100 else digits(value)


def size(value: float | None) -> str:
    """Bytes in decimal units, as memory and files are sold."""
    if value is None:
        return NONE
    for least, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if abs(value) >= least * 0.9995:
            return f"{digits(value / least)} {unit}"
    return f"{value:,.0f} bytes"


def seconds(value: float | None) -> str:
    if value is None:
        return NONE
    if 0 < value < 0.9995:
        return f"{digits(1000 * value, 2 if value < 0.0995 else 3)} ms"
    for least, by, unit in ((172_800, 86_400, "days"), (7200, 3600, "h"), (120, 60, "min")):
        if value >= least:
            return f"{digits(value / by, 2)} {unit}"
    return f"{digits(value, 2)} s"


def _raised(number: int) -> str:
    return str(number).translate(RAISED)


def power(value: float | None) -> str:
    """A very large number: 4.2 × 10¹⁸."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    exponent = floor(log10(abs(value)))
    return f"{value / 10.0**exponent:.2g}\u00a0×\u00a010{_raised(exponent)}"


def factor(value: float) -> str:
    """How far from where one is: 1.5 times as much, 20 times less."""
    return f"{digits(1 / value, 2)} times less" if 0 < value < 1 else f"{digits(value, 2)} times as much"


def amount(value: float | None, unit: str = "") -> str:
    """A value with its unit, whichever it is; a rate reads "a month"."""
    if value is None:
        return NONE
    base, _, per = unit.partition("/")
    rate = f" {'an hour' if per in ('h', 'hour') else f'a {per}'}" if per and per != "s" else ""
    if base == "USD":
        per = per.replace("/", " a ")
        return usd(value) + (f" per {per}" if per.startswith(("M ", "1M", "1 M", "GPU", "k")) else rate)
    if base == "share":
        return percent(value, 0 if abs(value) >= 0.1 or value == 0 else 1)
    if base in ("s", "seconds", "second") and not per:
        return seconds(value)
    if base in ("bytes", "B"):
        return size(value) + (" a second" if per == "s" else rate)
    if base == "FLOP":
        return f"{power(value)} FLOP" + (" a second" if per == "s" else rate)
    if base in ("times", "factor", "ratio", "x"):
        return f"× {digits(value)}"
    if base in ("", "1"):
        return big(value) + rate
    if base == "months":
        long = abs(value) >= 36
        said = f"{value / 12:,.0f}" if long else digits(value, 2)
        return f"{said} {'year' if long else 'month'}{'' if value == 1 else 's'}"
    base = base[:-1] if value == 1 and base.endswith("s") and base != "s" else base
    return f"{big(value)} {base}" + (" a second" if per == "s" else rate)


def measured(measure: Measure) -> str:
    """A figure alone."""
    return amount(measure.value, measure.unit)


def short_of(measure: Measure) -> str:
    """A figure in a column whose head says per what it is."""
    return amount(measure.value, measure.unit.partition("/")[0])


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ".)")) else ".")


def energy(option: Option) -> str:
    """Energy and CO2 a month, where they are known."""
    known = (option.energy, option.carbon)
    said = [short_of(m).replace("CO2", "CO₂") for m in known if m.value is not None]
    return f"{' and '.join(said)} a month." if said else ""


def powers(text: str) -> str:
    """A text's 4.2e+18 as 4.2 × 10¹⁸."""
    return re.sub(r"(\d(?:\.\d+)?)e\+?(\d{2,3})\b", lambda m: f"{m[1]}\u00a0×\u00a010{_raised(int(m[2]))}", text)


def becomes(word: str) -> str:
    """The advice's word in a sentence."""
    return BECOMES.get(word, word.lower())


def peaks(found: dict[str, float]) -> str:
    """4.2 times within 10 s, 1.6 times within 5 min."""
    known = sorted((int(name), value) for name, value in found.items() if name.isdigit())
    return ", ".join(f"{digits(value, 2)} times within {window(name)}" for name, value in known)


def chance(measure: Measure) -> str:
    """How often it saves, and over which time."""
    over = " over a year" if "12 months" in measure.method else ""
    return f"in {odds(measure.value)} of draws{over}"


def plain(name: str) -> str:
    """An assumption's id as words."""
    return name.replace("-", " ") if re.fullmatch(r"[a-z][a-z-]*", name) else name


def given(typed: dict[str, str]) -> str:
    """What was typed, as it was typed."""
    return "; ".join(f"{name.strip('_').replace('_', '-')} {value}" for name, value in typed.items())


def bare(value: float | None, unit: str) -> str:
    """A value without what it is per, which stands beside it already."""
    return amount(value, unit.partition("/")[0]) if unit.startswith("USD") else _bare(value or 0.0, unit)


def odds(value: float | None) -> str:
    """A chance: 98 %, and nothing rounded up to certainty nor down to none."""
    if value is None:
        return NONE
    if 0 < value < 0.0005 or 0.9995 <= value < 1:
        return "under 0.1 %" if value < 0.5 else "over 99.9 %"
    return percent(value, 0) if value in (0.0, 1.0) or 0.005 <= value < 0.995 else percent(value, 1)


def range_of(measure: Measure) -> str:
    """Its interval alone, the lower end first; "" where there is none."""
    if measure.low is None or measure.high is None or measure.low == measure.high:
        return ""
    low, high = _bare(measure.low, measure.unit), _bare(measure.high, measure.unit)
    return f"{low} to {high}" if low != high else ""


def _bare(value: float, unit: str) -> str:
    """Without what it is counted in a rate of, which stands with the value already."""
    base = unit.partition("/")[0]
    if base == "months" and abs(value) < 36:
        return digits(value, 2)
    return amount(value, base) if base in ("USD", "months", "share", "s", "seconds", "bytes", "FLOP") else big(value)


def beside(measure: Measure) -> str:
    """What stands beside a figure: P10 to P90, draws; or the interval and n; and "" where there is nothing."""
    span = range_of(measure)
    drawn = "draw" in measure.method.lower()
    found = [f"P10 to P90: {span}" if drawn and span else span]
    if measure.n:
        found.append(plural(measure.n, "draw") if drawn else f"n = {measure.n:,}")
    return ", ".join(part for part in found if part)


def stale(fact: Fact, today: str) -> bool:
    """Is it older than 90 days on the day of the plan?"""
    from datetime import date

    try:
        return (date.fromisoformat(today[:10]) - date.fromisoformat(fact.as_of)).days > 90
    except ValueError:
        return False


PLAN_FILTERS = {
    "big": big, "size": size, "seconds": seconds, "power": power, "usd": usd, "measured": measured,
    "range_of": range_of, "beside": beside, "way": lambda name: WAYS.get(name, name),
    "status": lambda name: STATUS.get(name, name), "outcome": lambda name: OUTCOMES.get(name, name),
    "card_part": lambda name: PARTS.get(name, name), "amount": amount, "factor": factor,
    "short_of": short_of, "sentence": sentence, "peaks": peaks, "given": given,
    "bare": bare, "odds": odds, "becomes": becomes, "powers": powers, "chance": chance, "plain": plain,
    "energy": energy, "capital": lambda text: text[:1].upper() + text[1:],
}  # fmt: skip
