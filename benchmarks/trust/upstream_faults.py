"""G26: an upstream that dies, stalls or lies: what the client sees, and what the ledger says of it.

    python benchmarks/trust/upstream_faults.py [--full]

Ten ways, streamed and in one piece (peers/standin.py), over raw sockets. An answer of one model is never followed by
another's; after content a stream ends with an error event and no [DONE]; the row's status is partial or failed, never
complete. `stalls` and `endless_line` wait for the server's own deadlines (30 s, 16 MiB).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import _run
from _gateway import CHAT, Server, bodies, freehold, small_project, upstream

Row = dict[str, Any]
GOOD = 3  # calls that are answered, before each that is not
FAULTS = (
    "dies_before", "dies_after_role", "dies_mid_word", "dies_mid_utf8", "dies_mid_tool", "dies_after_done", "stalls",
    "error200", "garbage", "endless_line",
)  # fmt: skip
WHOLE = {"dies_after_done"}
"""Where all of an answer has come before the upstream dies: a success, and its row says so."""


def asked(server: Server, fault: str, stream: bool) -> Row:
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    begun = time.monotonic()
    body = json.loads(bodies(stream)[0]) | ({"metadata": {"fault": fault}} if fault else {})
    found: Row = {"fault": fault, "stream": stream, "status": 0, "cut": ""}
    said = b""
    try:
        line.request("POST", CHAT, json.dumps(body), {"Content-Type": "application/json"})
        answer = line.getresponse()
        found["status"] = answer.status
        while piece := answer.read1(65536):
            said = (said + piece)[-(64 << 10) :] if len(said) > 1 << 20 else said + piece
            found["bytes"] = found.get("bytes", 0) + len(piece)
    except (http.client.HTTPException, OSError) as error:
        found["cut"] = type(error).__name__
    finally:
        line.close()
    return found | {"said": said, "seconds": round(time.monotonic() - begun, 2)}


def right(found: Row) -> str:
    """ "" where the client was told the truth; else what was wrong."""
    said, fault, stream = found["said"], found["fault"], found["stream"]
    if found["status"] == 0:
        return "no answer at all"
    if fault in WHOLE:
        done = b"[DONE]" in said if stream else b'"transfer"' in said
        return "" if found["status"] == 200 and done and not found["cut"] else "an answer that was whole was not given"
    if not stream or fault == "dies_before":
        if fault in ("error200", "garbage"):  # whole answers of an upstream that says nonsense come back as they are
            return "" if found["status"] < 500 or found["status"] == 502 else f"status {found['status']}"
        return (
            ""
            if found["status"] in (502, 504) and b'"error"' in said
            else f"status {found['status']} of a broken answer"
        )
    if b"[DONE]" in said:
        return "a broken stream said [DONE]"
    if b"transfer" in said:
        return "another answer follows"
    if found["status"] >= 500:
        return "" if b'"error"' in said else "an error without OpenAI's shape"
    return "" if b'"error"' in said else "a broken stream without an error event"


def rows(project: Path) -> Iterator[Row]:
    for path in sorted((project / "ledger").rglob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and "freehold" in row:
                yield row


def statuses(project: Path) -> dict[tuple[str, bool], str]:
    found = {}
    for row in rows(project):
        asked_for = row.get("request") or {}
        fault = (asked_for.get("metadata") or {}).get("fault")
        if fault:
            found[fault, bool(asked_for.get("stream"))] = row["freehold"]["status"]
    return found


def one_way(place: Path, fault: str, stream: bool, times: int) -> tuple[list[Row], str, float, bool, int]:
    """Each answer, the last row's status, the most MiB, whether the server lives, and tracebacks in its log."""
    found, most = [], 0.0
    with upstream() as up, freehold(small_project(place / "project"), up.url) as ours:
        for _ in range(times):
            for _ in range(GOOD):
                good = asked(ours, "", stream)
                assert good["status"] == 200, good
            found.append(asked(ours, fault, stream))
            most = max(most, ours.rss())
        alive = ours.alive() and asked(ours, "", False)["status"] == 200
        log = (ours.log.read_text() if ours.log else "").count("Traceback")
        ours.stop()
        said = statuses(place / "project").get((fault, stream), "no row")
    return found, said, most, alive, log


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="each way 10 times instead of once")
    args = parser.parse_args()
    times = 10 if args.full else 1
    _run.CACHE.mkdir(exist_ok=True)
    ways = [(fault, stream) for fault in FAULTS for stream in (False, True)]
    with tempfile.TemporaryDirectory(dir=_run.CACHE) as folder, concurrent.futures.ThreadPoolExecutor(6) as pool:
        places = [Path(folder) / f"{fault}-{stream}" for fault, stream in ways]
        for place in places:
            place.mkdir()
        ran = list(pool.map(lambda at: one_way(places[at], *ways[at], times), range(len(ways))))
    found = [one for each in ran for one in each[0]]
    said = {way: each[1] for way, each in zip(ways, ran, strict=True)}
    peak, alive, log = max(each[2] for each in ran), all(each[3] for each in ran), sum(each[4] for each in ran)
    wrong: dict[str, str] = {}
    for one in found:
        name = f"{one['fault']} {'stream' if one['stream'] else 'whole'}"
        if why := right(one):
            wrong[name] = why
        status = said.get((one["fault"], one["stream"]), "no row")
        if (status == "complete") != (one["fault"] in WHOLE):
            wrong[f"{name}, its row"] = status
    for name, why in wrong.items():
        _run.say(f"{name}: {why}")
    good = len(ways) - len({name.removesuffix(", its row") for name in wrong})
    slowest = max(found, key=lambda one: one["seconds"])
    goals = [
        _run.goal(
            "ways in which client and ledger are told the truth",
            f"{len(ways)} of {len(ways)}",
            f"{good} of {len(ways)}",
            good == len(ways),
        ),
        _run.goal("the server lives, without a traceback", "yes", f"{alive}, {log} tracebacks", alive and not log),
        _run.goal("memory with endless answers under way, MiB", "<= 400", round(peak), peak <= 400),
    ]
    result = {"wrong": wrong, "rss": round(peak), "slowest": [slowest["fault"], slowest["seconds"]],
              "statuses": {f"{f} {'stream' if s else 'whole'}": status for (f, s), status in said.items()}}  # fmt: skip
    return _run.emit("trust/upstream_faults", full=args.full, n=len(found), goals=goals, case="G26", result=result)


if __name__ == "__main__":
    sys.exit(main())
