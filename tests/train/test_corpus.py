"""Text to ids: what is read, what is left out, what is held out, what is refused. Tiny files, and the real ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import resource
import signal
import tarfile
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zstandard
from tokenizers import Tokenizer

from freehold.errors import BadSetting, CorpusUnusable, StorageFailed
from freehold.tell import quiet
from freehold.train.corpus import prepare
from freehold.train.corpus.clean import clean
from freehold.train.corpus.gather import gather
from freehold.train.corpus.looked import looked
from freehold.train.corpus.packing import Texts
from freehold.train.corpus.parts import parts_of
from freehold.train.corpus.sides import sides as of_sides
from freehold.train.corpus.spool import Spool
from freehold.train.nouns import Corpus

WORDS = (
    "sea", "house", "stone", "river", "light", "winter", "garden", "letter", "hill", "bread", "morning", "wolf", "road",
    "song", "table", "window", "bird", "cloud", "green", "quiet", "seven", "early", "under", "never", "always",
)  # fmt: skip


def story(seed: int, words: int = 120) -> str:
    """A text that is like no other."""
    rng = np.random.default_rng(seed)
    said = [WORDS[i] for i in rng.integers(len(WORDS), size=words)]
    return "\n".join(" ".join(said[i : i + 10]) for i in range(0, words, 10)) + f"\nnumber {seed}.\n"


def rows(count: int, start: int = 0) -> bytes:
    return b"".join(json.dumps({"text": story(i), "n": i}).encode() + b"\n" for i in range(start, start + count))


def tar(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("away.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return out.getvalue()


def sides(corpus: Corpus) -> tuple[str, str]:
    """What is learned from and what is held out, as text; documents divided by |."""
    made = Tokenizer.from_file(str(corpus.folder / "tokenizer" / "tokenizer.json"))

    def text(name: str) -> str:
        ids = np.load(corpus.folder / name, mmap_mode="r")
        starts = np.flatnonzero(ids == corpus.end)
        parts = np.split(np.asarray(ids), starts)
        return "|".join(made.decode([i for i in part.tolist() if i != corpus.end]) for part in parts)

    return text("train.npy"), text("held_out.npy")


def give(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_one_file_gives_its_last_tenth_character_for_character(tmp_path: Path) -> None:
    text = story(1, 2000) + "é “done”\n"
    corpus = prepare([give(tmp_path / "a.txt", text)], tmp_path / "w", tokenizer="characters")
    at = int(0.9 * len(text))
    assert sides(corpus) == ("|" + text[:at], text[at:])
    assert corpus.held_out_bytes == len(text[at:].encode())
    assert np.load(corpus.folder / "train.npy").dtype == np.uint16
    assert corpus.tokens == at + 1  # and the end token before it
    assert "last tenth of the one document" in " ".join(corpus.why)


def test_every_packing_and_shape_gives_the_same_documents(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    data = rows(60)
    texts = {f"d/{i:02}.txt": story(i).encode() for i in range(60)}
    given = {
        "a.jsonl": data, "b.jsonl.gz": gzip.compress(data), "c.jsonl.zst": zstandard.compress(data),
        "d.jsonl.bz2": bz2.compress(data[:5000]) + bz2.compress(data[5000:]), "e.jsonl.xz": lzma.compress(data),
        "f.json": json.dumps([json.loads(line) for line in data.splitlines()]).encode(), "g.tar.gz": tar(texts),
        "h.tar": tar({"x.jsonl.gz": gzip.compress(data)}, "w"),
    }  # fmt: skip
    paths = [give(tmp_path / name, data) for name, data in given.items()]
    pyarrow.parquet.write_table(pyarrow.table({"text": [story(i) for i in range(60)]}), tmp_path / "i.parquet")
    with zipfile.ZipFile(tmp_path / "j.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        archive.writestr("../out.txt", "no")
    for name, text in texts.items():
        give(tmp_path / "k" / name, text)
    found = set()
    for path in [*paths, tmp_path / "i.parquet", tmp_path / "j.zip", tmp_path / "k"]:
        corpus = prepare([path], tmp_path / "w", vocabulary=300)
        assert corpus.parts[0].documents == 60, path
        found.add(corpus.sha256)
    assert len(found) == 1


def test_the_same_and_nearly_the_same_stand_once(tmp_path: Path) -> None:
    long = story(0, 400)
    near = long.replace("sea house", "sea horse").replace("number 0", "number nought")
    other = story(1, 400)
    data = [long, other, long.replace("\n", "  \n"), near, other + " Amen.", *map(story, range(2, 40))]
    path = give(tmp_path / "a.jsonl", "\n".join(json.dumps({"text": text}) for text in data))
    part = prepare([path], tmp_path / "w", vocabulary=300).parts[0]
    assert (part.documents, part.same, part.alike) == (40, 1, 2)


def test_a_paragraph_that_many_share_stands_once_and_joins_no_documents(tmp_path: Path) -> None:
    notice = "This text is given to everybody. " * 40
    for i in range(30):
        give(tmp_path / "t" / f"{i:02}.txt", f"{notice}\n\n{story(i, 30)}\n\nThe end.\n")
    corpus = prepare([tmp_path / "t"], tmp_path / "w", tokenizer="characters")
    part = corpus.parts[0]
    assert (part.documents, part.alike, part.repeated) == (30, 0, 29)
    whole = "".join(sides(corpus))
    assert whole.count("given to everybody") == 40
    assert whole.count("The end.\n") == 30  # short ones are nobody's notice
    assert whole.count("number 7.\n\n\nThe end.") == 1


def test_a_document_stays_on_its_side(tmp_path: Path) -> None:
    first = prepare([give(tmp_path / "a.jsonl", rows(300))], tmp_path / "w", vocabulary=300)
    both = [tmp_path / "a.jsonl", give(tmp_path / "b.jsonl", rows(300, 300))]
    second = prepare(both, tmp_path / "w", vocabulary=300)
    held = [set(sides(corpus)[1].split("|")) - {""} for corpus in (first, second)]
    assert held[0] < held[1]
    assert not held[1] & set(sides(second)[0].split("|"))
    assert 0.01 < second.held_out_bytes / (second.held_out_bytes + sum(p.bytes for p in second.parts)) < 0.1


def test_the_seed_draws_the_order_and_nothing_else(tmp_path: Path) -> None:
    path = give(tmp_path / "a.jsonl", rows(60))
    one, two = (prepare([path], tmp_path / "w", vocabulary=300, seed=seed) for seed in (0, 1))
    assert sides(one)[1] == sides(two)[1]
    assert sides(one)[0] != sides(two)[0]
    assert sorted(sides(one)[0].split("|")) == sorted(sides(two)[0].split("|"))


def test_found_again_by_contents_and_made_again_when_damaged(tmp_path: Path) -> None:
    path, work = give(tmp_path / "a.jsonl", rows(60)), tmp_path / "w"
    told: list[str] = []
    one = prepare([path], work, vocabulary=300)
    again = prepare(
        [path], work, vocabulary=300, licences={"a": "CC0-1.0"}, tell=lambda what, done=None: told.append(what)
    )
    assert "read the text" not in told
    assert again.sha256 == one.sha256
    assert (one.parts[0].part.licence, again.parts[0].part.licence) == ("unknown", "CC0-1.0")
    ids = bytearray((one.folder / "train.npy").read_bytes())
    ids[-1] ^= 1
    (one.folder / "train.npy").write_bytes(ids)
    assert prepare([path], work, vocabulary=300) == one
    give(path, rows(61))
    assert prepare([path], work, vocabulary=300).folder != one.folder


def test_a_killed_run_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    path, work = give(tmp_path / "a.jsonl", rows(60)), tmp_path / "w"

    def kill(what: str, done: float | None = None, /) -> None:
        if what == "write the ids":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare([path], work, vocabulary=300, tell=kill)
    assert list(work.iterdir()) == []
    left = prepare([path], work, vocabulary=300).folder
    stray = left.with_name(f".{left.name}.tmp")  # what kill -9 leaves
    left.rename(stray)
    assert prepare([path], work, vocabulary=300).folder == left
    assert list(work.iterdir()) == [left]


def test_licences_and_sources_of_parts(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    for i in range(20):
        give(texts / "notes" / f"{i}.txt", story(i))
        give(texts / "pages" / f"{i}.md", story(100 + i))
        give(texts / "cards" / f"{i}.md", story(200 + i))
        give(texts / "mixed" / f"{i}.txt", story(300 + i))
    give(
        texts / "pages" / "SOURCE.md",
        "# x\n\n- Licence: CC-BY-4.0 (pages), MIT (scripts)\n- Source: https://a.example/p 12\n",
    )
    give(texts / "cards" / "README.md", "---\nlicense: cc-by-sa-4.0\n---\nAbout cards.\n")
    give(texts / "cards" / "LICENSE", "see README")
    give(texts / "mixed" / "LICENSE", "MIT License\n\nPermission is hereby granted, free of charge, ...")
    corpus = prepare([texts], tmp_path / "w", vocabulary=300, licences={str(texts / "mixed"): "own"})
    said = {c.part.name: (c.part.licence, c.part.source) for c in corpus.parts}
    assert said == {
        "texts": ("unknown", ""),
        "pages": ("CC-BY-4.0 AND MIT", "https://a.example/p 12"),
        "cards": ("CC-BY-SA-4.0", ""),
        "mixed": ("own", ""),
    }
    with pytest.raises(BadSetting, match="no part of this text"):
        prepare([texts], tmp_path / "w", licences={"elsewhere": "MIT"})


def test_what_is_no_text_is_passed_over_and_told(tmp_path: Path) -> None:
    for i in range(30):
        give(tmp_path / "t" / f"{i}.txt", story(i))
    give(tmp_path / "t" / "picture.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))
    give(tmp_path / "t" / "movie.mp4", b"\0")
    give(tmp_path / "t" / "old.txt", "naïve café, ".encode("cp1252") * 9 + story(50).encode())
    give(tmp_path / "t" / "wide.txt", ("日本 " + story(51)).encode("utf-16"))
    give(tmp_path / "t" / "blank.txt", " \n \n")
    corpus = prepare([tmp_path / "t"], tmp_path / "w", tokenizer="characters")
    part, why = corpus.parts[0], " ".join(corpus.why)
    assert (part.documents, part.skipped, part.empty) == (32, 1, 1)
    assert "1 binary files left out" in why
    assert "1 .mp4" in why
    assert "1 documents are not UTF-8" in why
    whole = "".join(sides(corpus))
    assert "naïve café" in whole
    assert "日本 " in whole


def test_markup_gives_what_stands_between_the_tags(tmp_path: Path) -> None:
    page = "<html><style>p {}</style><body><p>One <b>bold</b> word &amp; more.</p><script>x()</script><p>Two.</p>"
    card = "<D><C>C0006826</C><Q>What is a <![CDATA[<red>]]> stone ?</Q><A>It is\n a stone.</A></D>"
    give(tmp_path / "t" / "a.html", page)
    give(tmp_path / "t" / "b.xml", card)
    give(tmp_path / "t" / "c.txt", story(1))
    whole = "".join(sides(prepare([tmp_path / "t"], tmp_path / "w", tokenizer="characters")))
    assert "One bold word & more.\n\nTwo.\n\n" in whole
    assert "What is a <red> stone ?\n\nIt is\na stone.\n\n" in whole
    assert "x()" not in whole
    assert "C0006826" not in whole


def test_a_column_of_numbers_is_named_with_its_kind(tmp_path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2], "title": ["a", "b"]}), tmp_path / "a.parquet")
    with pytest.raises(CorpusUnusable) as error:
        prepare([tmp_path / "a.parquet"], tmp_path / "w")
    assert error.value.hint == "Its fields: text (int64), title (string). Say --field NAME."


def test_private_data_is_counted(tmp_path: Path) -> None:
    text = story(1, 90) + "Write to ana.silva@firm.example or call 201-948-1927.\n" + story(2, 900)
    why = prepare([give(tmp_path / "a.txt", text)], tmp_path / "w", vocabulary=300).why
    assert any("private data, as rules find it in all " in line and "1 email" in line for line in why)


def test_private_data_at_the_end_of_a_long_document_is_seen_and_none_is_said(tmp_path: Path) -> None:
    long = story(1, 3000) + "\nkey = sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MGFiY2RlZg\n"
    why = prepare([give(tmp_path / "a.txt", long)], tmp_path / "w", vocabulary=300).why
    assert any("private data" in line and "secret" in line for line in why), why
    why = prepare([give(tmp_path / "b.txt", story(3, 900))], tmp_path / "w", vocabulary=300).why
    assert any("rules find none in all" in line for line in why), why


def test_of_a_large_text_a_part_is_looked_at_and_that_is_said(tmp_path: Path) -> None:
    rows = b"".join(msgspec.json.encode({"text": story(n, 20)}) + b"\n" for n in range(200))
    with Spool(tmp_path) as spool:
        gather(parts_of([give(tmp_path / "a.jsonl", rows)], licences={}, sources={}), spool, "text", quiet)
        left = clean(spool, 1, quiet)
        said = looked(Texts(left, of_sides(left.rows["one"], left.rows["size"])), most=5_000)
    assert re.fullmatch(r"private data: rules find none in 5 of \d\d kB \(names.*", said), said


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.txt": "To be, or not to be.\n"}, "ids to learn from and"),
        ({"a.bin": bytes(range(256)) * 9}, "the one file there is is binary"),
        ({"t/a.txt": b"\0\1", "t/b.txt": b"\0\2"}, "all 2 files there are binary"),
        ({"a.jsonl": b'{"prompt": "x", "answer": "y"}\n'}, "in the field 'text'. Its fields: prompt, answer."),
        ({"a.txt": ""}, "There is no text in a."),
        ({"t/a.png": b"x"}, "There is no text in t."),
        ({"a.jsonl.gz": gzip.compress(rows(30))[:-40]}, "cut off, damaged"),
        ({"a.tar.gz": tar({"a.txt": story(1, 4000).encode()})[:900]}, "cut off, damaged"),
        ({"a.json": b'[{"text": "x"'}, "no whole JSON document"),
        ({"a.parquet": b"PAR1xxxx"}, "no whole Parquet file"),
        ({"a.txt.gz": gzip.compress(bytes(b"a\n" * (35 << 20)))}, "more than 200 times its size"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, files: dict[str, bytes | str], said: str) -> None:
    for name, data in files.items():
        give(tmp_path / name, data)
    first = tmp_path / next(iter(files)).split("/")[0]
    with pytest.raises(CorpusUnusable) as error:
        prepare([first], tmp_path / "w")
    assert said in str(error.value)
    assert error.value.hint
    assert not list((tmp_path / "w").glob(".*"))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CorpusUnusable, match="No text was given"):
        prepare([], tmp_path)
    with pytest.raises(CorpusUnusable, match="No such file"):
        prepare([tmp_path / "none"], tmp_path)


def test_another_field(tmp_path: Path) -> None:
    data = b"".join(json.dumps({"body": story(i)}).encode() + b"\n" for i in range(60)) + b'{"body": 3}\nnot json\n'
    corpus = prepare([give(tmp_path / "a.jsonl", data)], tmp_path / "w", vocabulary=300, field="body")
    assert (corpus.parts[0].documents, corpus.parts[0].skipped) == (60, 2)


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    path = give(tmp_path / "a.jsonl", rows(200))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(StorageFailed, match="Can't write"):
            prepare([path], tmp_path / "w", vocabulary=300)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list((tmp_path / "w").iterdir()) == []


def test_memory_does_not_grow_with_the_text(tmp_path: Path) -> None:
    """Python's and numpy's, while a text is read, compared and written: ten times the text, the same peak."""
    import tracemalloc

    from freehold.tell import quiet
    from freehold.train.corpus.clean import clean
    from freehold.train.corpus.gather import gather
    from freehold.train.corpus.parts import parts_of
    from freehold.train.corpus.spool import Spool

    def peak(megabytes: int) -> int:
        folder = tmp_path / str(megabytes)
        folder.mkdir()
        line = (story(megabytes, 2000) * 4).encode()
        with gzip.open(folder / "a.txt.gz", "wb", 1) as file:
            for i in range(megabytes * 20):
                file.write(line[i : i + 52_000] + b"\n")
        tracemalloc.start()
        with Spool(folder) as spool:
            gather(parts_of([folder / "a.txt.gz"], licences={}, sources={}), spool, "text", quiet)
        clean(spool, 1, quiet)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(1), peak(6)
    assert large < small + (2 << 20), (small, large)


def test_tinyshakespeare_is_nanogpts_split(shared: Path, tmp_path: Path) -> None:
    path = shared / "data" / "text" / "tinyshakespeare" / "input.txt.gz"
    corpus = prepare([path], tmp_path / "w", tokenizer="characters")
    text = gzip.decompress(path.read_bytes()).decode()
    assert (corpus.vocabulary, corpus.tokens, corpus.held_out_tokens) == (65 + 3, 1_003_854 + 1, 111_540)
    assert sides(corpus)[1] == text[1_003_854:]
    assert corpus.parts[0].part.licence == "LicenseRef-scancode-public-domain"
