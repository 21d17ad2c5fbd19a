"""freehold.toml: what a person decides, and what a share may be.

bar = 0.95
[tasks.write-a-query]            # what a person decides for one task, by its name in the audit
rule = "sql"                     # how answers are compared: one of RULES
database = "shop.sqlite"         # what queries are run on: from the project folder, or absolute
home = false                     # never answered at home
leaves = false                   # never leaves the house; unsure = "refuse" (422), or "answer", marked below the bar
[prices."gpt-4o-mini"]           # what the team pays: USD per million tokens, by the model's name in the log
input = 0.12
cached = 0.06
output = 0.48
since = 2026-07-01               # the public price holds before this day (UTC)
[discounts]                      # share off the public prices of a vendor
openai = 0.15
[facts.hardware."h100-sxm"]      # a fact that the team knows better: fields of a row, or a row of its own
bandwidth = 3.0e12
[company]                        # what licences and laws ask of a company
country = "DE"
users_month = 200_000            # revenue_year (USD), sector, deny_origin
[declared]                       # what the plan must keep, whatever it costs
privacy = "house"                # continuity, residency; first_token and between in seconds
The server's tables are in gateway.py.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import BadSetting
from freehold.project.gateway import (
    CacheSettings,
    LedgerSettings,
    Limits,
    PrivateSettings,
    RolloutSettings,
    UpstreamSettings,
    check_gateway,
)
from freehold.project.mistyped import blame
from freehold.project.storage import read_bytes

__all__ = [
    "KEEPS", "RULES", "TOML", "CompanySettings", "Declared", "OwnPrice", "Settings", "TaskSettings", "check_bar",
    "check_declared", "read_settings",
]  # fmt: skip

RULES = ("exact", "json", "sql", "tools", "tools-any-order", "text", "none")
"""How answers may be compared; what each means is in agree."""
KEEPS = {"privacy": ("house", "own"), "residency": ("own",), "continuity": ("owned", "open")}
"""What a team may declare of where its data goes; what each rules out is in plan.choose."""
SERVER = (
    ("rollout", RolloutSettings), ("private", PrivateSettings), ("ledger", LedgerSettings), ("cache", CacheSettings),
    ("limits", Limits),
)  # fmt: skip
SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """One table [tasks.NAME]; empty: not said. `database` is an absolute path once it is read. Not `home`: never
    answered at home. Not `leaves`: never leaves the house; where the student is not sure the call is refused with 422,
    or (`unsure` = "answer") answered all the same and marked below the bar."""

    rule: str = ""
    database: str = ""
    home: bool = True
    leaves: bool = True
    unsure: str = "refuse"


@dataclass(frozen=True, slots=True)
class OwnPrice:
    """One table [prices."MODEL"], in USD per million tokens; what isn't said is billed as the kind it is part of. It
    goes before every public price from the day `since`, or always."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    audio_in: Decimal | None = None
    audio_out: Decimal | None = None
    since: date | None = None


