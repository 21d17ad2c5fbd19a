"""G09: 23 damaged model files, and 60 mutants of good ones: each is refused within 5 s and 1 GiB, and who checks lives.

One child process looks at all of them under a memory limit, as the real loaders would. The long form is
benchmarks/trust/files.py: 2,000 mutants, and the engine's own process on those that look whole.
"""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from freehold.engines.llama.completion import completion
from freehold.errors import EngineFailed

CHECKER = """
import hashlib, json, resource, sys, time
from pathlib import Path
from freehold.engines.base_files import _check_safetensors
from freehold.engines.gguf.read import check
from freehold.errors import FreeholdError
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
for line in sys.stdin:
    path, sha256 = json.loads(line)
    start = time.perf_counter()
    try:
        if path.endswith(".gguf"):
            check(Path(path), sha256)
        else:
            _check_safetensors(Path(path))
            if sha256 and hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha256:
                raise FreeholdError("other bytes than the manifest's")
        said = "whole"
    except FreeholdError as error:
        said = "refused"
    print(json.dumps([path, said, time.perf_counter() - start]), flush=True)
"""
GIB = 1 << 30


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


ARCHITECTURE = key(b"general.architecture", 8, text(b"llama"))


def tensor(name: bytes, shape: tuple[int, ...] = (8, 4), kind: int = 0, at: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape) + struct.pack("<IQ", kind, at)


def gguf(
    keys: list[bytes], tensors: list[bytes], data: bytes = b"", version: int = 3, counts: tuple[int, int] | None = None
) -> bytes:
    """A file by hand, as damaged as it is asked for."""
    n, m = counts or (len(tensors), len(keys))
    head = b"GGUF" + struct.pack("<IQQ", version, n, m) + b"".join(keys) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + data


GOOD = gguf([ARCHITECTURE, key(b"llama.block_count", 4, struct.pack("<I", 1))], [tensor(b"w")], bytes(128))
SAFE = save({"w": np.ones((4, 4), np.float32), "b": np.zeros(4, np.float32)})


def safe(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape: list[int], offsets: list[int], dtype: str = "F32") -> bytes:
    return json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


CORPUS = {
    "empty.gguf": b"",
    "magic_alone.gguf": b"GGUF",
    "other_magic.gguf": b"GGML" + GOOD[4:],
    "version_0.gguf": gguf([ARCHITECTURE], [], version=0),
    "version_huge.gguf": gguf([ARCHITECTURE], [], version=0xFFFFFFFF),
    "count_of_tensors.gguf": gguf([ARCHITECTURE], [], counts=(1 << 62, 1)),
    "count_of_keys.gguf": gguf([ARCHITECTURE], [], counts=(0, 1 << 62)),
    "string_of_2_63.gguf": gguf([struct.pack("<Q", 1 << 63)], []),
    "array_of_2_40.gguf": gguf([key(b"a", 9, struct.pack("<IQ", 4, 1 << 40))], []),
    "array_in_array.gguf": gguf([key(b"a", 9, struct.pack("<IQ", 9, 4) * 64)], []),
    "unknown_kind.gguf": gguf([key(b"a", 99, b"\0" * 8)], []),
    "name_no_utf8.gguf": gguf([key(b"\xff\xfe\x80", 8, text(b"x"))], []),
    "no_architecture.gguf": gguf([key(b"general.name", 8, text(b"x"))], []),
    "dims_0.gguf": gguf([ARCHITECTURE], [text(b"w") + struct.pack("<IIQ", 0, 0, 0)], bytes(128)),
    "dims_huge.gguf": gguf([ARCHITECTURE], [text(b"w") + struct.pack("<I", 1 << 31)], bytes(128)),
    "shape_overflows.gguf": gguf([ARCHITECTURE], [tensor(b"w", (1 << 33, 1 << 33))], bytes(128)),
    "offset_outside.gguf": gguf([ARCHITECTURE], [tensor(b"w", at=1 << 60)], bytes(128)),
    "tensor_cut.gguf": gguf([ARCHITECTURE], [tensor(b"w")], bytes(100)),
    "tensor_twice.gguf": gguf([ARCHITECTURE], [tensor(b"w"), tensor(b"w")], bytes(256)),
    "alignment_0.gguf": gguf([ARCHITECTURE, key(b"general.alignment", 4, struct.pack("<I", 0))], [tensor(b"w")],
    bytes(128)),
    "header_longer_than_file.safetensors": safe(b"{}", length=1 << 40),
    "offsets_overlap.safetensors": safe(
        json.dumps({n: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in "ab"}).encode(), bytes(16)
    ),
    "shape_overflows.safetensors": safe(entry([1 << 40, 1 << 40], [0, 16]), bytes(16)),
}  # fmt: skip


