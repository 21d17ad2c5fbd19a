"""Words: how a Measure reads, and when a message fits a template."""

from __future__ import annotations

import pytest

from freehold.nouns import Measure, Slot, Template


@pytest.mark.parametrize(
    ("measure", "text"),
    [
        (Measure(0.9249, 0.9169, 0.9331, 4550), "92.5 % (91.7 to 93.3, n = 4,550)"),
        (Measure(0.5, n=10), "50.0 % (n = 10)"),
        (Measure(-35.2, unit="USD/month"), "-$35.20 a month"),
        (Measure(1234.5, 1000, 2000, 7, "USD"), "$1,234.50 (1,000.00 to 2,000.00, n = 7)"),
        (Measure(3.214, unit="ms"), "3.21 ms"),
        (Measure(None), "not known"),
    ],
)
def test_a_measure_reads_aloud(measure: Measure, text: str) -> None:
    assert str(measure) == text


TEMPLATE = Template((Slot("system", "Sort it."), Slot("user", "Ticket: ", "\nLabel:", variable=True)))


def test_a_template_returns_the_calls_own_text() -> None:
    messages = [
        {"role": "system", "content": "Sort it."},
        {"role": "user", "content": "Ticket: my card is lost\nLabel:"},
    ]
    assert TEMPLATE.variables(messages) == ("my card is lost",)
    assert TEMPLATE.text(messages) == "my card is lost"


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "Ticket: x\nLabel:"}],
        [{"role": "system", "content": "Sort it!"}, {"role": "user", "content": "Ticket: x\nLabel:"}],
        [{"role": "developer", "content": "Sort it."}, {"role": "user", "content": "Ticket: x\nLabel:"}],
        [{"role": "system", "content": "Sort it."}, {"role": "user", "content": "Ticket: x"}],
        [{"role": "system", "content": "Sort it."}, {"role": "user", "content": "Ticket: Label:"}],
        [{"role": "system", "content": "Sort it."}, {"role": "user", "content": [{"type": "text", "text": "x"}]}],
        [{"role": "system", "content": "Sort it."}, {"role": "user", "content": "Ticket: x\nLabel:", "name": "a"}],
        [{"role": "system", "content": "Sort it."}, {"role": "user", "content": "Ticket: \nLabel"}],
    ],
)
def test_anything_else_does_not_fit(messages: list[dict[str, object]]) -> None:
    assert TEMPLATE.text(messages) is None
