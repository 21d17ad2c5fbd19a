"""A config.json's numbers, asked for by name: a missing or absurd one is a sentence, not a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freehold.errors import BadSetting

__all__ = ["Said"]

MOST = 10**9  # no side of a matrix, no count of layers is larger


class Said:
    """`where` names the configuration in what is said."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config = config
        self.place = f"config.json{' in ' * bool(where)}{where}"

    @property
    def kind(self) -> str:
        return str(self.config.get("model_type", ""))

    def of(self, *names: str, least: int = 1) -> int:
        """The first of `names` that is there. Raises BadSetting where none is."""
        found = self.maybe(*names, least=least)
        if found is None:
            raise BadSetting(f"{self.place} isn't a language model's: it has no {names[0]}.", HINT)
        return found

    def maybe(self, *names: str, least: int = 0) -> int | None:
        """None where none of them is there, or says null."""
        for name in names:
            value = self.config.get(name)
            if value is None:
                continue
            whole = not isinstance(value, bool) and isinstance(value, int | float) and value == int(value)
            if not whole or not least <= value <= MOST:
                raise BadSetting(f"{name} in {self.place} is {str(value)[:40]!r}; a count was looked for.", HINT)
            return int(value)
        return None

    def wrong(self, name: str) -> BadSetting:
        """The error to raise where `name` says something that isn't understood."""
        return BadSetting(
            f"{name} in {self.place} is {str(self.config.get(name))[:40]!r}, which isn't understood.", HINT
        )

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.config.get(name)
        return default if value is None else bool(value)

    def list(self, name: str, length: int) -> list[Any] | None:
        """A value a layer; None where it isn't said. Longer lists (a layer that predicts further) are cut."""
        value = self.config.get(name)
        if not isinstance(value, list) or not value:
            return None
        if len(value) < length:
            raise BadSetting(f"{name} in {self.place} has {len(value)} values for {length} layers.", HINT)
        return value[:length]


HINT = "Give the config.json that lies beside the model's weights."