@dataclass(frozen=True, slots=True)
class CompanySettings:
    """[company]: its country (ISO 3166-1), monthly active users of all it offers, USD a year, the sector that laws
    speak of, and the countries whose models it does not take."""

    country: str = ""
    users_month: float | None = None
    revenue_year: float | None = None
    sector: str = ""
    deny_origin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """[declared]: what the plan must keep. `privacy`: "house" (data stays on machines in the house) or "own" (on
    machines that the team rules, rented ones too); `residency`: "own"; `continuity`: "owned" (weights of one's own) or
    "open" (weights that can be had elsewhere); seconds to the `first_token` and `between` tokens, for 95 % of calls."""

    privacy: str = ""
    residency: str = ""
    continuity: str = ""
    first_token: float | None = None
    between: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """freehold.toml. `pairs` is the share of home answers also asked upstream; `machine_cost` is in $/h (None: the
    dated default in facts); `use` is how the team uses the student: internal or sold; `tasks` is by task name,
    `prices` by model, `discounts` (a share off) by vendor, `facts` by table and row."""

    bar: float = 0.95
    confidence: float = 0.95
    upstream: str = ""
    vendor: str = ""
    use: str = "internal"
    pairs: float = 0.02
    port: int = 8080
    machine_cost: float | None = None
    tasks: dict[str, TaskSettings] = field(default_factory=dict)
    prices: dict[str, OwnPrice] = field(default_factory=dict)
    discounts: dict[str, float] = field(default_factory=dict)
    facts: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    company: CompanySettings = field(default_factory=CompanySettings)
    declared: Declared = field(default_factory=Declared)
    successor: str = ""
    upstreams: dict[str, UpstreamSettings] = field(default_factory=dict)
    rollout: RolloutSettings = field(default_factory=RolloutSettings)
    private: PrivateSettings = field(default_factory=PrivateSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    limits: Limits = field(default_factory=Limits)


TOML = """\
# What a person decides. Flags override it; everything else in this folder is computed.
bar = {bar}            # the owned model may answer only where it agrees with the closed one at least this often
confidence = {confidence}     # and this sure of it, per task
upstream = ""         # base URL of the closed API, for example "https://api.openai.com/v1"
vendor = ""           # whose answers the log holds, where its rows don't say: openai, anthropic, google, ...
use = "internal"      # internal, or sold (offered to third parties): the vendor's terms differ
pairs = 0.02          # share of home answers that are also asked upstream, to watch the promise
port = 8080
# machine_cost = 0.10 # $/h of the machine that serves at home; without it a dated default is used, marked assumed
# [tasks.NAME]        # for one task, by its name in `freehold audit`:
# rule = "sql"        # how answers are compared: exact, json, sql, tools, tools-any-order, text, none
# database = "db.sqlite"  # the SQLite file that queries are run on, never changed
# [prices."MODEL"]    # what you pay for a model, USD per million tokens, before any public price:
# input = 0.12        # and output, cached, cache_write, audio_in, audio_out, since = 2026-07-01
# output = 0.48
# [discounts]         # a share off a vendor's public prices:
# openai = 0.15
# [facts.hardware."h100-sxm"]  # a fact that you know better, by table and row (`freehold facts` lists them):
# bandwidth = 3.0e12
# [company]           # what licences and laws ask of a company: country = "DE", users_month, revenue_year, sector
# country = "DE"
# [declared]          # what the plan must keep: privacy = "house" or "own", residency = "own", continuity = "owned" or
# privacy = "house"   # "open", first_token and between in seconds for 95 % of calls
# [upstreams.NAME]    # a further host behind the server (docs/serve.md: all tables of the server)
# url = "http://127.0.0.1:8000/v1"
"""


def check_bar(value: Any, name: str = "bar") -> float:
    """A share strictly between 0 and 1, from a flag or a setting."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise BadSetting(f"{name} is {value!r}, which is not a number.", "Give a share such as 0.95.") from None
    if not 0.0 < number < 1.0:
        raise BadSetting(f"{name} is {value}, which is not strictly between 0 and 1.", "Give a share such as 0.95.")
    return number


def read_settings(path: Path) -> Settings:
    try:
        found = tomllib.loads(read_bytes(path).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path} is not valid TOML: {error}.", "Mend that line, or remove the file.") from None
    known = [f.name for f in fields(Settings)]
    for key in found:
        if key not in known:
            raise BadSetting(f"{path} says {key!r}, which is not a setting.", f"Known: {', '.join(known)}.")
    _check_keys(path, "tasks", "a task", TaskSettings, found.get("tasks"))
    _check_keys(path, "prices", "a price", OwnPrice, found.get("prices"))
    _check_table(path, "company", CompanySettings, found.get("company"))
    _check_table(path, "declared", Declared, found.get("declared"))
    _check_keys(path, "upstreams", "an upstream", UpstreamSettings, found.get("upstreams"))
    for table, kind in SERVER:
        _check_table(path, table, kind, found.get(table))
    try:
        settings = msgspec.convert(found, Settings)
    except msgspec.ValidationError as error:
        said = blame(found, error, Settings)
        raise BadSetting(f"{path}: {said}", "Mend that line, or remove it to use the default.") from None
    check_bar(settings.bar)
    check_bar(settings.confidence, "confidence")
    if not 0.0 <= settings.pairs <= 1.0:
        raise BadSetting(f"{path}: pairs is {settings.pairs}.", "Give a share from 0 (off) to 1.")
    if not 0 <= settings.port <= 65535:
        raise BadSetting(f"{path}: port is {settings.port}.", "Give a port from 1 to 65535.")
    if settings.machine_cost is not None and not 0 <= settings.machine_cost < 1e6:
        raise BadSetting(f"{path}: machine_cost is {settings.machine_cost}.", "Give $/h, 0 or more.")
    if settings.use not in ("internal", "sold"):
        raise BadSetting(f"{path}: use is {settings.use!r}.", "Known: internal, sold.")
    _check_money(path, settings)
    check_declared(settings.declared, str(path))
    check_gateway(path, settings)
    return replace(settings, tasks={name: _task(path, name, said) for name, said in settings.tasks.items()})


def _check_table(path: Path, table: str, kind: type, said: Any) -> None:
    """Every key of a table must be known."""
    known = [f.name for f in fields(kind)]
    for key in said if isinstance(said, dict) else ():
        if key not in known:
            raise BadSetting(
                f"{path} says {key!r} under [{table}], which is not a setting.", f"Known: {', '.join(known)}."
            )


def check_declared(declared: Declared, where: str) -> None:
    """Raises BadSetting for a word that none of KEEPS knows, or seconds that aren't above 0."""
    for name, known in KEEPS.items():
        value = getattr(declared, name)
        if value and value not in known:
            raise BadSetting(f"{where}: {name} is {value!r}.", f"Known: {', '.join(known)}.")
    for name in ("first_token", "between"):
        value = getattr(declared, name)
        if value is not None and not 0 < value < 1e6:
            raise BadSetting(f"{where}: {name} is {value}.", "Give seconds, above 0.")


def _check_keys(path: Path, table: str, noun: str, kind: type, tables: Any) -> None:
    """Every key of [tasks.NAME] and [prices."MODEL"] must be known."""
    known = [f.name for f in fields(kind)]
    for name, said in tables.items() if isinstance(tables, dict) else ():
        for key in said if isinstance(said, dict) else ():
            if key not in known:
                raise BadSetting(
                    f"{path} says {key!r} under [{table}.{name}], which is not a setting of {noun}.",
                    f"Known: {', '.join(known)}.",
                )


def _check_money(path: Path, settings: Settings) -> None:
    for model, said in settings.prices.items():
        for f in fields(OwnPrice):
            value = getattr(said, f.name)
            if isinstance(value, Decimal) and not (value.is_finite() and 0 <= value < 1_000_000):
                raise BadSetting(
                    f"{path}, [prices.{model!r}]: {f.name} is {value}.", "Give USD per million tokens, 0 or more."
                )
    for vendor, share in settings.discounts.items():
        if not 0.0 <= share < 1.0:
            raise BadSetting(f"{path}, [discounts]: {vendor} is {share}.", "Give the share off, such as 0.15.")


def _task(path: Path, name: str, said: TaskSettings) -> TaskSettings:
    where = f"{path}, [tasks.{name}]"
    if said.rule and said.rule not in RULES:
        raise BadSetting(f"{where}: rule is {said.rule!r}.", f"Known: {', '.join(RULES)}.")
    if said.unsure not in ("refuse", "answer"):
        raise BadSetting(f"{where}: unsure is {said.unsure!r}.", "Known: refuse, answer.")
    if said.unsure != "refuse" and said.leaves:
        hint = "Say leaves = false too, or remove it: what the student is not sure of goes up."
        raise BadSetting(f"{where}: unsure is {said.unsure!r}, which means nothing without leaves = false.", hint)
    if not said.home and not said.leaves:
        raise BadSetting(f"{where}: home and leaves are both false, so nobody may answer.", "Remove one of them.")
    if not said.database:
        return said
    if said.rule not in ("", "sql"):
        raise BadSetting(
            f"{where}: a database is given, but rule is {said.rule!r}.", 'Queries are run by rule = "sql".'
        )
    file = (path.parent / Path(said.database).expanduser()).resolve()
    try:
        with file.open("rb") as handle:
            head = handle.read(len(SQLITE))
    except OSError as error:
        raise BadSetting(f"{where}: can't read the database {file}: {error.strerror}.", "Mend the path.") from None
    if head != SQLITE:
        raise BadSetting(f"{where}: {file} is not a SQLite database.", "Give a file that SQLite wrote.")
    return replace(said, database=str(file))
