"""Who may call what: each cell of the table, what is in no cell, and 500 hostile strings (G01, G03, G05)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import BadSetting, StorageFailed
from freehold.keys import Keys, KeyUnknown, TooWide, Wanted, add, revoke
from freehold.project import Project
from freehold.serve.entry.policy import (
    TABLE,
    Denied,
    Policy,
    authorise,
    bearer,
    check_model,
    check_task,
    denied,
    may_home,
    policy_for,
    sees_details,
)

NOW = datetime.now(UTC).timestamp()
CALLERS = ("none", "bad", "revoked", "expired", "reader", "user", "limited", "admin")
HOLDERS = {"reader", "user", "limited", "admin"}
PUBLIC = dict.fromkeys(CALLERS, 200)
OUT = {"none": 401, "bad": 401, "revoked": 401, "expired": 401}
# Written once more, by hand, and not from the code's own table.
CELLS: dict[str, dict[str, int]] = {
    "GET /health": PUBLIC,
    "GET /ready": PUBLIC,
    "GET /metrics": {**OUT, "reader": 200, "user": 403, "limited": 403, "admin": 200},
    "GET /v1/models": {**OUT, "reader": 200, "user": 200, "limited": 200, "admin": 200},
    "POST /v1/chat/completions": {**OUT, "reader": 403, "user": 200, "limited": 200, "admin": 200},
    "POST /v1/completions": {**OUT, "reader": 403, "user": 200, "limited": 200, "admin": 200},
    "POST /v1/embeddings": {**OUT, "reader": 403, "user": 200, "limited": 200, "admin": 200},
    "GET /v1/keys": {**OUT, "reader": 403, "user": 403, "limited": 403, "admin": 200},
    "POST /v1/keys": {**OUT, "reader": 403, "user": 403, "limited": 403, "admin": 200},
    "DELETE /v1/keys/web": {**OUT, "reader": 403, "user": 403, "limited": 403, "admin": 200},
    "GET /v1/files": {**OUT, "reader": 403, "user": 200, "limited": 403, "admin": 200},
    "GET /v1/models/gpt-4o": {**OUT, "reader": 403, "user": 200, "limited": 403, "admin": 200},
    "POST /v1/responses": {**OUT, "reader": 403, "user": 200, "limited": 403, "admin": 200},
    "DELETE /v1/files/abc": {**OUT, "reader": 403, "user": 403, "limited": 403, "admin": 200},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Keys, dict[str, str | None]]:
    project = Project.create(tmp_path_factory.mktemp("policy") / "project")
    past = datetime.now(UTC) - timedelta(hours=1)
    given: dict[str, str | None] = {"none": None, "bad": "fh-" + "a" * 43}
    for name, fields in {
        "revoked": {"role": "admin"},
        "expired": {"role": "admin", "expires": past},
        "reader": {"role": "reader"},
        "user": {},
        "limited": {"budget_day": 5.0},
        "admin": {"role": "admin"},
    }.items():
        given[name] = add(project, Wanted(name=name, **fields), by="os:test")[1]  # type: ignore[arg-type]
    revoke(project, "revoked", by="os:test")
    return Keys.open(project), given


def http(keys: Keys, route: str, presented: str | None) -> int:
    method, _, path = route.partition(" ")
    try:
        authorise(policy_for(method, path), presented, keys, NOW)
    except Denied as refusal:
        return refusal.http
    return 200


@pytest.mark.parametrize(("route", "caller"), list(itertools.product(CELLS, CALLERS)))
def test_every_cell(world: tuple[Keys, dict[str, str | None]], route: str, caller: str) -> None:
    keys, given = world
    assert http(keys, route, given[caller]) == CELLS[route][caller]


def test_every_row_of_the_table_has_cells() -> None:
    rows = {policy_for(*route.split(" ")).route for route in CELLS}
    assert rows == {row.route for row in TABLE}
    assert {row.method for row in TABLE} == {"GET", "POST", "DELETE"}


def test_without_keys_only_minting_is_denied(tmp_path: Path) -> None:
    keys = Keys.open(Project.create(tmp_path / "project"))
    for route in CELLS:
        assert http(keys, route, None) == (403 if "/v1/keys" in route else 200)
        assert http(keys, route, "fh-nonsense") == (403 if "/v1/keys" in route else 200)


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/v1", "/v1/", "/v1//models", "/v1/models/", "/v1/./keys", "/v1/../health", "/v1/keys/", "/v1/Keys",
        "/v1/KEYS/web", "/v1/keys/web/more", "/v1/keys/../models", "/v1/keys/%2e", "/v1/keys/Web", "/v1/Models",
        "/v1/chat/Completions", "/v1/EMBEDDINGS", "/v1/chat%2fcompletions", "/v1/models%00", "/admin", "/HEALTH",
        "/health/", "/v2/models", "/metrics/x", "/v1/a b", "/v1/é", "/v1/a\n", "//v1/models", "/v1/keys/{name}",
        "/v1/models?x=1", "*", "http://127.0.0.1/v1/models", "/V1/models", "/v1/keys/" + "a" * 65,
    ],
)  # fmt: skip
def test_what_is_in_no_row_is_no_route(path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        with pytest.raises(Denied) as caught:
            policy_for(method, path)
        assert caught.value.http == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models", "GET"),
        ("POST", "/health", "GET"),
        ("PUT", "/v1/keys", "GET, POST"),
        ("GET", "/v1/keys/web", "DELETE"),
        ("PATCH", "/v1/files", "GET, POST, DELETE"),
        ("get", "/v1/models", "GET"),
        ("OPTIONS", "/v1/files", "GET, POST, DELETE"),
        ("TRACE", "/health", "GET"),
    ],
)
def test_another_method_says_which(method: str, path: str, allow: str) -> None:
    with pytest.raises(Denied) as caught:
        policy_for(method, path)
    assert (caught.value.http, caught.value.headers) == (405, {"Allow": allow})


def test_a_401_says_how(world: tuple[Keys, dict[str, str | None]]) -> None:
    keys, given = world
    row = policy_for("GET", "/v1/models")
    for caller, code in {"none": "missing_api_key", "bad": "invalid_api_key", "revoked": "invalid_api_key"}.items():
        with pytest.raises(Denied) as caught:
            authorise(row, given[caller], keys, NOW)
        assert caught.value.code == code
        assert caught.value.headers == {"WWW-Authenticate": "Bearer"}
        assert (given[caller] or "fh-never") not in str(caught.value)


def test_a_key_that_expires_is_refused_five_minutes_later(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    _, secret = add(project, Wanted(name="web", expires=end), by="os:test")
    keys, row = Keys.open(project), policy_for("GET", "/v1/models")
    assert authorise(row, secret, keys, end.timestamp() + 299) is not None
    assert authorise(row, secret, keys, end.timestamp() - 10 * 365 * 86_400) is not None
    with pytest.raises(Denied, match="past its time"):
        authorise(row, secret, keys, end.timestamp() + 301)


def test_a_row_with_nobody_in_it_denies_everybody(world: tuple[Keys, dict[str, str | None]]) -> None:
    keys, given = world
    for caller in CALLERS:
        with pytest.raises(Denied):
            authorise(Policy("GET", "/new", frozenset()), given[caller], keys, NOW)


@pytest.mark.parametrize(
    ("header", "secret"),
    [
        (None, None), ("", None), ("Bearer fh-abc", "fh-abc"), ("bearer fh-abc", "fh-abc"), ("Basic fh-abc", None),
        ("fh-abc", None), ("Bearer", ""), ("Bearer  fh-abc ", "fh-abc"), ("Bearer\tfh-abc", None),
    ],
)  # fmt: skip
def test_the_header(header: str | None, secret: str | None) -> None:
    assert bearer(header) == secret


def hostile() -> list[str]:
    """500 different ones: SQL, NoSQL, formats, templates, paths, shells, JSON, Unicode, controls, sizes; as they are,
    encoded, and with a key's own prefix."""
    seeds = [
        "' OR '1'='1", "'; DROP TABLE keys;--", '" OR ""="', "1) UNION SELECT sha256 FROM keys--", "admin'--", "%' --",
        "' AND SLEEP(5)--", "'||pg_sleep(5)--", "\\' OR 1=1 --", '{"$ne": null}', '{"$gt": ""}',
        '{"$where": "sleep(9)"}', "[$regex]=.*", "true, $where: '1 == 1'", "%s%s%s%n", "%x%x%x", "{0.__class__}",
        "{self}", "${7*7}", "{{7*7}}",
        "#{7*7}", "<%= 7*7 %>", "${jndi:ldap://x/a}", "../../keys.json", "..\\..\\keys.json", "file:///etc/passwd",
        "`id`", "$(id)", "; cat keys.json", "| nc x 1", "&& id", "\r\nX-Role: admin", "\nadmin", "a\0b",
        "\x1b[2J", "\u2028",
        "\u202efh", "ﬀh-", "ｆｈ－", "é" * 40, "🗝" * 20, "\ud800", "null", "None", "undefined", "NaN", "-1", "1e999",
        "0x41414141", "*", "(|(cn=*))", "<script>alert(1)</script>", "A" * 5000, " ", "\t",
    ]  # fmt: skip
    found = dict.fromkeys(seeds)
    for seed in seeds:
        raw = seed.encode("utf-8", "surrogatepass")
        for form in (
            f"fh-{seed}", f"Bearer {seed}", seed * 3, seed.upper(), seed[::-1], raw.hex(), f"fh-{raw.hex()}",
            base64.b64encode(raw).decode(), "fh-" + base64.urlsafe_b64encode(raw).decode(), f"admin {seed}",
            f"{seed}\0", f" {seed}", f"fh-{seed}'",
        ):  # fmt: skip
            found[form] = None
    return list(found)[:500]


