"""Who may call what. Pure: the server asks in each handler, and what stands in no row here is denied.

    route                                          without key   reader   user   admin
    GET    /health, /ready                         yes           yes      yes    yes
    GET    /v1/models                                            yes      yes    yes
    GET    /metrics                                              yes             yes
    POST   /v1/chat/completions, ...                                      yes    yes
    GET, POST  any other /v1/... (passes up)                              yes    yes     not a key with limits
    DELETE     any other /v1/... (passes up)                                     yes     not a key with limits
    GET, POST  /v1/keys, DELETE /v1/keys/{name}                                  yes     never without keys

A project without keys has no roles: whoever reaches the server, and that is only this machine, may call all but
/v1/keys. What passes up unread can be neither priced nor told apart by task: a key with a budget or a list of models
has no part in it. A file or a fine-tune of the whole team can be deleted up there, so only an admin deletes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from freehold.errors import FreeholdError, StorageFailed
from freehold.keys import Key, Keys, KeyUnknown, TooWide

__all__ = [
    "TABLE", "Denied", "Policy", "authorise", "bearer", "check_model", "check_task", "denied", "may_home", "policy_for",
    "sees_details",
]  # fmt: skip

ADMIN, CALLS, ALL = frozenset({"admin"}), frozenset({"admin", "user"}), frozenset({"admin", "user", "reader"})
PASSED_UP = re.compile(r"/v1(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~:@-]+)+")  # no segment is empty, . or ..
KEY_ROUTE = re.compile(r"/v1/keys/([a-z0-9][a-z0-9._-]{0,63})")


@dataclass(frozen=True, slots=True)
class Policy:
    """One row. `public`: no key is needed; `keyed`: never without keys; `passes`: goes up unread."""

    method: str
    path: str
    roles: frozenset[str]
    public: bool = False
    keyed: bool = False
    passes: bool = False

    @property
    def route(self) -> str:
        return f"{self.method} {self.path}"


TABLE = (
    Policy("GET", "/health", ALL, public=True),
    Policy("GET", "/ready", ALL, public=True),
    Policy("GET", "/metrics", frozenset({"admin", "reader"})),
    Policy("GET", "/v1/models", ALL),
    Policy("POST", "/v1/chat/completions", CALLS),
    Policy("POST", "/v1/completions", CALLS),
    Policy("POST", "/v1/embeddings", CALLS),
    Policy("GET", "/v1/keys", ADMIN, keyed=True),
    Policy("POST", "/v1/keys", ADMIN, keyed=True),
    Policy("DELETE", "/v1/keys/{name}", ADMIN, keyed=True),
    Policy("GET", "/v1/...", CALLS, passes=True),
    Policy("POST", "/v1/...", CALLS, passes=True),
    Policy("DELETE", "/v1/...", ADMIN, passes=True),
)
ROWS = {(row.method, row.path): row for row in TABLE}
METHODS = {one.path: ", ".join(row.method for row in TABLE if row.path == one.path) for one in TABLE}
OWN = frozenset(path for path in METHODS if "{" not in path and "..." not in path)


class Denied(Exception):
    """A refusal for the client, in OpenAI's error shape. Its message holds nothing secret."""

    def __init__(self, http: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.http, self.code, self.message = http, code, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def policy_for(method: str, path: str) -> Policy:
    """The row of a request; `path` is as it came on the wire, without its query. Raises Denied (404, 405).

    A host behind this one may take capitals for small letters: one of our own routes in capitals is no route that
    passes up, and neither is anything below /v1/keys.
    """
    if path in OWN:
        return _row(method, path)
    if KEY_ROUTE.fullmatch(path):
        return _row(method, "/v1/keys/{name}")
    small = path.lower()
    hidden = small == "/v1/keys" or small.startswith("/v1/keys/")
    shouted = any(small.startswith(own) and not path.startswith(own) for own in OWN if own.startswith("/v1/"))
    if hidden or shouted or not PASSED_UP.fullmatch(path):
        raise Denied(404, "not_found", "There is no such route here.")
    return _row(method, "/v1/...")


def _row(method: str, path: str) -> Policy:
    row = ROWS.get((method, path))
    if row is None:
        allow = METHODS[path]
        raise Denied(405, "method_not_allowed", f"This route takes {allow} only.", Allow=allow)
    return row


def bearer(header: str | None) -> str | None:
    """The secret of an Authorization header; None for none, or another scheme."""
    scheme, _, secret = (header or "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def authorise(policy: Policy, presented: str | None, keys: Keys, now: float) -> Key | None:
    """The key of a call that may go on; None where none is needed. `now` is `keys.clock.now()`, in epoch seconds.

    Raises Denied: 401 for no key or one that doesn't hold, 403 for one that may not.
    """
    keys.look()
    if not keys.required:
        if policy.keyed:
            raise Denied(403, "no_keys", "This server has no keys. Make the first: freehold keys add NAME --role admin")
        return None
    key = keys.find(presented)
    if key is None or not key.holds(now):
        if policy.public:
            return None
        raise _unknown(presented, key)
    if key.role not in policy.roles:
        raise Denied(403, "role_not_allowed", f"A key of the role {key.role} may not call {policy.route}.")
    if policy.passes and key.limited:
        message = "A key with a budget, a rate or a list of tasks or models may not call what passes up unread."
        raise Denied(403, "limited_key", message)
    return key


def _unknown(presented: str | None, key: Key | None) -> Denied:
    if not presented:
        code, said = "missing_api_key", "No key was given. Send the header Authorization: Bearer fh-..."
    elif key is not None and key.revoked is None:
        code, said = "key_expired", "This key is past its time."
    else:
        code, said = "invalid_api_key", "This key is not known here, or is revoked."
    return Denied(401, code, said, WWW_Authenticate="Bearer")


def sees_details(key: Key | None, keys: Keys) -> bool:
    """Whether a public route may say more than that the server is there."""
    return not keys.required or (key is not None and key.role in ("admin", "reader"))


def check_model(key: Key | None, model: str) -> None:
    """Raises Denied (403) for a model that the key's list lacks."""
    if key is not None and key.models is not None and model not in key.models:
        raise Denied(403, "model_not_allowed", "This key may not ask for this model.")


def check_task(key: Key | None, task: str) -> None:
    """Raises Denied (403) for a call that is none of the tasks that the key is for ("": of no task)."""
    if key is not None and key.tasks is not None and task not in key.tasks:
        raise Denied(403, "task_not_allowed", "This key may not make calls of this task.")


def may_home(key: Key | None, draw: float) -> bool:
    """Whether this call may be answered at home. `draw` is random, from 0 to 1, anew for each call: who tries one input
    again and again learns no more than the share."""
    return key is None or key.home_share is None or draw < key.home_share


def denied(error: FreeholdError) -> Denied:
    """What a client of /v1/keys is told of an error of the keys room."""
    if isinstance(error, TooWide):
        return Denied(403, "wider_than_parent", error.message)
    if isinstance(error, KeyUnknown):
        return Denied(404, "no_such_key", "There is no key of that name.")
    if isinstance(error, StorageFailed):
        return Denied(503, "storage_failed", "The keys can't be written now.", Retry_After="10")
    return Denied(400, "bad_key", str(error))
