"""Claims about licences, law and published quality: rows of facts, through the functions that read them."""

from __future__ import annotations

from claims.check import Found, Inputs, World, exact
from claims.money import host, million

from freehold.errors import BadSetting
from freehold.facts import retirement
from freehold.fit import parameters
from freehold.nouns import Measure
from freehold.plan.candidates import wanted
from freehold.plan.law import act_role, law, licence_card, ruled_out
from freehold.plan.law.company import Company
from freehold.plan.law.licence import combined
from freehold.plan.law.openness import grade

PLAIN = Company()


def business(x: Inputs, w: World) -> Found:
    """May a business use it, and from which size on not?"""
    licence, former = w.licence(x["model"]), w.facts.get("licences", x["former"])
    card, older = (licence_card(row.id, "base", row, PLAIN) for row in (licence, former))
    figures = {"users a month up to which it is free": exact(licence.values["mau"], "users")}
    says = (
        f"Commercial use: {card.commercial}. Limits: {card.limits}; to show “{licence.values['display']}”, a name that "
        f"begins with “{licence.values['prefix']}”, a policy on use, no other model to be improved with its output. "
        f"The {older.licence} was the non-commercial one."
    )
    false = card.commercial == "yes" and older.commercial == "no"
    return Found("FALSE" if false else "TRUE", says, figures)


def competitors(x: Inputs, w: World) -> Found:
    row, licence = w.facts.get("models", x["model"]), w.licence(x["model"])
    limit = licence.values["mau"]
    over, under = (ruled_out(row, licence, Company(users_month=limit + step)) for step in (1, 0))
    students = [licence_card(name, "base", w.licence(name), PLAIN) for name in x["students"]]
    teacher = licence_card(x["model"], "teacher", licence, PLAIN)
    taught = combined([*students, teacher], w.facts, sold=False).conflicts
    graded = grade(row, licence, w.facts)
    says = (
        f"Above {limit:,.0f} users a month on {licence.values['mau_date']} a licence must be asked for: a gate, "
        f"no ban. {'Its output may not teach other models. ' if taught else ''}{graded.why}"
    )
    gated = bool(over) and not under
    return Found("ROUGHLY TRUE" if gated and graded.osaid is False else "FALSE", says, {"limit": exact(limit, "users")})


def open_weights(x: Inputs, w: World) -> Found:
    on_file = {row.id for row in w.facts.rows("models")}
    gone = retirement(x["example"])
    opened = [name for name in x["open"] if w.licence(name).values["open"] == "osi"]
    false = x["example"] not in on_file and gone is not None
    says = (
        f"{x['example']} has no public weights and is switched off on {gone[0] if gone else 'no date'}; "
        f"{', '.join(opened)} are open ({w.licence(opened[0]).values['licence']})."
    )
    return Found("FALSE EXAMPLE, TRUE IDEA" if false and opened else "TRUE", says)


def closed_version(x: Inputs, w: World) -> Found:
    named = [row.id for row in w.facts.rows("models") if row.id.startswith(x["name"])]
    other = [row.id for row in w.facts.rows("models") if row.id.startswith(x["other"])]
    for name in other:
        w.licence(name)
    says = f"No open model of the name {x['name']} is on file; {', '.join(other)} are models of their own."
    return Found("FALSE LITERALLY, TRUE IN SPIRIT" if other and not named else "TRUE", says)


def truly_open(x: Inputs, w: World) -> Found:
    grades = {name: grade(w.facts.get("models", name), w.licence(name), w.facts) for name in x["models"]}
    osi = all(w.licence(name).values["open"] == "osi" for name in x["models"])
    said = "; ".join(
        f"{name}: {w.licence(name).values['licence']}, MOF class {g.mof}{' on condition' if g.conditional else ''}, "
        f"Open Source AI Definition {'met' if g.osaid else 'not met'}"
        for name, g in grades.items()
    )
    data = any(g.osaid for g in grades.values()) and not all(g.osaid for g in grades.values())
    return Found("TRUE BY LICENCE" if osi and data else "FALSE", f"{said}.")


def permissive(x: Inputs, w: World) -> Found:
    rows = [w.facts.get("licences", name) for name in x["licences"]]
    cards = [licence_card("a model", "base", row, Company(sold=True)) for row in rows]
    free = all(card.commercial == "yes" and not card.limits for card in cards)
    duties = sorted(
        {duty.what for card in cards for duty in card.duties if duty.rule.endswith(("/notices", "/changes"))}
    )
    notes = [f"{row.values['licence']}: {row.values['note']}" for row in rows if row.values.get("note")]
    says = f"No limit by size, use or place. Who passes it on: {' '.join(duties)} {' '.join(notes)}"
    return Found("MOSTLY TRUE" if free and duties else "TRUE" if free else "FALSE", says)


