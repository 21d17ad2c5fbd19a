"""keys.json as a server sees it: found or not, changes seen, nothing lost, nothing told to others."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from freehold.errors import ArtifactDamaged, BadSetting, SecretExposed, StorageFailed
from freehold.keys import Keys, KeyUnknown, TooWide, Wanted, add, import_keys, keys, revoke, rotate
from freehold.project import Project


@dataclass
class Time:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def opened(project: Project, time: Time, said: list[str] | None = None) -> Keys:
    tell = (said if said is not None else []).append
    return Keys(project.path / "keys.json", monotonic=time, tell=lambda what, done=None, /: tell(what))


def test_without_a_file_no_key_is_required(project: Project) -> None:
    time = Time()
    store = opened(project, time)
    assert not store.required
    assert store.find("fh-" + "a" * 43) is None
    _, secret = add(project, Wanted(name="web"), by="os:test")
    time.now += 0.6
    found = store.find(secret)
    assert found is not None
    assert found.name == "web"
    assert store.required


def test_a_file_without_keys_lets_nobody_in(project: Project) -> None:
    path = project.path / "keys.json"
    path.write_text('{"freehold_keys": 1, "keys": []}')
    path.chmod(0o600)
    assert Keys.open(project).required


def test_a_revoked_key_is_seen_to_be_one_within_a_second(project: Project) -> None:
    _, secret = add(project, Wanted(name="web"), by="os:test")
    time = Time()
    store = opened(project, time)
    key = store.find(secret)
    assert key is not None
    assert key.holds(1e9)
    revoke(project, "web", by="os:test")
    time.now += 0.6
    key = store.find(secret)
    assert key is not None
    assert not key.holds(1e9)


def test_a_rotated_secret_replaces_the_old_one(project: Project) -> None:
    _, old = add(project, Wanted(name="web"), by="os:test")
    _, new = rotate(project, "web", by="os:test")
    store = Keys.open(project)
    assert store.find(old) is None
    assert store.find(new) is not None


def test_the_file_is_the_owners_alone_and_holds_no_secret(project: Project) -> None:
    secrets = [add(project, Wanted(name=f"k{i}"), by="os:test")[1] for i in range(3)]
    secrets.append(rotate(project, "k0", by="os:test")[1])
    for name in ("keys.json", "keys.log.jsonl"):
        path = project.path / name
        assert path.stat().st_mode & 0o777 == 0o600
        text = path.read_text()
        assert not any(secret in text or secret[12:] in text for secret in secrets)
    assert "sha256" not in (project.path / "keys.log.jsonl").read_text()
    assert not any(secret in repr(Keys.open(project)) for secret in secrets)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o660, 0o644])
def test_a_file_that_others_may_read_or_write_stops_the_start(project: Project, mode: int) -> None:
    add(project, Wanted(name="web"), by="os:test")
    (project.path / "keys.json").chmod(mode)
    with pytest.raises(SecretExposed, match="chmod 600") as caught:
        Keys.open(project)
    assert caught.value.exit_code == 54
    with pytest.raises(SecretExposed):
        add(project, Wanted(name="more"), by="os:test")


@pytest.mark.parametrize("how", ["damaged", "gone", "exposed", "wider", "newer"])
def test_a_bad_file_leaves_the_last_good_keys_in_force(project: Project, how: str) -> None:
    add(project, Wanted(name="boss", role="admin", budget_day=1.0), by="os:test")
    _, secret = add(project, Wanted(name="web"), parent="boss", by="os:test")
    time, said = Time(), list[str]()
    store = opened(project, time, said)
    path = project.path / "keys.json"
    good = path.read_text()
    if how == "gone":
        path.unlink()
    elif how == "exposed":
        path.chmod(0o644)
    else:
        wide = good.replace('"budget_day": 1.0', '"budget_day": 9.0').replace("9.0", "1.0", 1)
        new = good.replace('"freehold_keys": 1', '"freehold_keys": 2')
        path.write_text({"damaged": good[:-20], "wider": wide, "newer": new}[how])
    for _ in range(3):
        time.now += 0.6
        key = store.find(secret)
        assert key is not None
        assert key.budget_day == 1.0
        assert store.required
    assert store.why
    assert len(said) == 1
    path.write_text(good)
    path.chmod(0o600)
    time.now += 0.6
    assert store.find(secret) is not None
    assert store.why == ""


def test_a_damaged_file_stops_the_start(project: Project) -> None:
    for text in (b"", b"{}", b"[]", b'{"freehold_keys": 1, "keys": [{"name": "x"}]}', b"\xff\xfe", b"[" * 100_000):
        path = project.path / "keys.json"
        path.write_bytes(text)
        path.chmod(0o600)
        with pytest.raises(ArtifactDamaged, match=r"keys\.json"):
            Keys.open(project)


def test_threads_that_add_at_once_lose_nothing(project: Project) -> None:
    def work(number: int) -> None:
        for i in range(5):
            add(project, Wanted(name=f"t{number}-{i}"), by="os:test")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys(project)) == 20
    assert len(project.rows("keys.log.jsonl")) == 20


def test_processes_that_add_at_once_lose_nothing(project: Project) -> None:
    command = [sys.executable, "-m", "freehold", "keys", "add"]
    more = ["--project", str(project.path)]
    running = [subprocess.Popen([*command, f"p{i}", *more], stdout=subprocess.PIPE) for i in range(4)]
    said = [process.communicate(timeout=60)[0].decode().strip() for process in running]
    store = Keys.open(project)
    assert sorted(key.name for secret in said if (key := store.find(secret))) == ["p0", "p1", "p2", "p3"]


def test_a_child_is_read_against_its_parent_of_now(project: Project) -> None:
    add(project, Wanted(name="boss", role="admin"), by="os:test")
    revoke(project, "boss", by="os:test")
    with pytest.raises(TooWide, match="does not hold"):
        add(project, Wanted(name="late"), parent="boss", by="key:fh-abc")
    assert [key.name for key in keys(project)] == ["boss"]


def test_what_a_key_has_minted_falls_with_it(project: Project) -> None:
    for name, parent in (("boss", ""), ("deputy", "boss"), ("web", "deputy"), ("other", "")):
        add(project, Wanted(name=name, role="admin"), parent=parent, by="os:test")
    assert [key.name for key in revoke(project, "boss", by="os:test")] == ["boss", "deputy", "web"]
    assert [key.name for key in keys(project) if key.revoked is None] == ["other"]
    assert revoke(project, "web", by="os:test") == ()


def test_only_leaves_the_children(project: Project) -> None:
    add(project, Wanted(name="boss", role="admin"), by="os:test")
    add(project, Wanted(name="web"), parent="boss", by="os:test")
    assert [key.name for key in revoke(project, "boss", by="os:test", only=True)] == ["boss"]
    assert [key.name for key in keys(project) if key.revoked is None] == ["web"]


def test_a_name_stands_for_one_key_for_good(project: Project) -> None:
    add(project, Wanted(name="web"), by="os:test")
    revoke(project, "web", by="os:test")
    with pytest.raises(BadSetting, match="already, or was"):
        add(project, Wanted(name="web"), by="os:test")
    with pytest.raises(KeyUnknown, match="Known: web"):
        revoke(project, "wbe", by="os:test")


def test_every_change_is_a_row(project: Project) -> None:
    add(project, Wanted(name="boss", role="admin"), by="os:ann")
    add(project, Wanted(name="web", budget_day=2.0), parent="boss", by="key:fh-abc")
    rotate(project, "web", by="os:ann")
    revoke(project, "boss", by="os:ann")
    rows = [(row["by"], row["what"], row["name"]) for row in project.rows("keys.log.jsonl")]
    assert rows == [
        ("os:ann", "add", "boss"),
        ("key:fh-abc", "add", "web"),
        ("os:ann", "rotate", "web"),
        ("os:ann", "revoke", "boss"),
        ("os:ann", "revoke", "web"),
    ]


def test_a_refused_change_leaves_no_row_and_no_key(project: Project) -> None:
    add(project, Wanted(name="web"), by="os:test")
    before = (project.path / "keys.json").read_bytes(), (project.path / "keys.log.jsonl").read_bytes()
    with pytest.raises(BadSetting):
        add(project, Wanted(name="web"), by="os:test")
    with pytest.raises(TooWide):
        add(project, Wanted(name="child"), parent="web", by="os:test")
    assert before == ((project.path / "keys.json").read_bytes(), (project.path / "keys.log.jsonl").read_bytes())


def test_a_full_disk_leaves_the_keys_as_they_were(project: Project) -> None:
    """Where the log can't be written nothing is changed: no change without a row."""
    _, secret = add(project, Wanted(name="web"), by="os:test")
    log = project.path / "keys.log.jsonl"
    log.unlink()
    log.symlink_to("/dev/full")
    with pytest.raises(StorageFailed):
        revoke(project, "web", by="os:test")
    key = Keys.open(project).find(secret)
    assert key is not None
    assert key.revoked is None


