"""The half of a layer that works on each token alone: a gated MLP, a plain one, or experts.

gated(d, f)                  gate, up, down: 3 d f
experts(d, E, k, f, shared=) a router d E, E experts of 3 d f each, and those that every token goes through
"""

from __future__ import annotations

from typing import NamedTuple

from freehold.fit.architecture import Layer, Matrix
from freehold.fit.mixers import Part

__all__ = ["NOTHING", "Feed", "experts", "gated", "joined", "plain"]


class Feed(NamedTuple):
    matrices: tuple[Matrix, ...] = ()
    vectors: int = 0
    expert: tuple[Matrix, ...] = ()
    expert_vectors: int = 0
    experts: int = 0
    chosen: int = 0


NOTHING = Feed()


def gated(d: int, f: int, *, bias: bool = False) -> Feed:
    return Feed((Matrix("gate", d, f), Matrix("up", d, f), Matrix("down", f, d)), 2 * f + d if bias else 0)


def plain(d: int, f: int, *, bias: bool = False) -> Feed:
    return Feed((Matrix("up", d, f), Matrix("down", f, d)), f + d if bias else 0)


def experts(
    d: int,
    count: int,
    chosen: int,
    f: int,
    *,
    shared: int = 0,
    shared_gate: bool = False,
    router_bias: bool = False,
    bias: bool = False,
    gates: bool = True,
    latent: int = 0,
    latent_norm: bool = False,
) -> Feed:
    """`shared`: width of what every token goes through beside. `latent`: the experts work on that many numbers, which
    two more matrices make of a token and back. `gates`: experts have a gate (else up and down alone)."""
    inside = latent or d
    one = gated(inside, f, bias=bias) if gates else plain(inside, f, bias=bias)
    always = (gated(d, shared) if gates else plain(d, shared)).matrices if shared else ()
    around = (Matrix("latent_in", d, latent), Matrix("latent_out", latent, d)) if latent else ()
    gate = (Matrix("shared_gate", d, 1),) if shared_gate and shared else ()
    vectors = (count if router_bias else 0) + (latent if latent_norm else 0)
    return Feed(
        (Matrix("router", d, count), *always, *around, *gate), vectors, one.matrices, one.vectors, count, chosen
    )


def joined(mixer: Part, feed: Feed, vectors: int) -> Layer:
    """A whole layer: `vectors` are its norms."""
    return Layer(
        mixer.matrices + feed.matrices,
        mixer.vectors + feed.vectors + vectors,
        mixer.kept,
        mixer.state,
        feed.expert,
        feed.expert_vectors,
        feed.experts,
        feed.chosen,
        mixer.heads,
    )
