"""Claims about what fits and how fast it is: fit's sums, plan.speed's roofline, mixtures of experts, guessing ahead."""

from __future__ import annotations

from math import ceil

from claims.check import Found, Inputs, World, exact
from claims.money import host

from freehold.fit import active, cache_bytes, flop, parameters, read_bytes, serving, total, weight_bytes
from freehold.nouns import Fact, Measure
from freehold.plan.speed import speed
from freehold.plan.speed.place import fit_on, room
from freehold.plan.speed.speculate import expected, gain

GB = 1e9


def gigabytes(w: World, model: str, form: str) -> Measure:
    return exact(weight_bytes(w.model(model), form) / GB, "GB")


def ceiling(w: World, model: str, device: Fact, form: str) -> float:
    """Tokens a second of one stream that no engine passes: all weights are read once a token."""
    return float(device.values["bandwidth"] / read_bytes(w.model(model), form, 1))


def stream(w: World, model: str, device: Fact, form: str, context: int = 512) -> Measure:
    """What plan.speed predicts of one stream."""
    return speed(
        model, w.model(model), device, form, gpus=1, streams=1, context=context, prompt=context, facts=w.facts
    ).stream


def four_bits(x: Inputs, w: World) -> Found:
    big, small, card, context = x["big"], x["small"], w.device(x["card"]), x["context"]
    row, a = w.facts.get("models", big), w.model(big)
    fits = {form: fit_on(row, a, card, 1, form, context=context) for form in x["forms"]}
    beside = cache_bytes(a, context)
    most = 8 * (room(card, 1) - beside - fits["Q4_K_M"].buffers) / parameters(a)
    kept = 8 * (card.values["memory"] - beside - x["kept"]) / parameters(a)
    bigger = {form: fit_on(row, a, w.device(x["bigger"]), 1, form, context=context).fits for form in x["forms"]}
    two = fit_on(row, a, card, 2, "Q4_K_M", context=context)
    figures = {
        "70B in 4 bits (Q4_K_M)": gigabytes(w, big, "Q4_K_M"),
        "70B in 4 bits (NF4)": gigabytes(w, big, "NF4"),
        "70B in 4 bits (GPTQ)": gigabytes(w, big, "GPTQ"),
        "70B in 16 bits": gigabytes(w, big, "BF16"),
        "70B in 32 bits": gigabytes(w, big, "F32"),
        "bits a weight that a 70B may have on 24 GiB": exact(most, "bits"),
        "the same, with 1.5 GiB kept back and no tenth": exact(kept, "bits"),
        "70B in IQ2_XS": gigabytes(w, big, "IQ2_XS"),
        "8B in 4 bits (Q4_K_M)": gigabytes(w, small, "Q4_K_M"),
        "8B with its cache and buffers": exact(total(serving(w.model(small), "Q4_K_M", context=context)) / GB, "GB"),
    }
    none = not any(fit.fits for fit in fits.values())
    held = ", ".join(f"{form} {'fits' if fits else 'does not fit'}" for form, fits in bigger.items())
    gives = room(w.device(x["bigger"]), 1) / GB
    says = (
        f"140 GB is the 70B ({figures['70B in 16 bits'].value:.0f} GB in 16 bits, which is half precision), and in 4 "
        f"bits it takes {figures['70B in 4 bits (NF4)'].value:.1f} to "
        f"{figures['70B in 4 bits (Q4_K_M)'].value:.1f} GB: {'not on 24 GB' if none else 'on 24 GB'}, but on "
        f"two of 24 or on one of 48 ({held} an L40S, which gives {gives:.1f} GB). The 8B does fit."
    )
    return Found("FALSE, MIXES TWO MODELS" if none and two.fits and any(bigger.values()) else "TRUE", says, figures)


def experts(x: Inputs, w: World) -> Found:
    a = w.model(x["model"])
    layer = next(layer for _, layer in a.layers if layer.experts)
    share = active(a) / parameters(a)
    figures = {
        "parameters that a token uses": exact(share, "share"),
        "experts that a token uses": exact(layer.chosen, ""),
        "of experts": exact(layer.experts, ""),
        "active": exact(active(a), "parameters"),
        "in memory": exact(parameters(a), "parameters"),
    }
    says = (
        f"{layer.chosen} of {layer.experts} per layer and token; with what all share that is {100 * share:.1f} % "
        "of the parameters, and all of them must be in memory."
    )
    return Found("TRUE" if (layer.chosen, layer.experts) == tuple(x["claimed"]) else "FALSE", says, figures)


def sparse(x: Inputs, w: World) -> Found:
    dense, moe = w.model(x["dense"]), w.model(x["moe"])
    flops = flop(dense, 1) / flop(moe, 1)
    bytes_ = {b: read_bytes(dense, "BF16", b) / read_bytes(moe, "BF16", b) for b in x["streams"]}
    measured = {name: two[0] / two[1] for name, two in x["measured"].items()}
    price = x["price"]["dense"] / x["price"]["moe"]
    figures = {
        "measured, 8 x MI300X, server": exact(measured["8 x MI300X, server"], "times"),
        "FLOP a token": exact(flops, "times"),
        "memory": exact(weight_bytes(dense, "BF16") / weight_bytes(moe, "BF16"), "times"),
        **{f"bytes read a step, {b} streams": exact(value, "times") for b, value in bytes_.items()},
        **{f"measured, {name}": exact(value, "times") for name, value in measured.items()},
        "price in 2024": exact(price, "times"),
        "price on file now (dense not sold any more)": exact(host(w, x["hosted"]), "USD/M tokens"),
    }
    says = (
        f"{flops:.2f} times fewer FLOP a token, but {bytes_[max(bytes_)]:.2f} times fewer bytes once {max(bytes_)} "
        f"calls share a step, {measured['8 x MI300X, server']:.2f} times the tokens measured on the same machines, and "
        f"{price:.2f} times less money."
    )
    true = max(measured.values()) >= x["claimed"] or price >= x["claimed"]
    return Found("TRUE" if true else "MISLEADING", says, figures)


