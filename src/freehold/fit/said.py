"""A config.json's numbers, asked for by name: a missing or absurd one is a sentence, not a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from freehold.errors import BadSetting

__all__ = ["Said"]

MOST = 10**9  # no side of a matrix is larger
LAYERS = 4096


class Said:
    """`where` names the configuration in what is said."""

    def __init__(self, config: Mapping[str, Any], where: str) -> None:
        self.config, self.where = config, where
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
            return self._count(name, value, least)
        return None

    def _count(self, name: str, value: Any, least: int = 0, most: int = MOST) -> int:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most or value != int(value):
            raise BadSetting(f"{name} in {self.place} is {str(value)[:40]!r}; a count was looked for.", HINT)
        return int(value)

    @property
    def layers(self) -> int:
        """How many there are: each is laid out, so no more than any model could have."""
        return self._count("num_hidden_layers", self.of("num_hidden_layers", "n_layer"), 1, LAYERS)

    def counts(self, name: str, length: int = 0) -> list[int]:
        """A list of counts, empty where it isn't said; `length` as in `list`."""
        values = self.list(name, length) if length else self.config.get(name) or []
        if values is not None and not isinstance(values, list):
            raise self.wrong(name)
        return [self._count(name, value) for value in values or []]

    def part(self, name: str) -> Said:
        """What lies under `name`, empty where nothing does."""
        value = self.config.get(name) or {}
        if not isinstance(value, Mapping):
            raise self.wrong(name)
        return Said(value, self.where)

    def parts(self, name: str) -> list[Said]:
        values = self.config.get(name)
        if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
            raise self.wrong(name)
        return [Said(value, self.where) for value in values]

    def factor(self, name: str) -> float:
        value = self.config.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST:
            raise self.wrong(name)
        return float(value)

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
