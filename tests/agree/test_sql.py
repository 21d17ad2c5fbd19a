"""SQL: the same result where there is a database, the same tree where there is none, and no harm from any text."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.agree import Judge, judge
from freehold.agree.sql_rule import Database, same
from freehold.errors import BadSetting
from freehold.nouns import Slot, Task, Template

CITIES = [
    ("Columbus", "ohio", 905, 1.5),
    ("Dayton", "ohio", 140, 0.1),
    ("Austin", "texas", 961, 0.2),
    ("Rye", None, 16, 0.3),
]
TREE = Judge("sql")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("db") / "a city#1?.sqlite"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE city (name TEXT, state TEXT, pop INT, share REAL)")
    db.executemany("INSERT INTO city VALUES (?, ?, ?, ?)", CITIES * 25)
    db.commit()
    db.close()
    return path


@pytest.fixture(scope="module")
def run(file: Path) -> Judge:
    return judge(task(str(file)))


@pytest.fixture
def unharmed(file: Path) -> Iterator[None]:
    before = (hashlib.sha256(file.read_bytes()).hexdigest(), sorted(p.name for p in file.parent.iterdir()))
    yield
    assert before == (hashlib.sha256(file.read_bytes()).hexdigest(), sorted(p.name for p in file.parent.iterdir()))


def task(database: str = "", rule: str = "sql") -> Task:
    return Task("query", Template((Slot("user", "", variable=True),)), "sql", 1, 1.0, rule=rule, database=database)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            "SELECT name FROM city WHERE pop > 900",
            "SELECT c.name AS n FROM city c WHERE c.name IN ('Austin', 'Columbus')",
        ),
        ("SELECT max(pop) FROM city", "SELECT pop FROM city ORDER BY pop DESC LIMIT 1"),
        ("SELECT sum(share) FROM city", "SELECT sum(s) FROM (SELECT share AS s FROM city ORDER BY share DESC)"),
        ("SELECT 5", "SELECT 5.0"),
        ('SELECT name FROM city WHERE state = "ohio";', "```sql\nSELECT name FROM city WHERE state = 'ohio'\n```"),
        ("SELECT name FROM city ORDER BY name DESC", "SELECT name FROM city"),
        ("SELECT name FROM city WHERE pop > ALL (SELECT 5)", "select NAME from city where (pop > all (select 5));"),
        ("SELECT name FROM city WHERE pop < 0", "select c.name from city c where 0 > c.pop"),
        ("SELECT count(*) FROM city WHERE pop < 0", "select count(*) from city where pop < 0.0"),
    ],
)
def test_the_same_result_agrees(run: Judge, ours: str, theirs: str) -> None:
    assert run.agree(ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT name FROM city WHERE pop > 900", "SELECT name FROM city WHERE pop > 950"),
        ("SELECT name FROM city", "SELECT DISTINCT name FROM city"),
        ("SELECT name FROM city ORDER BY pop", "SELECT name FROM city ORDER BY pop DESC"),
        ("SELECT name, pop FROM city", "SELECT pop, name FROM city"),
        ("SELECT DISTINCT name FROM city", "SELECT DISTINCT name FROM city ORDER BY name"),
        ("SELECT 5", "SELECT '5'"),
        ("SELECT 1.0", "SELECT 1.001"),
        ("SELECT nothing FROM city", "SELECT name FROM city"),
        ("no query at all", "SELECT name FROM city"),
        ("", "SELECT name FROM city WHERE pop < 0"),
        ("SELECT name FROM city WHERE state = 'utah'", "SELECT name FROM city WHERE pop < 0"),
        ("SELECT 1 WHERE 0", "SELECT pop, name FROM city WHERE pop < 0"),
        ("SELECT max(pop) FROM city WHERE state = 'utah'", "SELECT max(pop) FROM city WHERE pop < 0"),
        ("SELECT count(*) FROM city WHERE state = 'utah'", "SELECT count(*) FROM city WHERE pop < 0"),
        ("SELECT nvl(state, '') FROM city", "SELECT coalesce(state, '') FROM city"),
        ("SELECT name::text FROM city", "SELECT CAST(name AS text) FROM city"),
        ("SELECT pop / 2 FROM city", "SELECT pop / 2.0 FROM city"),
    ],
)
def test_another_result_does_not(run: Judge, ours: str, theirs: str) -> None:
    assert not run.agree(ours, theirs)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("SELECT a.name FROM city AS a WHERE a.pop > 5 AND a.s = 'x'", "select Name from CITY where 'x'=s and 5<pop"),
        ('SELECT "name" FROM [city]', "SELECT `Name` FROM city"),
        ('SELECT n FROM t WHERE s = "Ohio"', "SELECT n FROM t WHERE s = 'Ohio' -- why"),
        ("SELECT n FROM t WHERE a IN (1, 2)", "SELECT n FROM t WHERE a IN (2, 1.0)"),
        ("SELECT n FROM t WHERE (a OR b) AND c", "SELECT n FROM t WHERE c AND (b OR a)"),
        ("SELECT a, count(*) AS k FROM t GROUP BY a ORDER BY k", "SELECT a, COUNT(*) FROM t GROUP BY 1 ORDER BY 2 ASC"),
        ("SELECT x.n FROM t x JOIN u y ON x.i = y.i", "SELECT q.n FROM t AS q INNER JOIN u AS r ON r.i = q.i"),
        ("SELECT max(d.k) FROM (SELECT count(*) k FROM t) AS d", "SELECT MAX(e.z) FROM (SELECT count(*) z FROM t) e"),
        ("WITH w AS (SELECT n FROM t) SELECT w.n FROM w", "WITH v AS (SELECT t.n FROM t) SELECT n FROM v"),
        ("SELECT n FROM t WHERE a <> 1", "SELECT n FROM t WHERE 1 != a"),
        ("SELECT n FROM t WHERE a <= 5.0", "SELECT n FROM t WHERE 5 >= a"),
        ("SELECT n FROM t WHERE a BETWEEN 1 AND 5", "SELECT n FROM t WHERE a BETWEEN 1.0 AND 5"),
        ("SELECT n FROM t WHERE NOT a = 1", "SELECT n FROM t WHERE NOT (1 = a)"),
        ("SELECT n FROM t WHERE a <> 1", "SELECT n FROM t WHERE NOT (a = 1)"),
        ("SELECT * FROM t", "SELECT t.* FROM t"),
        ("(SELECT n FROM t)", "SELECT n FROM t"),
        ("SELECT n FROM t a WHERE 1 IN (SELECT 1 FROM u b WHERE b.i = a.i)",
         "SELECT n FROM t x WHERE 1 IN (SELECT 1 FROM u y WHERE x.i = y.i)"),
    ],
)  # fmt: skip
def test_how_a_query_is_written_does_not_count(left: str, right: str) -> None:
    assert TREE.agree(left, right)
    assert TREE.agree(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("SELECT n FROM t WHERE a > 5", "SELECT n FROM t WHERE a < 5"),
        ("SELECT n FROM t WHERE s = 'Ohio'", "SELECT n FROM t WHERE s = 'ohio'"),
        ("SELECT n FROM t WHERE a OR b", "SELECT n FROM t WHERE a AND b"),
        ("SELECT n FROM t x JOIN u y ON x.i = y.j", "SELECT n FROM t x JOIN u y ON x.j = y.i"),
        ("SELECT n FROM t LEFT JOIN u ON t.i = u.i", "SELECT n FROM t JOIN u ON t.i = u.i"),
        ("SELECT a, b FROM t", "SELECT b, a FROM t"),
        ("SELECT DISTINCT a FROM t", "SELECT a FROM t"),
        ("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 2"),
        ("SELECT a FROM t ORDER BY a", "SELECT a FROM t ORDER BY a DESC"),
        ("SELECT a - b FROM t", "SELECT b - a FROM t"),
        ("SELECT a * 100 / b FROM t", "SELECT a * 100.0 / b FROM t"),
        ("SELECT a FROM t WHERE b / 2 > 1", "SELECT a FROM t WHERE b / 2.0 > 1"),
        ("SELECT count(a) FROM t", "SELECT count(DISTINCT a) FROM t"),
        ("SELECT a FROM t UNION SELECT a FROM u", "SELECT a FROM t UNION ALL SELECT a FROM u"),
        ("SELECT x.a FROM t x, t y", "SELECT y.a FROM t x, t y"),
        ("UPDATE t SET a = b", "UPDATE t SET b = a"),
        ("SELECT * FROM (VALUES (1)) AS v", "SELECT * FROM (VALUES (2)) AS v"),
        ("SELECT value FROM json_each('[1]')", "SELECT value FROM json_each('[2]')"),
        ("(SELECT a FROM t) LIMIT 1", "SELECT a FROM t"),
        ("SELECT a FROM t GROUP BY a WITH ROLLUP", "SELECT a FROM t GROUP BY a"),
        ("SELECT a FROM t GROUP BY ROLLUP (a)", "SELECT a FROM t GROUP BY CUBE (a)"),
        ("SELECT a FROM t JOIN u USING (i)", "SELECT a FROM t JOIN u USING (j)"),
        ("SELECT a FROM t NATURAL JOIN u", "SELECT a FROM t JOIN u"),
        ("SELECT x.t.a FROM x.t, y.t", "SELECT y.t.a FROM x.t, y.t"),
        ("SELECT a FROM (t JOIN u ON t.i = u.i)", "SELECT a FROM (t JOIN u ON t.j = u.i)"),
        (
            "SELECT x FROM t WHERE x = 1000000000000000000000000000001",
            "SELECT x FROM t WHERE x = 1000000000000000000000000000002",
        ),
        ("SELECT a FROM t WINDOW w AS (ORDER BY a)", "SELECT a FROM t WINDOW w AS (ORDER BY b)"),
        ("SELECT a FROM t OFFSET 1", "SELECT a FROM t OFFSET 2"),
        ("SELECT CAST(a AS INT) FROM t", "SELECT CAST(a AS TEXT) FROM t"),
        ("SELECT 'a' || b FROM t", "SELECT b || 'a' FROM t"),
        ("SELECT a FROM t WHERE b IS NULL", "SELECT a FROM t WHERE b IS NOT NULL"),
        ("SELECT a FROM t WHERE NOT (b = 1 AND c = 2)", "SELECT a FROM t WHERE NOT b = 1 AND c = 2"),
        ("SELECT a FROM t WHERE b LIKE 'x'", "SELECT a FROM t WHERE b NOT LIKE 'x'"),
        ("DELETE FROM t", "DELETE FROM u"),
        ("hello", "hello you"),
    ],
)
def test_what_it_says_does(left: str, right: str) -> None:
    assert not TREE.agree(left, right)


NAMES = st.sampled_from(["a", "b", "c", "pop"])
CONDITIONS = st.tuples(NAMES, st.sampled_from(["=", "<>", "<", ">=", "LIKE"]), st.sampled_from(["1", "'x'", "'Y z'"]))


@given(st.lists(CONDITIONS, min_size=1, max_size=5), st.data())
def test_conditions_and_aliases_may_be_moved_and_renamed(
    conditions: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    def query(alias: str, several: list[tuple[str, str, str]]) -> str:
        where = " AND ".join(f"{alias}.{name} {op} {value}" for name, op, value in several)
        select = f"SELECT {alias}.pop, count(*) AS k{alias} FROM city {alias} WHERE {where}"
        return f"{select} GROUP BY {alias}.pop ORDER BY k{alias}"

    left, right = query("x", conditions), query("other", data.draw(st.permutations(conditions)))
    assert TREE.agree(left, right)
    more = query("x", [*conditions, ("zz", "=", "0")])
    assert not TREE.agree(left, more)
    assert not TREE.agree(more, right)


@given(st.text(max_size=60), st.sampled_from(["", "SELECT ", "SELECT name FROM city WHERE ", "WITH x AS "]))
def test_any_text_gets_a_ruling(run: Judge, text: str, start: str) -> None:
    query = start + text
    assert run.agree(query, "SELECT name FROM city") == run.agree("SELECT name FROM city", query)
    assert run.agree(query, query) == bool(query.strip("; \t\r\n") and query.strip())


HARMFUL = [
    "DELETE FROM city",
    "DROP TABLE city",
    "INSERT INTO city VALUES ('x', 'y', 1, 2)",
    "UPDATE city SET pop = 0",
    "CREATE TABLE z (a)",
    "CREATE TEMP TABLE z (a)",
    "SELECT 1; DELETE FROM city",
    "ATTACH DATABASE '{folder}/new.sqlite' AS n",
    "VACUUM INTO '{folder}/copy.sqlite'",
    "PRAGMA journal_mode = WAL",
    "PRAGMA user_version = 7",
    "SELECT * FROM pragma_table_info('city')",
    "SELECT load_extension('{folder}/evil.so')",
    "SELECT writefile('{folder}/out', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT random()",
    "BEGIN EXCLUSIVE",
    "SELECT zeroblob(2000000000)",
    "SELECT ?",
    "SELECT '\0'",
    "SELECT \ud800",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
]
ENDLESS = [
    "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT * FROM x",
    "WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x) SELECT count(*) FROM x",
    "SELECT * FROM city a, city b, city c, city d",
    "SELECT printf('%190000s', a.name) FROM city a, city b",
    "SELECT printf('%190000s', 'x')  FROM city a, city b, city c ORDER BY a.name || b.name || c.pop",
]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("query", HARMFUL, ids=lambda q: q[:30].encode("ascii", "replace").decode().replace("\0", "0"))
def test_a_logged_text_can_do_no_harm(file: Path, query: str) -> None:
    database = Database(file)
    assert database.run(query.format(folder=file.parent)) is None
    rows = database.run("SELECT count(*) FROM city")
    assert rows == [(100,)]


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("query", ENDLESS, ids=range(len(ENDLESS)))
def test_a_query_without_end_ends(file: Path, query: str) -> None:
    database = Database(file, seconds=2.0)
    started = time.process_time()
    assert database.run(query) is None
    assert time.process_time() - started < 5
    assert database.run("SELECT 1") == [(1,)]


def test_sums_in_another_order_are_the_same_rows() -> None:
    rows = [("a", 0.1 + 0.2), ("a", 7.0), ("b", 0.3)]
    assert same([("b", 0.1 + 0.2), ("a", 7), ("a", 0.3)], rows, ordered=False)
    assert not same([("b", 0.31), ("a", 7), ("a", 0.3)], rows, ordered=False)
    assert not same(list(reversed(rows)), rows, ordered=True)
    many = [("a", i / 7) for i in range(2000)]
    assert same([(name, x * (1 + 1e-13)) for name, x in reversed(many)], many, ordered=False)
    assert not same([(name, x * (1 + 1e-5)) for name, x in reversed(many)], many, ordered=False)


def test_threads_share_a_judge(run: Judge) -> None:
    said: list[bool] = []

    def ask() -> None:
        said.extend(
            run.agree("SELECT name FROM city WHERE pop = 16", "SELECT 'Rye' FROM city LIMIT 25") for _ in range(20)
        )

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [True] * 80


@pytest.mark.parametrize("content", [None, b"not a database, but long enough to be read as one " * 20])
def test_a_database_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadSetting, match=r"x\.sqlite"):
        judge(task(str(path)))


def test_an_unknown_rule_names_the_known_ones() -> None:
    with pytest.raises(BadSetting, match="json, sql"):
        judge(task(rule="fuzzy"))


def test_real_queries_run_and_agree_with_themselves_renamed(shared: Path) -> None:
    import json

    folder = shared / "data" / "tasks" / "text2sql-geography"
    queries = [q["sql"][0].replace('"', "'") for q in json.loads((folder / "geography.json").read_text())]
    database = Database(folder / "geography-db.added-in-2020.sqlite")
    refused = [q for q in queries if database.run(q) is None]
    assert len(refused) <= 3
    renamed = [q.replace("alias", "_").lower() if "'" not in q else q.replace("alias", "_") for q in queries[:60]]
    assert sum(map(TREE.agree, renamed, queries)) >= 58
    assert sum(TREE.agree(a, b) for a, b in itertools.pairwise(queries)) == 0