def llama_four(x: Inputs, w: World) -> Found:
    row, licence = w.facts.get("models", x["model"]), w.licence(x["model"])
    barred, free = (ruled_out(row, licence, Company(eu=inside)) for inside in (True, False))
    scores = {name: w.facts.get("quality", name).values for name in (x["open"], x["closed"])}
    gap = scores[x["open"]]["arena"] - scores[x["closed"]]["arena"]
    figures = {f"arena points above {x['closed']}": exact(gap, "points")} | {
        f"arena score, {n}": Measure(s["arena"], s["low"], s["high"], unit="points") for n, s in scores.items()
    }
    says = f"{grade(row, licence, w.facts).why} For a company in the EU: {_plain(barred)}"
    says += f" In the arena it is {abs(gap):.0f} points {'above' if gap > 0 else 'below'} {x['closed']}."
    closed = barred and not free and licence.values["open"] == "no"
    return Found("FALSE ON OPEN" if closed else "TRUE", says, figures)


def near(x: Inputs, w: World) -> Found:
    ours = w.facts.get("models", x["model"]).values["quality"]["mmlu"]
    scores = {name: w.facts.get("quality", name).values for name in (x["open"], *x["closed"])}
    gap = scores[x["closed"][0]]["arena"] - scores[x["open"]]["arena"]
    figures = {
        "MMLU, points below": exact(x["mmlu"] - ours, "points"),
        "MMLU of the 70B": exact(ours, "%"),
        **{f"arena score, {n}": Measure(s["arena"], s["low"], s["high"], unit="points") for n, s in scores.items()},
    }
    says = (
        f"{ours} against {x['mmlu']} (unverified) in MMLU; in the arena {x['open']} is "
        f"{f'{gap:.0f} points below' if gap > 0 else f'{-gap:.0f} points above'} {x['closed'][0]}. Near on those; on "
        "your calls only a proof says."
    )
    return Found("NEAR" if x["mmlu"] - ours < x["close"] else "FALSE", says, figures)


def rivals(x: Inputs, w: World) -> Found:
    """Level with one of them: its interval reaches the other's."""
    scores = {name: w.facts.get("quality", name).values for name in (*x["open"], *x["closed"])}
    level = [
        (one, other) for one in x["open"] for other in x["closed"] if scores[one]["high"] >= scores[other]["low"]
    ]  # fmt: skip
    best, last = max(x["open"], key=lambda n: scores[n]["arena"]), x["closed"][0]
    gap = scores[last]["arena"] - scores[best]["arena"]
    gone = retirement(x["from"])
    times = million(w, x["from"], w.today) / host(w, x["hosted"])
    figures = {
        f"arena points of {best} below {last}": exact(gap, "points"),
        **{f"arena score, {n}": Measure(s["arena"], s["low"], s["high"], unit="points") for n, s in scores.items()},
        "cheaper": exact(times, "times"),
    }
    said = " and ".join(f"{one} is level with {other}" for one, other in level) or "none reaches a GPT-3.5"
    says = (
        f"In the arena {said}; {best} is {gap:.0f} points below {last}. A 7B is sold for {times:.1f} times less. "
        f"Moot: GPT-3.5 was switched off on {gone[0] if gone else 'no date'}."
    )
    return Found("TRUE ON BENCHMARKS" if level and times > 1 else "FALSE", says, figures)


def index_beside(x: Inputs, w: World) -> Found:
    """A licence that is not an open one, and scores that others report."""
    licence = w.licence(x["model"])
    ish = licence.values["open"] == "no" and licence.values["commercial"] == "yes"
    says = (
        f"Reported index {x['index'][0]} against {x['index'][1]} of a closed model of the time; “open-ish” is right: "
        f"{grade(w.facts.get('models', x['model']), licence, w.facts).why}"
    )
    return Found("FALSE; OPEN-ISH: TRUE" if x["index"][0] < x["index"][1] and ish else "TRUE", says)


def encoder(x: Inputs, w: World) -> Found:
    row = w.facts.get("models", x["model"])
    try:
        wanted(x["model"], w.facts)
        writes = True
    except BadSetting:
        writes = False
    size = parameters(w.model(x["model"]))
    says = (
        f"{row.values['name']} has {size / 1e6:.0f}M parameters and writes {'text' if writes else 'no text'}: it "
        "sorts clauses, and on two of three such data sets it was best; on review clause by clause closed models lead."
    )
    return Found("UNSUPPORTED" if not writes else "TRUE", says, {"parameters": exact(size, "parameters")})