def ahead(x: Inputs, w: World) -> Found:
    low, high = (expected(share, 1) for share in x["accepted"])
    best = [gain(share, 1, x["guess"]) for share in x["accepted"]]
    figures = {
        "tokens a step": Measure((low + high) / 2, low, high, unit="tokens"),
        "tokens a step, 85 % accepted": exact(low, "tokens"),
        "tokens a step, 90 % accepted": exact(high, "tokens"),
        "reported": exact(x["reported"], "times"),
        "what a guess then costs": exact(low / x["reported"] - 1, "steps"),
    }
    del w
    says = (
        f"With {100 * x['accepted'][0]:.0f} to {100 * x['accepted'][1]:.0f} % of guesses accepted a step gives "
        f"{low:.2f} to {high:.2f} tokens; reported: {x['reported']} times. A module of its own guesses."
    )
    close = x["claimed"] * 0.9 <= max(best) <= x["claimed"]
    return Found("ROUGHLY TRUE, WRONG MECHANISM" if close else "FALSE", says, figures)


def groq(x: Inputs, w: World) -> Found:
    device = w.device("groq-lpu-v1")
    rows = [row for row in w.facts.rows("hosted") if row.values["provider"] == "Groq"]
    llamas = [row for row in rows if str(row.values["model"]).startswith("llama")]
    chips = ceil(weight_bytes(w.model(x["model"]), "INT8") / device.values["memory"])
    plain = ceil(parameters(w.model(x["model"])) / device.values["memory"])
    figures = {
        "Llama models that Groq serves": exact(len(llamas), ""),
        "models on file that it serves": exact(len(rows), ""),
        "chips for a 70B, a byte a weight": exact(plain, "chips"),
        "chips, embeddings in 16 bits": exact(chips, "chips"),
    }
    for row in rows:
        w.facts.get("hosted", row.id)
    says = (
        f"GroqCloud serves models of its own list ({', '.join(sorted({str(r.values['model']) for r in rows}))} among "
        f"those on file), takes no weights of yours, and a 70B in 8 bits would ask for {plain} first-generation chips."
    )
    no = not llamas and not device.values.get("sold", True)
    return Found("FALSE AS A DEPLOYMENT PATH" if no else "TRUE", says, figures)


def phone(x: Inputs, w: World) -> Found:
    size = gigabytes(w, x["model"], "Q4_K_M")
    need = total(serving(w.model(x["model"]), "Q4_K_M", context=x["context"])) / GB
    says = f"{size.value:.2f} GB in 4 bits, {need:.1f} GB with the cache of {x['context']:,} tokens and buffers."
    figures = {"in 4 bits (Q4_K_M)": size, "with cache and buffers": exact(need, "GB")}
    return Found("TRUE" if need < x["memory"] else "FALSE", says, figures)


def board(x: Inputs, w: World) -> Found:
    device = w.device(x["device"])
    runs = {model: ceiling(w, model, device, "Q4_K_M") for model in x["models"]}
    big = total(serving(w.model(x["big"]), "Q4_K_M", context=512))
    figures = {
        **{f"{model}, at most": exact(rate, "tokens/s") for model, rate in runs.items()},
        **{f"{model}, predicted": stream(w, model, device, "Q4_K_M") for model in runs},
        "a 70B needs": exact(big / GB, "GB"),
        "and there are": exact(device.values["memory"] / GB, "GB"),
    }
    small = next(iter(runs))
    likely = figures[f"{small}, predicted"].value
    says = (
        f"At most {runs[small]:.0f} tokens/s of {small} in 4 bits (predicted: {likely:.0f}), "
        + " and ".join(f"{rate:.1f} of {model}" for model, rate in list(runs.items())[1:])
        + f"; a 70B needs {big / GB:.0f} GB of {device.values['memory'] / GB:.0f}."
    )
    return Found("TRUE FOR SMALL MODELS" if big > device.values["memory"] else "TRUE", says, figures)


def elsewhere(x: Inputs, w: World) -> Found:
    card, cpu, big, small = w.device("mi300x"), w.device("cpu-ddr5-5600"), x["big"], x["small"]
    fit = fit_on(w.facts.get("models", big), w.model(big), card, 1, "BF16", context=2048)
    figures = {
        "70B in 16 bits on one MI300X, at most": exact(ceiling(w, big, card, "BF16"), "tokens/s"),
        "the same, predicted": stream(w, big, card, "BF16"),
        "8B in 4 bits on a CPU, at most": exact(ceiling(w, small, cpu, "Q4_K_M"), "tokens/s"),
        "8B on a CPU, predicted": stream(w, small, cpu, "Q4_K_M"),
        "70B in 4 bits on a CPU, at most": exact(ceiling(w, big, cpu, "Q4_K_M"), "tokens/s"),
        "70B on a CPU, predicted": stream(w, big, cpu, "Q4_K_M"),
    }
    slow = figures["70B on a CPU, predicted"].value or 0.0
    says = (
        f"One MI300X {'holds' if fit.fits else 'does not hold'} a 70B in 16 bits "
        f"({figures['the same, predicted'].value:.0f} tokens/s to one caller); a desktop CPU writes "
        f"{figures['8B on a CPU, predicted'].value:.0f} tokens/s of an 8B in 4 bits and {slow:.1f} of a 70B."
    )
    return Found("DEPENDS" if fit.fits and slow < x["readable"] else "TRUE", says, figures)