def test_import_takes_all_or_none(project: Project, tmp_path: Path) -> None:
    other = Project.create(tmp_path / "other")
    _, first = add(other, Wanted(name="one", budget_day=1.0), by="os:test")
    add(other, Wanted(name="two", budget_day=9.0), by="os:test")
    add(project, Wanted(name="boss", role="admin", budget_day=5.0), by="os:test")
    before = (project.path / "keys.json").read_bytes()
    with pytest.raises(TooWide, match="budget_day of two"):
        import_keys(project, other.path / "keys.json", parent="boss", by="os:test")
    assert (project.path / "keys.json").read_bytes() == before
    assert [key.name for key in import_keys(project, other.path / "keys.json", by="os:test")] == ["one", "two"]
    found = Keys.open(project).find(first)
    assert found is not None
    assert found.name == "one"
    with pytest.raises(BadSetting, match="already"):
        import_keys(project, other.path / "keys.json", by="os:test")


def test_import_refuses_a_file_whose_children_are_wider(project: Project, tmp_path: Path) -> None:
    other = Project.create(tmp_path / "other")
    add(other, Wanted(name="boss", role="admin", budget_day=1.0), by="os:test")
    add(other, Wanted(name="web"), parent="boss", by="os:test")
    path = other.path / "keys.json"
    said = json.loads(path.read_text())
    del said["keys"][1]["budget_day"]
    path.write_text(json.dumps(said))
    with pytest.raises(ArtifactDamaged, match="budget_day of web is wider"):
        import_keys(project, path, by="os:test")
    assert keys(project) == ()


def test_who_pays_is_the_key_and_the_ancestors_with_a_budget(project: Project) -> None:
    for name, parent, budget in (("boss", "", 9.0), ("deputy", "boss", None), ("web", "deputy", 2.0)):
        role = "user" if name == "web" else "admin"
        add(project, Wanted(name=name, role=role, budget_day=budget), parent=parent, by="os:test")  # type: ignore[arg-type]
    store = Keys.open(project)
    web = store.named("web")
    assert web is not None
    assert [(key.name, key.budget_day) for key in store.payers(web)] == [("web", 2.0), ("deputy", 9.0), ("boss", 9.0)]


ODD = ["", "fh-", "fh-" + "é" * 43, "fh-\ud800", "fh-" + "a" * 10_000, "\0", "fh-\0", "Bearer fh-x", "' OR 1=1 --", "🗝"]


@pytest.mark.parametrize("secret", [*ODD, None, 5, b"fh-abc", ["fh-abc"], {"$ne": None}])
def test_nonsense_is_no_key(project: Project, secret: object) -> None:
    add(project, Wanted(name="web"), by="os:test")
    assert Keys.open(project).find(secret) is None