def mutants(good: bytes, name: str, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Seeded damage: bits flipped, bytes set to extremes, pieces cut out, doubled or moved, the end cut off."""
    chance = random.Random(seed)
    for i in range(count):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(max(1, len(data)))
            match chance.randrange(5):
                case 0:
                    data[at : at + 1] = bytes([(data[at : at + 1] or b"\0")[0] ^ 1 << chance.randrange(8)])
                case 1:
                    data[at : at + 8] = chance.choice(
                        [b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\0" * 7 + b"\x80"]
                    )
                case 2:
                    del data[at : at + chance.randint(1, 40)]
                case 3:
                    data[at:at] = data[at : at + chance.randint(1, 40)]
                case 4:
                    data = data[: max(1, at)]
        if bytes(data) != good:
            yield f"{i}-{name}", bytes(data)


def checked(files: dict[Path, str | None], memory: int = GIB) -> dict[str, tuple[str, float]]:
    """What the child says of each file, and its seconds; a file that kills the child is missing."""
    asked = "".join(json.dumps([str(path), sha256]) + "\n" for path, sha256 in files.items())
    done = subprocess.run(
        [sys.executable, "-c", CHECKER, str(memory)], input=asked, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {path: (said, seconds) for path, said, seconds in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float]]:
    import hashlib

    folder = tmp_path_factory.mktemp("files")
    files: dict[Path, str | None] = {}
    for name, data in {**CORPUS, "good.gguf": GOOD, "good.safetensors": SAFE}.items():
        (folder / name).write_bytes(data)
        files[folder / name] = None
    for good, name in ((GOOD, "m.gguf"), (SAFE, "m.safetensors")):
        for named, data in mutants(good, name, 30, seed=7):
            (folder / named).write_bytes(data)
            files[folder / named] = hashlib.sha256(good).hexdigest()  # what a manifest says
    found = checked(files)
    assert len(found) == len(files)
    return {Path(path).name: said for path, said in found.items()}


@pytest.mark.parametrize("name", CORPUS)
def test_a_damaged_file_is_refused(name: str, verdicts: dict[str, tuple[str, float]]) -> None:
    said, seconds = verdicts[name]
    assert said == "refused"
    assert seconds < 5.0


def test_every_mutant_is_refused_and_what_is_whole_is_not(verdicts: dict[str, tuple[str, float]]) -> None:
    found = {name: said for name, said in verdicts.items() if name[0].isdigit()}
    assert len(found) >= 55
    assert {name for name, (said, _) in found.items() if said != "refused"} == set()
    assert max(seconds for _, seconds in found.values()) < 5.0
    assert (verdicts["good.gguf"][0], verdicts["good.safetensors"][0]) == ("whole", "whole")


def test_weights_that_give_no_numbers_are_said_to_be_damaged() -> None:
    """llama.cpp loads a base with a few bytes changed as if nothing were: its log-probabilities are null then."""
    said = {"content": "x", "timings": {}, "stop_type": "eos", "tokens_evaluated": 1}
    row = {"id": 1, "logprob": None, "top_logprobs": []}
    with pytest.raises(EngineFailed, match="damaged"):
        completion(said, [row], [1], 0.1)
