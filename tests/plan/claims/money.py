"""Claims about money: bills by the dated price list, machines by the hour, training by its arithmetic.

bill          plan.money.bills.bill: twelve months of a mix of tokens, each at its own day's price
break-even    plan.money.even.load_even: the mean load at which a machine costs what the tokens do
training      plan.law.act.training_flop: 6 N T
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from math import sqrt

import numpy as np
from claims.check import Found, Inputs, World, exact

from freehold.facts import retirement
from freehold.fit import BUFFERS, lora_parameters, most_streams, parameters, total, training, weight_bytes
from freehold.nouns import Measure
from freehold.plan import plan
from freehold.plan.demand import by_hand
from freehold.plan.law.act import training_flop
from freehold.plan.money.bills import Mix, bill, flat
from freehold.plan.money.even import load_even
from freehold.plan.money.setups import Setup
from freehold.plan.speed import step
from freehold.plan.speed.calibrate import calibration
from freehold.plan.speed.place import room
from freehold.totals import HOURS

MILLION = 1e6
BLEND = 0.75  # the share that is read in "3:1"


def year(w: World, model: str, tokens: float, read: float, day: date) -> float:
    """USD of twelve months at `tokens` a month."""
    cost = bill(Mix(0.0, tokens * read, 0.0, tokens * (1 - read)), model, w.book, day)
    assert cost is not None, model
    return float(cost.total.sum())


def million(w: World, model: str, day: date, read: float = BLEND) -> float:
    """USD a million tokens, in the first month."""
    cost = bill(Mix(0.0, MILLION * read, 0.0, MILLION * (1 - read)), model, w.book, day)
    assert cost is not None, model
    return float(cost.total[0])


def host(w: World, row: str, read: float = BLEND) -> float:
    """USD a million tokens at a host."""
    mix = Mix(0.0, MILLION * read, 0.0, MILLION * (1 - read))
    cost = flat(mix, w.facts.get("hosted", row), w.book, w.today)
    assert cost is not None, row
    return float(cost.total[0])


def load(hourly: float, rate: float, price: float) -> Measure:
    """The mean load at which a machine of `hourly` USD that does `rate` tokens a second costs `price` USD a million."""
    setup = Setup("rent", "a machine", "any", gpus=1, replicas=1, rate=Measure(rate, unit="tokens/s"))
    parts, tokens = {"machines": np.array([[hourly * HOURS]])}, MILLION
    return load_even(setup, parts, np.array([[price * tokens / MILLION]]), 1.0, tokens)


def own(hourly: Measure, rate: float) -> Measure:
    """USD a million tokens of a machine at full load."""
    each = MILLION / (rate * 3600)
    low, high = (None if end is None else end * each for end in (hourly.low, hourly.high))
    return Measure((hourly.value or 0.0) * each, low, high, unit="USD/M tokens")


def saving(x: Inputs, w: World) -> Found:
    then, tokens, claimed = date.fromisoformat(x["then"]), x["tokens"], x["claimed"]
    bills = {
        f"{model}, {name}": year(w, model, tokens, read, then)
        for model in x["models"] for name, read in x["mixes"].items()
    }  # fmt: skip
    now = year(w, x["now"], tokens, BLEND, w.today)
    worst, usual = max(bills.values()), year(w, x["models"][0], tokens, BLEND, then)
    enough = {m: claimed / year(w, m, 1.0, BLEND, w.today) for m in (x["models"][0], *x["also"], x["now"])}
    advice = plan(demand=by_hand(tokens, x["models"][0], share=BLEND, calls=None, today=w.today), today=w.today).advice
    assert advice is not None
    figures = {
        "the whole bill": Measure(usual, min(bills.values()), worst, unit="USD/year"),
        **{f"bill, {name}": exact(value, "USD/year") for name, value in bills.items()},
        f"bill, {x['now']} today": exact(now, "USD/year"),
        "overstated, at the least": exact(claimed / worst, "times"),
        "overstated, at 3:1": exact(claimed / usual, "times"),
        **{f"volume at which it is true, {m}": exact(v, "tokens/month") for m, v in enough.items()},
    }
    says = (
        f"A bill can't save more than it is: ${usual:,.0f} a year at {x['models'][0]}, ${worst:,.0f} at the "
        f"dearest there was, ${now:,.0f} today at {x['now']}. `freehold plan` on it: {advice.word}."
    )
    return Found("FALSE" if worst < claimed else "TRUE", says, figures)


def cheaper_own(x: Inputs, w: World) -> Found:
    then, rate = date.fromisoformat(x["then"]), x["measured"] / x["cards"]
    hourly, bought = w.rent(x["rent"]), million(w, x["from"], then, 0.5)
    cost = own(hourly, rate)
    assert cost.value is not None
    ten = load(hourly.value or 0.0, 2 * rate, bought / x["claimed"])
    blend = million(w, x["from"], then)
    pace = x["gpus"] * (hourly.value or 0.0) / 3600 / (blend / x["claimed"] / MILLION)
    today = w.facts.get("hosted", x["hosted"]).values
    mini, least = (million(w, model, w.today) for model in (x["cheap"], x["now"]))
    figures = {
        "load at which it is ten times cheaper": ten,
        "own, a million written at full load": cost,
        "closed, a million read and one written": exact(2 * bought, "USD"),
        "cheaper at full load": exact(2 * bought / cost.value, "times"),
        f"{x['gpus']} x H100, a tenth of the blend": exact(pace, "tokens/s"),
        "hosted then, cheaper": exact(blend / host(w, x["hosted_then"]), "times"),
        "Groq then, cheaper": exact(blend / (BLEND * x["groq"][0] + (1 - BLEND) * x["groq"][1]), "times"),
        f"hosted today against {x['cheap']}, dearer (low)": exact(today["input_low"] / mini, "times"),
        f"hosted today against {x['cheap']}, dearer (high)": exact(today["input_high"] / mini, "times"),
        f"hosted today against {x['now']}, dearer (low)": exact(today["input_low"] / least, "times"),
        f"hosted today against {x['now']}, dearer (high)": exact(today["input_high"] / least, "times"),
        "predicted here, written a second and card": _predicted(x, w),
    }
    ended = (retirement(x["from"]) or ("",))[0]
    stale = ended <= w.today.isoformat() and today["input_low"] > mini
    true = ten.value is not None and ten.value < 1
    says = (
        f"At the measured {rate:,.0f} tokens/s a card a full H100 is {2 * bought / cost.value:,.0f} times cheaper, and "
        f"ten times from {100 * (ten.value or 0):.1f} % load on. But {x['from']} was switched off on {ended}, and "
        f"against what closed models cost today a hosted 70B is dearer."
    )
    return Found(f"{'TRUE' if true else 'FALSE'} THEN, {'OUTDATED' if stale else 'TRUE'} NOW", says, figures)


def _predicted(x: Inputs, w: World) -> Measure:
    """Written tokens a second and card in plan.speed: as many tokens are read as written, as in the measurement."""
    card, gpus, a = w.device("h100-sxm"), x["replica"], w.model(x["model"])
    left = room(card, gpus) - BUFFERS * gpus
    streams = most_streams(a, weight_bytes(a, x["form"]), room=left, context=x["context"], bits=8.0)
    by = calibration(card, x["form"], engine="trt", facts=w.facts)
    took = step(
        a, card, x["form"], gpus=gpus, streams=streams, context=x["context"], prefill_tokens=streams, by=by
    ).seconds
    rate = streams / took / gpus
    return Measure(rate, by.low * rate, by.high * rate, unit="tokens/s")


def break_even(x: Inputs, w: World) -> Found:
    then = date.fromisoformat(x["then"])
    price, least = million(w, x["from"], then), million(w, x["now"], w.today)
    read = million(w, x["from"], then, 1.0)
    full = own(exact(x["hourly"]), x["rate"])
    assert full.value is not None
    loads = {model: load(x["hourly"], x["rate"], cost) for model, cost in ((x["from"], price), (x["now"], least))}
    figures = {
        f"load from which own is cheaper than {x['from']}": loads[x["from"]],
        f"load from which own is cheaper than {x['now']}": loads[x["now"]],
        f"{x['from']}, read": exact(read, "USD/M tokens"),
        f"{x['from']}, 3:1": exact(price, "USD/M tokens"),
        f"{x['now']}, 3:1": exact(least, "USD/M tokens"),
        "own at full load": full,
        "own at a tenth of it": exact(full.value * 10, "USD/M tokens"),
    }
    depends = loads[x["from"]].value is not None and loads[x["now"]].value is None
    ended = (retirement(x["from"]) or ("9",))[0] <= w.today.isoformat()
    says = (
        f"${read:.2f} was {x['from']}'s price for reading alone; own machines were cheaper "
        f"than its ${price:.2f} from {100 * (loads[x['from']].value or 0):.0f} % load on. Against {x['now']}'s "
        f"${least:.2f} they never are: ${full.value:.2f} even at full load."
    )
    verdict = f"{'OUTDATED, ' if ended else ''}{'DEPENDS' if depends else 'TRUE'}"
    return Found(verdict, says, figures)


def tuning(x: Inputs, w: World) -> Found:
    a = w.model(x["model"])
    need = training(
        a, "qlora", tokens=x["length"], longest=x["length"], answers=x["length"], rank=x["rank"], fused=True,
        recompute=True,
    )  # fmt: skip
    big, small = (w.device(name) for name in (x["card"], x["smaller"]))
    fits = {card.id: total(need) <= room(card, 1) for card in (big, small)}
    flop = training_flop(parameters(a), 1).value
    assert flop is not None
    rate = big.values["flops"]["bf16"] * x["mfu"] / flop
    bought = {price: x["claimed"] / price * 3600 * rate for price in x["hourly"]}
    low, usual, high = (x["tokens"] / (rate * mfu / x["mfu"]) / 3600 * x["hourly"][0] for mfu in x["mfus"])
    figures = {
        "memory it takes": exact(total(need) / 2**30, "GiB"),
        "of it the base in NF4": exact(need["weights"] / 2**30, "GiB"),
        "of it adapter, gradients, Adam": exact(need["adapter, gradients, Adam"] / 2**30, "GiB"),
        "parameters of the adapter": exact(lora_parameters(a, x["rank"]), ""),
        "tokens a second": exact(rate, "tokens/s"),
        **{f"tokens for $300 at ${price}/h": exact(tokens, "tokens") for price, tokens in bought.items()},
        "10M tokens cost": Measure(usual, low, high, unit="USD"),
        "10M tokens cost, at least": exact(low, "USD"),
        "10M tokens cost, at most": exact(high, "USD"),
    }
    says = (
        f"{total(need) / 2**30:.0f} GiB: {'fits' if fits[big.id] else 'does not fit'} an {big.values['name']}, "
        f"{'fits' if fits[small.id] else 'not'} an {small.values['name']}. $300 pays for "
        f"{bought[min(x['hourly'])] / 1e6:,.0f}M tokens; a set of 10M costs ${low:.0f} to ${high:.0f}."
    )
    verdict = "PLAUSIBLE FOR 80 GB, OVER-PRICED" if fits[big.id] and high < x["claimed"] else "FALSE"
    return Found(verdict if not fits[small.id] else "TRUE", says, figures)


def pretraining(x: Inputs, w: World) -> Found:
    """The final run alone, at what its hours would rent for."""
    a, claimed = w.model(x["model"]), x["claimed"]
    rents = {name: w.facts.get("rents", row).values["price"] for name, row in x["rents"].items()} | x["prices"]
    costs = {name: x["hours"] * price for name, price in rents.items()}
    flop = training_flop(parameters(a), x["tokens"]).value
    assert flop is not None
    peak = w.device("h100-sxm").values["flops"]["bf16"] * 3600
    hours = claimed / rents["market"]
    bought = hours * peak * x["mfu"]
    best = sqrt(bought / 6 / 20)  # Hoffmann et al., arXiv 2203.15556: 20 tokens a parameter
    figures = {
        "the final run": Measure(costs["market"], min(costs.values()), max(costs.values()), unit="USD"),
        **{f"the final run, {name} ${rents[name]:.2f}/h": exact(cost, "USD") for name, cost in costs.items()},
        "low by, at the least": exact(min(costs.values()) / claimed, "times"),
        "low by, at AWS": exact(costs["AWS"] / claimed, "times"),
        "FLOP of the run": exact(flop, "FLOP"),
        "hours at 40 % of the peak": exact(flop / (peak * x["mfu"]), "H100 hours"),
        "share of the peak that the card implies": exact(flop / (x["hours"] * peak), "share"),
        "the claimed sum buys": exact(hours, "H100 hours"),
        "in FLOP": exact(bought, "FLOP"),
        "tokens of a 70B": exact(bought / 6 / parameters(a), "tokens"),
        "the best model for it": exact(best, "parameters"),
        "on": exact(20 * best, "tokens"),
    }
    says = (
        f"The card's {x['hours'] / 1e6:.1f}M H100 hours rent for ${min(costs.values()) / 1e6:,.1f}M to "
        f"${max(costs.values()) / 1e6:,.1f}M; ${claimed:,.0f} pays for {100 * bought / flop:.1f} % of the compute."
    )
    if "least" in x:  # C09: at least so much, and who can pay it
        true = min(costs.values()) <= claimed <= max(costs.values())
        trained = ", ".join(x["others"])
        says = f"{says.split(';')[0]}: ${claimed / 1e6:,.0f}M is among them. But {trained} trained models of that size."
        keep = ("the final run", "the final run, market $2.95/h")
        return Found(f"{'TRUE' if true else 'FALSE'}, BUT NOT ONLY BIG TECH", says, {k: figures[k] for k in keep})
    return Found("FALSE" if min(costs.values()) > claimed else "TRUE", says, figures)


def tenth(x: Inputs, w: World) -> Found:
    open_, closed = host(w, x["open"]), million(w, x["closed"], w.today)
    times = closed / open_
    figures = {
        "cheaper": exact(times, "times"),
        x["open"]: exact(open_, "USD/M tokens"),
        x["closed"]: exact(closed, "USD/M tokens"),
    }
    says = f"${open_:.2f} against ${closed:.2f} a million tokens (3:1): {times:.1f} times. Quality: only a proof says."
    return Found("PRICE: TRUE" if times >= x["claimed"] else "PRICE: FALSE", says, figures)


def marginal(x: Inputs, w: World) -> Found:
    kwh = x["watts"] / x["rate"] * MILLION / 3.6e6
    power = w.facts.get("assumptions", "electricity").values
    pue = w.facts.get("assumptions", "pue").values["value"]
    cost = Measure(kwh * power["value"], kwh * power["low"], kwh * power["high"], unit="USD/M tokens")
    mmlu = w.facts.get("models", x["model"]).values["quality"]["mmlu"]
    scores = {name: w.facts.get("quality", name).values for name in (*x["open"], x["closed"])}
    best = max(x["open"], key=lambda name: scores[name]["arena"])
    level = scores[best]["high"] >= scores[x["closed"]]["low"]
    figures = {
        "power": cost,
        "energy": exact(kwh, "kWh/M tokens"),
        "power, with the building's": exact(kwh * pue * power["value"], "USD/M tokens"),
        "MMLU of the 8B": exact(mmlu, "%"),
        "MMLU of GPT-3.5 (unverified)": exact(x["mmlu"], "%"),
        **{f"arena score, {n}": Measure(s["arena"], s["low"], s["high"], unit="points") for n, s in scores.items()},
    }
    says = (
        f"Power is ${cost.value:.3f} a million tokens, and what a machine costs whether it works or not is the bill. "
        f"Untuned, {best} is {'level with or above' if level else 'below'} {x['closed']} in the arena; tuned, on your "
        "calls: only a proof says."
    )
    return Found("HALF TRUE" if (cost.value or 1) < 0.05 else "FALSE", says, figures)


def free(x: Inputs, w: World) -> Found:
    hourly = w.rent(x["rent"]).value or 0.0
    machine, people = hourly * HOURS, w.facts.get("assumptions", "people").values
    salary = w.facts.get("assumptions", "salary").values["value"] / 12
    fixed = machine + people["value"] * salary
    figures = {
        "one card and who runs it": Measure(
            fixed, machine + people["low"] * salary, machine + people["high"] * salary, unit="USD/month"
        ),
        "of it the card": exact(machine, "USD/month"),
    }
    return Found(
        "FALSE" if fixed > 0 else "TRUE",
        f"No licence fee, but one rented H100 and {people['value']} of a person are ${fixed:,.0f} a month.",
        figures,
    )


def sums(x: Inputs, w: World) -> Found:
    del w
    closed, open_ = sum(x["closed"].values()), sum(x["open"].values())
    says = f"By mid-2024 {', '.join(x['closed'])} had raised ${closed:.1f}B and {', '.join(x['open'])} ${open_:.0f}B."
    figures = {"closed over open": exact(closed / open_, "times")}
    return Found("FALSE BY MONEY" if closed > open_ else "TRUE", says, figures)


def proof(x: Inputs, w: World) -> Found:
    """A model of one's own on machines that the team rules: what the plan says before and without a proof."""
    from freehold.plan.decide import Wish
    from freehold.project import Settings

    settings = Settings()
    settings = replace(settings, declared=replace(settings.declared, privacy="own"))
    made = plan(
        demand=by_hand(x["tokens"], x["from"], share=BLEND, calls=None, today=w.today), settings=settings,
        wish=Wish(model=x["model"]), today=w.today,
    ).advice  # fmt: skip
    assert made is not None
    says = f"Only the team's own calls tell: for {x['model']} on machines of its own `freehold plan` says {made.word}."
    return Found(made.word, says)
