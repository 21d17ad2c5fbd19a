"""Each kind of private data with published examples; one digit off is not one; a pseudonym is of the same kind."""

from __future__ import annotations

import json
import random

import pytest

from freehold.traffic.private import CHECKED, KINDS, find, pseudonym, redact

KEY = "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6h"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{KEY}\n{KEY}\n-----END RSA PRIVATE KEY-----"
EXAMPLES = [  # text, kind, piece
    ("id 86095742719 bitte", "tax id", "86095742719"),
    ("NIR 2 95 10 99 126 111 93.", "nir", "2 95 10 99 126 111 93"),
    ("n° 186022A21532523", "nir", "186022A21532523"),
    ("DNI 12345678Z", "dni", "12345678Z"),
    ("NIE X1234567L y", "dni", "X1234567L"),
    ("CPF 529.982.247-25", "cpf", "529.982.247-25"),
    ("NI number AB 12 34 56 C", "nino", "AB 12 34 56 C"),
    ("NHS number: 943 476 5919", "nhs", "943 476 5919"),
    ("IMEI 490154203237518", "imei", "490154203237518"),
    ("cf RSSMRA85T10A562S", "codice fiscale", "RSSMRA85T10A562S"),
    ("VIN 1M8GDM9AXKP042788 sold", "vin", "1M8GDM9AXKP042788"),
    ("pay 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "coin", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    ("pay 3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", "coin", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"),
    ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "coin", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq"),
    (
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
        "coin",
        "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
    ),
    ("from 00:1A:2b:3C:4D:5E up", "mac", "00:1A:2b:3C:4D:5E"),
    ("from 00-1A-2B-3C-4D-5E up", "mac", "00-1A-2B-3C-4D-5E"),
    ("born on 2/8/1935 in Ulm", "birth", "2/8/1935"),
    ("date of birth: March 3rd, 1980", "birth", "March 3rd, 1980"),
    ("DOB 1980-03-03", "birth", "1980-03-03"),
    ("at 12 Hill Street, Apt 4 since", "address", "12 Hill Street, Apt 4"),
    ("P.O. Box 4711", "address", "P.O. Box 4711"),
    ("Lange Hauptstraße 12a!", "address", "Hauptstraße 12a"),
    ("SW1A 1AA London", "postcode", "SW1A 1AA"),
    ("Austin, TX 78701", "postcode", "78701"),
    ("ZIP: 394 13", "postcode", "394 13"),
    ("passport no. X1234567", "passport", "X1234567"),
    ("driver's license number is 2270-66-1551", "licence", "2270-66-1551"),
    ("BIC DEUTDEFF500, 4711 4712", "bic", "DEUTDEFF500"),
    (f"key sk-proj-{KEY} here", "secret", f"sk-proj-{KEY}"),
    ("AKIAIOSFODNNAEXAMPLE", "secret", "AKIAIOSFODNNAEXAMPLE"),
    (f"ghp_{KEY[:36]}", "secret", f"ghp_{KEY[:36]}"),
    (f"Authorization: Bearer {KEY}", "secret", KEY),
    (f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{KEY}", "secret", f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{KEY}"),
    (PEM, "secret", PEM),
    ("postgres://bob:s3cret@db.example/x", "login", "bob:s3cret"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "piece"), EXAMPLES)
def test_found(text: str, kind: str, piece: str) -> None:
    assert [(f.kind, text[f.start : f.end]) for f in find(text)] == [(kind, piece)]


def test_every_kind_has_an_example() -> None:
    elsewhere = {"email", "iban", "ip", "ssn", "card", "phone"}  # test_private.py
    shown = {kind for _, kind, _ in EXAMPLES} | elsewhere
    assert shown == set(KINDS)
    assert set(KINDS) >= CHECKED


@pytest.mark.parametrize(("text", "kind", "piece"), [e for e in EXAMPLES if e[1] in CHECKED])
def test_one_character_off_is_none(text: str, kind: str, piece: str) -> None:
    for i, c in enumerate(piece):
        if c.isdecimal():
            off = piece[:i] + str((int(c) + 1) % 10) + piece[i + 1 :]
            assert kind not in {f.kind for f in find(text.replace(piece, off))}, off


@pytest.mark.parametrize(
    "text",
    [
        "sk-learn is a library, task-force-number-one-hundred-and-more, sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        "the 2008 Wall Street crash, 3 Questions, 12 Angry Men, page 5 of Chapter 2",
        "he was born 2 days before 1 May",
        "order 12345678901 of 20261125, part 123456789012345, ref AB-12-34",
        "version 10.0.0.1.2, ratio 12:30:45, sha 3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
        "https://host.example/a:b@c and http://host.example:8080/path",
        "see PO 4711, class A1 2B, model X5 3DC",
        "imei of 15 digits; nhs; passport; a licence to kill; BIC",
        "x" * 100 + " " + "0" * 100,
    ],
)
def test_not_found(text: str) -> None:
    assert find(text) == []


@pytest.mark.parametrize(("text", "kind", "piece"), EXAMPLES)
def test_a_pseudonym_is_of_its_kind(text: str, kind: str, piece: str) -> None:
    seen = set()
    for i in range(20):
        new = pseudonym(piece, kind, random.Random(i).randbytes(32))
        assert new != piece
        seen.add(new)
        there = text.replace(piece, new)
        assert [(f.kind, there[f.start : f.end]) for f in find(there)] == [(kind, new)], new
    assert len(seen) > 10


def test_the_same_key_says_the_same_and_another_attempt_another() -> None:
    key = bytes(32)
    for _, kind, piece in EXAMPLES:
        assert pseudonym(piece, kind, key) == pseudonym(piece, kind, key)
        assert len({pseudonym(piece, kind, key, attempt) for attempt in range(8)}) > 4, kind


def test_escapes_in_json_text_belong_to_no_value() -> None:
    text = json.dumps({"text": "hi\nana@firm.com\tcall\n467 3395"})
    assert [text[f.start : f.end] for f in find(text)] == ["ana@firm.com", "467 3395"]
    assert json.loads(redact(text))["text"].startswith("hi\n")


def test_keys_say_what_a_number_is() -> None:
    text = '{"phone_number": "4673395", "zip": "90210"}'
    assert [(f.kind, text[f.start : f.end]) for f in find(text)] == [("phone", "4673395"), ("postcode", "90210")]
