"""Two queries that differ only in how they are written: equal syntax trees after normalising.

    SELECT c.name FROM city AS c WHERE c.pop > 5 AND c.state = "ohio"
    select Name from CITY where 'ohio' = state and 5 < pop                    → the same key

Doesn't count: case and quoting of names, names of aliases and of CTEs, the order of AND, OR, IN (...), = and <>, which
way round < and > stand, the sides of + and *, brackets, ASC, INNER, OUTER, comments, white space, and 5 or 5.0 where a
number is compared (a / 2 and a / 2.0 differ). A column without a table is one of the only table in its FROM. What a
select list calls a column is seen through, and ORDER BY 2. "ohio" in double quotes is a text where it is compared with
a column, as SQLite and MySQL read it; other quoted names are names. Different but equivalent queries (a join or a
subquery) are not found equal: that takes a database.

The tree is sqlglot's. A table's alias becomes its depth and place in FROM, an outcome of that place alone, so that
conditions can be sorted afterwards.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import sqlglot
from sqlglot import exp

__all__ = ["is_ordered", "same"]

logging.getLogger("sqlglot").addHandler(logging.NullHandler())  # what it doesn't know it would say on stderr

LONGEST = 20_000  # characters of a query that is parsed
DIALECTS = ("sqlite", "postgres", "mysql")
FLIPPED = {"GT": "LT", "GTE": "LTE"}
NEGATED: dict[type, str] = {exp.EQ: "NEQ", exp.NEQ: "EQ"}
COMMUTES = ("EQ", "NEQ", "Add", "Mul", "NullSafeEQ", "NullSafeNEQ")
COMPARES = ("EQ", "NEQ", "LT", "LTE", "GT", "GTE", "Like", "In")
MEASURES = ("EQ", "NEQ", "LT", "LTE", "GT", "GTE", "In", "Between")
SKIPPED = ("with_", "with", "from_", "from", "joins", "expressions", "order", "group", "having")
Key = tuple[Any, ...]


@dataclass(slots=True)
class Scope:
    """What names mean inside one SELECT: alias -> (its new name, the columns that it gives out, by old name)."""

    depth: int = 0
    outer: Scope | None = None
    sources: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    ctes: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    outputs: dict[str, Key] = field(default_factory=dict)
    commutes: bool = True

    def source(self, name: str) -> tuple[str, dict[str, str]] | None:
        return self.sources.get(name) or (self.outer.source(name) if self.outer else None)

    def cte(self, name: str) -> tuple[str, dict[str, str]] | None:
        return self.ctes.get(name) or (self.outer.cte(name) if self.outer else None)


def same(ours: str, theirs: str) -> bool:
    """False also where a query can't be parsed, unless it is the same but for white space."""
    if ours.split() == theirs.split():
        return bool(ours.split())
    for dialect in DIALECTS:
        left, right = _parse(ours, dialect), _parse(theirs, dialect)
        if left is not None and right is not None:
            try:
                return _key(left, _outermost(left)) == _key(right, _outermost(right))
            except RecursionError:
                return False
    return False


def is_ordered(query: str) -> bool:
    """Does the query say ORDER BY at its top level?"""
    for dialect in DIALECTS:
        tree = _parse(query, dialect)
        if tree is not None:
            return tree.args.get("order") is not None
    return "order by" in " ".join(query.lower().split())


def _parse(query: str, dialect: str) -> exp.Expr | None:
    """The tree of one query; None where it is none, or one that sqlglot does not know."""
    if len(query) > LONGEST:
        return None
    try:
        (tree,) = sqlglot.parse(query, read=dialect)
    except (sqlglot.errors.SqlglotError, ValueError, RecursionError):
        return None
    known = isinstance(tree, exp.Query | exp.DML | exp.DDL) and tree.find(exp.Command) is None
    return tree if known else None


def _outermost(tree: exp.Expr) -> Scope:
    """In a statement that changes data, a = b may be an assignment: its sides stay."""
    return Scope(commutes=isinstance(tree, exp.Query))


