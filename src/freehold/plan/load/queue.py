"""How long calls wait in a queue, by formula: the check beside the replay.

    W_q = (C_a^2 + C_s^2) / 2 x P(wait; c, a) / (c mu - lambda)        Allen and Cunneen's approximation for G/G/c

P(wait) is Erlang's C formula for c servers at an offered load of a = lambda / mu erlangs. For one server and Poisson
arrivals it is Pollaczek and Khinchine's exact M/G/1 wait; for exponential service the exact M/M/c wait.
"""

from __future__ import annotations

from freehold.errors import BadSetting

__all__ = ["erlang_c", "waiting"]


def erlang_c(servers: int, load: float) -> float:
    """The probability that a call waits, of M/M/c; 1 from an offered `load` (erlangs) of all servers on. It goes by
    Erlang's B and its recursion, which neither runs over nor cancels out. Raises BadSetting."""
    if servers < 1 or not load >= 0:
        raise BadSetting(
            f"A queue of {servers} servers at a load of {load} erlangs isn't one.", "Give 1 or more, and 0 or more."
        )
    if load >= servers:
        return 1.0
    lost = 1.0
    for count in range(1, servers + 1):
        lost = load * lost / (count + load * lost)
    return servers * lost / (servers - load * (1 - lost))


def waiting(rate: float, service: float, servers: int, *, arrivals: float = 1.0, services: float = 1.0) -> float:
    """Mean seconds in the queue: `rate` calls a second, `service` seconds each; `arrivals` and `services` are the
    squared coefficients of variation of what lies between arrivals and of the service. Infinite where it grows without
    end."""
    load = rate * service
    if load >= servers:
        return float("inf")
    return (arrivals + services) / 2 * erlang_c(servers, load) * service / (servers - load)
