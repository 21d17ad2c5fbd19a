"""[prices] and [discounts] of freehold.toml: read as written, and refused in one sentence where they can't be meant."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from freehold.errors import BadSetting
from freehold.facts import price_book
from freehold.nouns import Tokens
from freehold.project.settings import OwnPrice, Settings, read_settings

AT = datetime(2026, 11, 20, tzinfo=UTC).timestamp()


def settings(folder: Path, text: str) -> Settings:
    file = folder / "freehold.toml"
    file.write_text(text, "utf-8")
    return read_settings(file)


def test_a_price_is_read_to_the_last_digit(tmp_path: Path) -> None:
    said = settings(
        tmp_path,
        '[prices."gpt-4o-mini"]\ninput = 0.1\noutput = 1\ncached = 0.000001\nsince = 2026-07-01\n'
        '[prices."our/deployment 7"]\ninput = 2\noutput = 3.3\n[discounts]\nanthropic = 0.15\n',
    )
    assert said.prices["gpt-4o-mini"] == OwnPrice(
        Decimal("0.1"), Decimal(1), cached=Decimal("0.000001"), since=date(2026, 7, 1)
    )
    book = price_book(said)
    assert book.price("gpt-4o-mini", Tokens(3, 0), AT) == Decimal("0.0000003")
    assert book.price("our/deployment 7", Tokens(10, 10), AT) == Decimal("0.000053")
    assert book.price("claude-haiku-4-5", Tokens(1000, 0), AT) == Decimal("0.00085")
    assert "freehold.toml" in book.method()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[prices."gpt-4o"]\ninputs = 1\noutput = 1', "input, output, cached, cache_write, audio_in, audio_out, since"),
        ('[prices."gpt-4o"]\ninput = 1', "output"),
        ('[prices."gpt-4o"]\ninput = "cheap"\noutput = 1', "input is 'cheap', which is not a number"),
        ('[prices."gpt-4o"]\ninput = -1\noutput = 1', "input is -1"),
        ('[prices."gpt-4o"]\ninput = nan\noutput = 1', "input is NaN"),
        ('[prices."gpt-4o"]\ninput = inf\noutput = 1', "Infinity"),
        ('[prices."gpt-4o"]\ninput = 1e9\noutput = 1', "USD per million"),
        ('[prices."gpt-4o"]\ninput = 1\noutput = 1\nsince = "soon"', "date"),
        ("prices = 3", "prices"),
        ("[discounts]\nopenai = 1.5", "openai is 1.5"),
        ("[discounts]\nopenai = -0.1", "openai is -0.1"),
        ('[discounts]\nopenai = "a lot"', "openai is 'a lot', which is not a number"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadSetting) as caught:
        settings(tmp_path, text)
    assert said in f"{caught.value}"


def test_a_discount_for_nobody_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(BadSetting) as caught:
        price_book(settings(tmp_path, "[discounts]\nopnai = 0.1"))
    assert "azure-openai" in f"{caught.value}"


def test_without_tables_the_public_prices_hold(tmp_path: Path) -> None:
    assert price_book(settings(tmp_path, "")).price("gpt-4o-mini", Tokens(1000, 0), AT) == Decimal("0.00015")