def _key(node: Any, scope: Scope) -> Key:
    """The normal form of a part of the tree, as nested tuples that compare and sort by their repr."""
    if isinstance(node, exp.Paren):
        return _key(node.this, scope)
    if isinstance(node, exp.Select):
        return _select(node, scope)
    if isinstance(node, exp.Subquery) and not _rest(node, scope, "this"):
        return _key(node.this, scope)
    if isinstance(node, exp.Column):
        return _column(node, scope)
    if isinstance(node, exp.Identifier):
        return ("name", node.name.lower())
    if isinstance(node, exp.Literal):
        return ("text", node.this) if node.is_string else ("number", _number(node.this), _whole(node.this))
    if isinstance(node, exp.Var):
        return ("var", node.name.lower())
    if isinstance(node, exp.Table):
        return _table(node, scope)
    if isinstance(node, exp.Alias):
        return _key(node.this, scope)
    if isinstance(node, exp.And | exp.Or):
        return (type(node).__name__, *_sorted({_key(part, scope) for part in _flat(node, type(node))}))
    if isinstance(node, exp.Not) and type(node.this.unnest()) in NEGATED:
        return _other(node.this.unnest(), scope, NEGATED[type(node.this.unnest())])
    return _other(node, scope)


def _rest(node: exp.Expr, scope: Scope, *handled: str) -> list[Key]:
    """All that a part says beyond what was handled."""
    said = {key: value for key, value in node.args.items() if key not in handled and value not in (None, False, [])}
    return sorted((key, _value(value, scope)) for key, value in said.items())


def _other(node: exp.Expr, scope: Scope, name: str = "") -> Key:
    name = name or type(node).__name__
    args = {key: value for key, value in node.args.items() if value not in (None, False, [])}
    if name in COMPARES:
        _as_text(args)
    if name in FLIPPED:
        name, args["this"], args["expression"] = FLIPPED[name], args["expression"], args["this"]
    if name == "Anonymous":
        args["this"] = str(args["this"]).lower()
    keyed = {key: _value(value, scope) for key, value in args.items()}
    if name in MEASURES:
        keyed = {key: _measured(value) for key, value in keyed.items()}
    if name in COMMUTES and scope.commutes:
        keyed["this"], keyed["expression"] = _sorted([keyed["this"], keyed["expression"]])
    if name == "In" and "expressions" in keyed:
        keyed["expressions"] = tuple(_sorted(keyed["expressions"]))
    return (name, *sorted(keyed.items()))


def _value(value: Any, scope: Scope) -> Any:
    if isinstance(value, exp.Expr):
        return _key(value, scope)
    if isinstance(value, list):
        return tuple(_value(inner, scope) for inner in value)
    return value


def _select(node: exp.Select, outer: Scope) -> Key:
    scope = Scope(outer.depth + 1, outer, commutes=outer.commutes)
    parts: list[Any] = ["select", *_ctes(node, scope), *_sources(node, scope)]
    chosen = [_key(one, scope) for one in node.expressions]
    scope.outputs = {one.alias.lower(): key for one, key in zip(node.expressions, chosen, strict=True) if one.alias}
    parts.append(tuple(chosen))
    for name in ("group", "having", "order"):
        if (part := node.args.get(name)) is not None:
            parts.append((name, _outcome(part, scope, chosen)))
    scope.outputs = {}  # WHERE knows nothing of the select list
    return (*parts, *_rest(node, scope, *SKIPPED))


def _outcome(part: exp.Expr, scope: Scope, chosen: Sequence[Key]) -> Key:
    """GROUP BY, HAVING, ORDER BY: 2 is the second column of the select list, and a name there is what it stands for."""
    keys: list[Any] = []
    for one in part.args.get("expressions") or [part.this]:
        inner = one.this if isinstance(one, exp.Ordered) else one
        place = isinstance(inner, exp.Literal) and not inner.is_string and inner.this.isdigit()
        at = int(inner.this) - 1 if place and len(inner.this) < 6 else -1
        key = chosen[at] if 0 <= at < len(chosen) else _key(inner, scope)
        keys.append((key, bool(one.args.get("desc")), str(one.args.get("nulls_first"))) if inner is not one else key)
    keys = _sorted(keys) if isinstance(part, exp.Group) else keys
    return (*keys, *_rest(part, scope, "expressions", "this"))


def _ctes(node: exp.Expr, scope: Scope) -> Iterator[Key]:
    held = node.args.get("with_") or node.args.get("with")
    if held is None:
        return
    for i, cte in enumerate(held.expressions):
        name = f"cte{scope.depth}.{i}"
        columns = _columns(cte)
        if held.args.get("recursive"):
            scope.ctes[cte.alias.lower()] = (name, columns)
        key = _key(cte.this, scope)
        scope.ctes[cte.alias.lower()] = (name, columns)
        yield ("cte", name, key, bool(held.args.get("recursive")))


