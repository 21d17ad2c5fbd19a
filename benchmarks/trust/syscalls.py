"""G31: the n-th system call fails, for every n up to a run in which none did: the error is said, and nothing is lost.

    python benchmarks/trust/syscalls.py [--few | --full]

Cases: a writer that acks each row once it is on the disk and seals its file at the end; a backup; a restore; an
erasure. Faults, put in by strace: write fails with ENOSPC, with EIO, with EINTR, or says that it wrote 40 bytes and
wrote none; fdatasync, fsync and rename fail with EIO; and kill -9 at a write, an fsync, a rename. After each run,
without faults: the ledger opens, no row that was acked is missing, none is torn, the chain holds; a backup or restored
project is whole or not there; an erasure ends when it is run again.
One line of JSON goes to stdout; the exit code is 1 where an invariant broke.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from freehold.errors import FreeholdError, StorageFailed
from freehold.ledger import Entry, Ledger, backup, check_backup, erase, restore, verify
from freehold.nouns import Call
from freehold.project import Project
from freehold.project.gateway import LedgerSettings

ROWS = 5
PERSON = "ana@example.org"
FAULTS = {
    "write:ENOSPC": ("write", "error=ENOSPC"),
    "write:EIO": ("write", "error=EIO"),
    "write:EINTR": ("write", "error=EINTR"),
    "write:short": ("write", "retval=40"),
    "fdatasync:EIO": ("fdatasync", "error=EIO"),
    "fsync:EIO": ("fsync", "error=EIO"),
    "rename:EIO": ("rename", "error=EIO"),
    "write:KILL": ("write", "signal=SIGKILL"),
    "fsync:KILL": ("fsync", "signal=SIGKILL"),
    "rename:KILL": ("rename", "signal=SIGKILL"),
}
FEW = ("write:ENOSPC", "write:EIO", "fdatasync:EIO", "fsync:EIO", "rename:EIO")
CALLS = {"writer": ("write", "fdatasync", "fsync"), "erase": ("write", "fsync", "rename")}
"""Where --few looks: the kinds of fault that do most, and the calls that a case makes."""
CASES = ("writer", "backup", "restore", "erase")
RESPONSE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}


def entry(id: str, user: str) -> Entry:
    body = {"model": "gpt-4o-mini", "user": user, "messages": [{"role": "user", "content": "move 50 to savings"}]}
    return Entry(Call(()), body, id=id, response=RESPONSE, status="complete", http=200)


def prepare(place: Path) -> Path:
    """A project whose ledger has one sealed file with rows of two people, and a backup of it."""
    folder = place / "clean"
    project = Project.create(folder)
    ledger = Ledger(project, name="first", ballast=0)
    for number in range(ROWS):
        ledger.write(entry(f"old-{number}", PERSON if number % 2 else "bob"))
    ledger.close()
    backup(project, place / "clean-backup")
    (folder / "ledger" / "backups.log").unlink()
    return folder


# what runs under strace: it says what it did through writev, which no fault touches


def say(what: str) -> None:
    os.writev(1, [f"{what}\n".encode()])


def act(case: str, folder: Path, aside: Path) -> None:
    if case == "writer":
        asyncio.run(write_rows(folder))
        return
    try:
        if case == "backup":
            backup(Project.open(folder), aside / "made")
        elif case == "restore":
            restore(aside.parent / "clean-backup", aside / "made")
        else:
            erase(Project.open(folder), PERSON)
        say("done")
    except (FreeholdError, OSError) as error:
        say(f"error {type(error).__name__}")


async def write_rows(folder: Path) -> None:
    settings = LedgerSettings(durability="safe")
    ledger = Ledger(Project.open(folder), settings, name="second", ballast=0, tell=lambda what, *_: say("error told"))
    for number in range(ROWS):
        row = entry(f"new-{number}", "bob")
        if not ledger.write(row):
            say("error write")
            continue
        try:
            await ledger.durable(row)
        except StorageFailed:
            say("error durable")
        else:
            say(f"ack {row.id}")
    ledger.close()
    say("done")


# what looks at it afterwards


def one(case: str, fault: str, n: int, place: Path, clean: Path) -> tuple[bool, list[str]]:
    """Whether a call was made to fail, and which invariants broke."""
    folder, aside = place / "run", place / "aside"
    for old in (folder, aside):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(clean, folder)
    aside.mkdir()
    call, how = FAULTS[fault]
    trace = place / "trace"
    kills = fault.endswith(":KILL")
    quick = [] if kills else ["--seccomp-bpf"]  # which drops signals
    command = ["strace", "-f", *quick, "-qq", "-o", trace, "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:{how}:when={n}", sys.executable, __file__, "--act", case, folder, aside]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([str(a) for a in command], capture_output=True, text=True, check=False, env=env, timeout=120)
    lines = done.stdout.split("\n")
    seen = trace.read_text(errors="replace")
    hit = done.returncode in (-9, 137) if kills else "INJECTED" in seen
    wrong = [] if done.returncode == 0 or (kills and hit) else [f"exit {done.returncode}: {done.stderr[-300:]}"]
    said = kills or any(line.startswith("error") for line in lines)
    if hit and not said and fault != "write:EINTR":  # Python tries again what a signal interrupted
        wrong.append("nothing was said")
    if case == "restore":
        wrong += whole(aside / "made", "done" in lines)
        return hit, wrong
    return hit, wrong + after(case, folder, aside, lines)


def after(case: str, folder: Path, aside: Path, lines: list[str]) -> list[str]:
    wrong = []
    project = Project.open(folder)
    if case == "erase":
        again = erase(project, PERSON)
        left = [path.name for path in (folder / "ledger").iterdir() if path.is_file() and PERSON in path.read_text()]
        wrong += [f"erased, and still in {name}" for name in left]
        wrong += [] if again.sha256 else ["no receipt"]
    ledger = Ledger(project, name="third", ballast=0)
    ledger.write(entry("last", "bob"))
    ledger.tend()
    ledger.close()
    found = verify(project)
    wrong += [str(problem) for problem in found.problems]
    ids = []
    for path in sorted((folder / "ledger").glob("*.jsonl")):
        ids += [json.loads(line)["freehold"]["id"] for line in path.read_bytes().split(b"\n")[:-1]]
    acked = {line[4:] for line in lines if line.startswith("ack ")} | {"last"}
    wrong += [f"acked and lost: {id}" for id in sorted(acked - set(ids))]
    if case != "erase" and [id for id in ids if id.startswith("old")] != [f"old-{number}" for number in range(ROWS)]:
        wrong.append("rows from before are not what they were")
    if case == "erase" and len(ids) != ROWS + 1:
        wrong.append(f"{len(ids)} rows after an erasure")
    if case == "backup" and (aside / "made").exists():
        try:
            wrong += [str(problem) for problem in check_backup(aside / "made").problems]
        except FreeholdError as error:
            wrong.append(error.message)
    if case == "backup" and "done" in lines and not (aside / "made").exists():
        wrong.append("said to be done, and not there")
    return wrong


def whole(made: Path, done: bool) -> list[str]:
    """A restored project is whole, or not there."""
    if not made.exists():
        return ["said to be done, and not there"] if done else []
    return [str(problem) for problem in verify(Project.open(made)).problems]


def run(cases: tuple[str, ...], few: bool) -> dict[str, object]:
    """`few`: the first call alone, instead of all up to a clean run."""
    runs, wrong = 0, []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        clean = prepare(place)
        for case in cases:
            for fault in FAULTS:
                if few and (fault not in FEW or FAULTS[fault][0] not in CALLS.get(case, FAULTS[fault][0])):
                    continue
                for n in range(1, 2 if few else 1000):
                    hit, broken = one(case, fault, n, place, clean)
                    runs += 1
                    wrong += [f"{case}, {fault}, n = {n}: {what}" for what in broken]
                    if not hit:
                        break
    return {"case": "G31", "of": list(cases), "faults": list(FAULTS), "runs": runs, "broken": wrong}


def main() -> int:
    if sys.argv[1:2] == ["--act"]:
        act(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--few", action="store_true", help="the first call of each kind alone")
    parser.add_argument("--full", action="store_true", help="every n up to a clean run (the default)")
    parser.add_argument("--case", choices=CASES, action="append", help="these cases alone")
    args = parser.parse_args()
    if shutil.which("strace") is None:
        print(json.dumps({"case": "G31", "skipped": "strace is not here"}))
        return 0
    found = run(tuple(args.case or CASES), args.few)
    print(json.dumps(found))
    return int(bool(found["broken"]))


if __name__ == "__main__":
    sys.exit(main())
