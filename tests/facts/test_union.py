"""Several licences together: what they ask of the whole, which exclude each other, what keeps it in the house."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import BadSetting
from freehold.facts import Facts, union

ROWS = Facts().rows("licences")
ASKED = st.lists(st.sampled_from([*(row.id for row in ROWS), "own", "unknown"]), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("licences", "why"),
    [
        (("CC-BY-SA-4.0", "GPL-2.0-only"), "one thing can't be both"),
        (("CC-BY-SA-4.0", "CC-BY-NC-SA-4.0"), "one thing can't be both"),
        (("Apache-2.0", "GPL-2.0-only"), "its patent licence ends"),
        (("CC-BY-NC-4.0", "CC-BY-SA-4.0"), "no commercial use"),
        (("Mistral AI Research License", "GPL-3.0-only"), "no commercial use"),
        (("Meta Llama 3 Community License Agreement", "Gemma Terms of Use"), "no model of another kind"),
        (("Llama 3.1 Community License Agreement", "Gemma Terms of Use"), "beside another's"),
        (("Llama 3.1 Community License Agreement", "GPL-3.0-only"), "an agreement and a policy on use"),
    ],
)
def test_what_cant_be_kept_together_is_said_with_both_names(licences: tuple[str, str], why: str) -> None:
    for order in (licences, licences[::-1]):
        (said,) = union(order).conflicts
        assert all(name in said for name in licences)
        assert why in said


@pytest.mark.parametrize(
    ("licences", "under"),
    [
        (("MIT", "Apache-2.0", "CC-BY-4.0", "own"), ()),
        (("Apache-2.0", "GPL-3.0-only"), ("GPL-3.0-only", "AGPL-3.0-only")),
        (("CC-BY-SA-4.0", "GPL-2.0-or-later", "Apache-2.0"), ("GPL-3.0-only",)),
        (("CC-BY-SA-3.0", "CC-BY-SA-4.0"), ("CC-BY-SA-4.0",)),
        (("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"), ("CC-BY-NC-SA-4.0",)),
        (("llama-3.1", "llama-3.3"), ()),
        (("unknown", "GPL-2.0-only"), ("GPL-2.0-only",)),
    ],
)
def test_what_goes_together_and_under_what_it_is_passed_on(licences: tuple[str, ...], under: tuple[str, ...]) -> None:
    found = union(licences)
    assert (found.conflicts, found.under) == ((), under)


def test_three_of_which_each_two_go_together() -> None:
    own = {"licences": {"x": {"under": ["A", "B"]}, "y": {"under": ["B", "C"]}, "z": {"under": ["C", "A"]}}}
    row = {"licence": "", "commercial": "yes", "source": "us", "as_of": "2026-11-25"}
    facts = Facts({"licences": {name: row | values | {"licence": name} for name, values in own["licences"].items()}})
    assert all(not union(two, facts=facts).conflicts for two in combinations("xyz", 2))
    assert union("xyz", facts=facts).conflicts == (
        "x, y and z: there is no licence that all of them take for the whole.",
    )


def test_commercial_use_conflicts_with_what_forbids_it_and_with_nothing_else() -> None:
    (said,) = union(["CC-BY-NC-4.0", "MIT"], commercial=True).conflicts
    assert said.startswith("CC-BY-NC-4.0 and commercial use")
    assert "for NonCommercial purposes only" in said
    assert union(["CC-BY-NC-4.0", "MIT"]).commercial is False
    assert union(["MIT", "own"], commercial=True).conflicts == ()


def test_duties_are_those_of_every_licence_with_source_and_day() -> None:
    found = union(["Apache-2.0", "llama-3.1"])
    assert found.prefix == "Llama"
    about = {duty.rule for duty in found.duties}
    assert {"Apache-2.0/changes", "Llama 3.1 Community License Agreement/policy"} <= about
    assert all(duty.source and duty.as_of for duty in found.duties)
    said = found.said()
    copies = next(line for line in said if line.startswith("Give everybody"))
    assert "Apache-2.0, Llama 3.1" in copies
    assert any("“Built with Llama”" in line for line in said)


def test_nobody_knows_what_an_unknown_licence_asks() -> None:
    for name, why in (("unknown", "nobody says"), ("WTFPL", "not on file"), ("mistral-large-4", "nobody has read"),
                      ("CC-BY-ND-4.0", "lets nothing")):  # fmt: skip
        found = union([name, "MIT"])
        assert found.conflicts == ()
        assert why in found.private[0]
        assert found.said()[-1] == f"Keep it in the house: {found.private[0]}."
    assert union(["unknown", "MIT"]).commercial is None
    assert union(["own"]).private == () == union(["own"]).duties
    assert union([]) == union(["unknown"])


@pytest.mark.parametrize(
    ("said", "expression"),
    [
        ("CC0-1.0 AND CC-BY-4.0", "CC0-1.0 AND CC-BY-4.0"),
        ("mit", "MIT"),
        ("granite", "Apache-2.0"),
        ("gpl-3.0", "GPL-3.0-only"),
        ("MIT OR GPL-2.0-only", "MIT"),
        ("GPL-2.0-only OR MIT", "MIT"),
        ("(GPL-2.0-only OR CC0-1.0) AND ISC", "CC0-1.0 AND ISC"),
        ("Apache-2.0 WITH LLVM-exception", "Apache-2.0"),
        ("a licence of our own making (2025)", "LicenseRef-a-licence-of-our-own-making-2025"),
        ("(MIT AND", "LicenseRef-MIT-AND"),
        ("", "unknown"),
    ],
)
def test_names_and_expressions(said: str, expression: str) -> None:
    assert union([said]).expression == expression


def test_a_choice_is_made_so_that_the_rest_can_be_kept() -> None:
    found = union(["GPL-2.0-only OR GPL-3.0-only", "Apache-2.0"])
    assert (found.expression, found.conflicts) == ("GPL-3.0-only AND Apache-2.0", ())


@given(ASKED)
def test_a_union_says_the_same_when_it_is_read_again(licences: list[str]) -> None:
    found = union(licences)
    assert union([found.expression]) == found
    assert set(union(licences[::-1]).duties) == set(found.duties)
    assert bool(union(licences[::-1]).conflicts) == bool(found.conflicts)
    assert len(set(found.conflicts)) == len(found.conflicts)


@given(ASKED, ASKED)
def test_more_parts_ask_no_less(some: list[str], more: list[str]) -> None:
    one, both = union(some), union(some + more)
    assert set(one.duties) <= set(both.duties)
    assert set(one.private) <= set(both.private)
    assert bool(both.conflicts) >= bool(one.conflicts)


def test_a_row_of_ones_own_goes_over_the_shipped_one_and_is_checked() -> None:
    read = {"commercial": "yes", "carry": ["notices"], "source": "our counsel", "as_of": "2026-11-25"}
    facts = Facts({"licences": {"mistral-large-4": read}})
    assert union(["mistral-large-4"], facts=facts).private == ()
    with pytest.raises(BadSetting, match="commercial is 'perhaps'"):
        union(["mit"], facts=Facts({"licences": {"mit": {"commercial": "perhaps", "source": "us"}}}))