def _sources(node: exp.Select, scope: Scope) -> Iterator[Key]:
    start = node.args.get("from_") or node.args.get("from")
    joins = node.args.get("joins") or []
    named = ([start.this] if start is not None else []) + [join.this for join in joins]
    keys = []
    for i, source in enumerate(named):
        keys.append(_source(source, f"t{scope.depth}.{i}", scope))
    yield ("from", *keys[: 1 if start is not None else 0])
    for join, key in zip(joins, keys[1 if start is not None else 0 :], strict=True):
        side, kind = str(join.args.get("side") or ""), str(join.args.get("kind") or "")
        how = " ".join(word for word in (side, kind) if word.upper() not in ("", "INNER", "OUTER", "CROSS")).upper()
        yield ("join", how, key, *_rest(join, scope, "this", "side", "kind"))


def _source(source: exp.Expr, name: str, scope: Scope) -> Key:
    """One table or subquery of a FROM, known from here on under `name`."""
    alias = (source.alias_or_name or name).lower()
    if isinstance(source, exp.Table):
        known = scope.cte(source.name.lower()) if not source.db else None
        scope.sources[alias] = (name, known[1] if known else {})
        return _table(source, scope)
    key = (type(source).__name__, *_rest(source, scope, "alias"))
    scope.sources[alias] = (name, _columns(source))
    return key


def _columns(source: exp.Expr) -> dict[str, str]:
    """The columns that a subquery or CTE gives out: old name -> its place, where the place is known."""
    alias = source.args.get("alias")
    listed = alias.args.get("columns") if isinstance(alias, exp.TableAlias) else None
    inner = source.this
    while isinstance(inner, exp.SetOperation | exp.Subquery):
        inner = inner.this
    given = listed or (inner.expressions if isinstance(inner, exp.Select) else [])
    if any(one.is_star for one in given):
        return {}
    return {one.alias_or_name.lower(): f"column {i}" for i, one in enumerate(given) if one.alias_or_name}


def _table(table: exp.Table, scope: Scope) -> Key:
    """A table or a function that gives one; its alias is known to the scope."""
    more = _rest(table, scope, "this", "db", "catalog", "alias")
    if not isinstance(table.this, exp.Identifier):
        return ("table", _key(table.this, scope), *more)
    known = scope.cte(table.name.lower()) if not table.db else None
    return ("table", known[0] if known else ".".join(part.name.lower() for part in table.parts), *more)


def _column(node: exp.Column, scope: Scope) -> Key:
    name, table = node.name.lower(), node.table.lower()
    if not table and name in scope.outputs:
        return scope.outputs[name]
    found = scope.source(table) if table else None
    if not table and len(scope.sources) == 1:
        (found,) = scope.sources.values()
    if found is None or node.args.get("db"):
        return ("column", *(part.name.lower() for part in node.parts))
    if isinstance(node.this, exp.Star) and len(scope.sources) == 1:
        return _key(node.this, scope)
    return ("column", found[0], found[1].get(name, name))


def _as_text(args: dict[str, Any]) -> None:
    """What is double-quoted and compared with a column is a text; of two quoted names the second is."""
    left, right = args.get("this"), args.get("expression")
    if _quoted(right) and isinstance(left, exp.Column):
        args["expression"] = _text(right)
    elif _quoted(left) and isinstance(right, exp.Column):
        args["this"] = _text(left)
    if "expressions" in args and isinstance(left, exp.Column):  # IN ("a", "b")
        args["expressions"] = [_text(one) if _quoted(one) else one for one in args["expressions"]]


def _text(name: Any) -> exp.Literal:
    return exp.Literal.string(name.name)


def _quoted(node: Any) -> bool:
    return isinstance(node, exp.Column) and not node.table and bool(node.this.args.get("quoted"))


def _flat(node: exp.Expr, kind: type[exp.Expr]) -> Iterator[exp.Expr]:
    stack: list[exp.Expr] = [node]
    while stack:
        one = stack.pop()
        while isinstance(one, exp.Paren):
            one = one.this
        if isinstance(one, kind):
            stack += [one.args["expression"], one.this]
        else:
            yield one


def _sorted(keys: Any) -> list[Any]:
    return sorted(keys, key=repr)


def _measured(key: Any) -> Any:
    """A number that is compared: 5 and 5.0 are the same there."""
    if isinstance(key, tuple) and key and isinstance(key[0], tuple):
        return tuple(_measured(one) for one in key)
    return key[:2] if isinstance(key, tuple) and key[:1] == ("number",) else key


def _whole(text: str) -> bool:
    """Is it written as an integer? An operator may then round."""
    return text.isdigit()


def _number(text: str) -> str:
    try:
        return str(Decimal(text).normalize(Context(prec=1000)))
    except InvalidOperation:
        return text.lower()