def licensed(x: Inputs, w: World) -> Found:
    """Which licence the models of a family came under, and is it an open one?"""
    opens = {name: w.facts.get("licences", name) for name in x["licences"]}
    said = "; ".join(f"{name}: {row.values['licence']}{_asks(row.values)}" for name, row in opens.items())
    kinds = ["TRUE" if row.values["open"] == "osi" else "FALSE" for row in opens.values()]
    verdict = f"{kinds[0]} THEN, {kinds[-1]} NOW" if len(kinds) > 1 else kinds[0]
    return Found(verdict, f"{said}.")


def _asks(values: Inputs) -> str:
    """What makes it no open licence."""
    if values["open"] == "osi":
        return ""
    found = ["use restrictions"] if values.get("policy") else []
    found += ["may be restricted from afar"] if "remote" in values.get("clauses", {}) else []
    return f" ({', '.join(found)})"


def _plain(reasons: tuple[str, ...]) -> str:
    """Without the clauses, which stand in the facts."""
    return " ".join(f"{reason.split(' (“')[0].rstrip('.')}." for reason in reasons)


def by_revenue(x: Inputs, w: World) -> Found:
    row, licence = w.facts.get("models", x["model"]), w.licence(x["model"])
    limit = licence.values["revenue_year"]
    small, large = (ruled_out(row, licence, Company(revenue_year=limit + step)) for step in (0, 1))
    says = f"Free up to ${limit:,.0f} of revenue a year; above: {_plain(large)}"
    verdict = "TRUE WITH A LIMIT" if large and not small else "FALSE"
    return Found(verdict, says, {"free up to": exact(limit, "USD/year")})


def loophole(x: Inputs, w: World) -> Found:
    """What an open model's maker is spared in the EU, and what stays: the law page of somebody who trains one."""
    made = law(
        [], [], Company(eu=True, sold=True), parameters=x["parameters"], tokens=x["tokens"], original_flop=None,
        private=False, today=w.today.isoformat(), facts=w.facts,
    )  # fmt: skip
    spared = [duty for duty in made.duties if duty.rule == "EU-4"]
    stays = sorted({duty.rule for duty in made.duties if duty.rule.startswith("EU-")} - {"EU-4"})
    lost = w.facts.get("laws", "eu-5-systemic").values["threshold"]
    waived = spared[0].what if spared else ""
    says = f"{waived} Rules that hold all the same: {', '.join(stays)}; above {lost:.0e} FLOP nothing is waived."
    figures = {"FLOP above which nothing is waived": exact(lost, "FLOP")}
    return Found("PARTLY" if spared and stays else "FALSE", says, figures)


def restricts(x: Inputs, w: World) -> Found:
    tuned = act_role(
        w.facts, eu=True, parameters=parameters(w.model(x["model"])), tokens=x["tokens"], original_flop=x["original"]
    )
    assert tuned.flop.value is not None
    order = w.facts.get("laws", "us-1-federal")
    share = tuned.flop.value / x["original"]
    figures = {
        "tuning a 70B on 10M tokens, of the original's compute": exact(share, "of it"),
        "FLOP of it": tuned.flop,
        "FLOP that make a provider": tuned.third,
    }
    says = f"{order.values['what']} In the EU duties fall on who makes models; who tunes: {tuned.text}."
    revoked = "revoked" in order.values["what"]
    return Found("OUTDATED" if revoked and tuned.provider is False else "TRUE", says, figures)


def exports(x: Inputs, w: World) -> Found:
    weights, chips = (w.facts.get("laws", name).values for name in x["laws"])
    free = "outside" in weights["what"] and "licence" in chips["what"]
    return Found("DEPENDS" if free else "TRUE", f"{weights['what']} {chips['what']}")


def hosts(x: Inputs, w: World) -> Found:
    rows = [row for row in w.facts.rows("hosted") if row.values["provider"] == x["host"]]
    live = [row for row in rows if str(row.values.get("retires") or "9") > w.today.isoformat()]
    other = [row for row in w.facts.rows("hosted") if row.values["provider"] == x["other"]]
    figures = {
        f"{x['host']}: open models with a price on file": exact(len(live), "rows"),
        "of them and switched off": exact(len(rows), "rows"),
        f"{x['other']}: the same": exact(len(other), "rows"),
    }
    says = (
        f"{x['host']} has {len(live)} rows with a price on file, {x['other']} {len(other) or 'none'}: it closed its "
        "public endpoints in 2024 (unverified)."
    )
    return Found("PARTLY" if live and not other else "TRUE" if live else "FALSE", says, figures)