def test_500_hostile_strings_are_no_key(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    add(project, Wanted(name="web"), by="os:test")
    keys = Keys.open(project)
    before = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in project.path.glob("*keys*")}
    strings = hostile()
    assert len(strings) == 500
    for text in strings:
        for presented in (text, bearer(text), bearer(f"Bearer {text}")):
            with pytest.raises(Denied) as caught:
                authorise(policy_for("POST", "/v1/chat/completions"), presented, keys, NOW)
            assert caught.value.http == 401
    after = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in project.path.glob("*keys*")}
    assert before == after
    assert len(before) == 3


def test_hostile_paths_reach_no_row_but_what_an_admin_may() -> None:
    reached = set()
    for text in hostile():
        for path in (text, f"/v1/{text}", f"/v1/keys/{text}"):
            with contextlib.suppress(Denied):
                reached.add(policy_for("DELETE", path).route)
    assert reached == {"DELETE /v1/...", "DELETE /v1/keys/{name}"}


def test_a_key_with_lists_is_held_to_them(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    key, _ = add(project, Wanted(name="web", tasks=("intents",), models=("gpt-4o-mini",)), by="os:test")
    check_model(key, "gpt-4o-mini")
    check_task(key, "intents")
    for refused in (
        lambda: check_model(key, "gpt-4o"),
        lambda: check_model(key, ""),
        lambda: check_task(key, "sql"),
        lambda: check_task(key, ""),
    ):
        with pytest.raises(Denied) as caught:
            refused()
        assert caught.value.http == 403
    check_model(None, "anything")
    check_task(None, "")


def test_the_home_share(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    prober, _ = add(project, Wanted(name="prober", home_share=0.25), by="os:test")
    free, _ = add(project, Wanted(name="free"), by="os:test")
    never, _ = add(project, Wanted(name="never", home_share=0.0), by="os:test")
    draws = [n / 100 for n in range(100)]
    assert sum(may_home(prober, draw) for draw in draws) == 25
    assert all(may_home(one, draw) for one in (free, None) for draw in draws)
    assert not any(may_home(never, draw) for draw in draws)


def test_who_sees_details(world: tuple[Keys, dict[str, str | None]], tmp_path: Path) -> None:
    keys, given = world
    row = policy_for("GET", "/health")
    seen = {caller for caller in CALLERS if sees_details(authorise(row, given[caller], keys, NOW), keys)}
    assert seen == {"reader", "admin"}
    assert sees_details(None, Keys.open(Project.create(tmp_path / "open")))


@pytest.mark.parametrize(
    ("error", "http"),
    [(TooWide("a", ""), 403), (KeyUnknown("a", ""), 404), (StorageFailed("a", ""), 503), (BadSetting("a", ""), 400)],
)
def test_what_a_client_is_told_of_minting(error: Any, http: int) -> None:
    assert denied(error).http == http
