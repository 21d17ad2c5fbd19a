"""Check sums: does a number say of itself that it is one?

    luhn       cards, IMEI                 ISO/IEC 7812-1
    iban       mod 97                      ISO 7064, ISO 13616
    steuer     German tax number           ISO 7064 mod 11, 10; one of ten digits comes twice or three times
    nir        French social security      key = 97 - number mod 97; Corsica's 2A and 2B count as 19 and 18
    dni        Spanish DNI and NIE         letter = number mod 23
    codice     Italian codice fiscale      letter = weighted sum mod 26 (decree of 23 December 1976)
    cpf        Brazilian CPF               two digits mod 11
    nhs        UK NHS number               mod 11
    vin        vehicle                     weighted sum mod 11 in the ninth place (49 CFR 565, ISO 3779)
    coin       Bitcoin                     base58 with a double sha256, or bech32 and bech32m (BIP 173, BIP 350)

All take the number without separators, in capitals, and answer False for anything else than one.
"""

from __future__ import annotations

import hashlib
from collections import Counter

__all__ = [
    "BECH32", "base58", "bech32", "bech32_check", "codice", "coin", "cpf", "dni", "iban", "luhn", "nhs", "nir",
    "steuer", "vin",
]  # fmt: skip

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
SPANISH = "TRWAGMYFPDXBNJZSQVHLCKE"
ODD = dict(zip("0123456789" + LETTERS, [1, 0, 5, 7, 9, 13, 15, 17, 19, 21] * 2 + [
    2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23], strict=True))  # fmt: skip
EVEN = dict(zip("0123456789" + LETTERS, [*range(10), *range(26)], strict=True))
WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
VIN = dict(zip("0123456789ABCDEFGHJKLMNPRSTUVWXYZ", [
    *range(10), *range(1, 9), *range(1, 6), 7, 9, *range(2, 10)], strict=True))  # fmt: skip


def luhn(digits: str) -> int:
    """The check sum mod 10: 0 for a valid number."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        twice = int(c) * (1 + i % 2)
        total += twice - 9 if twice > 9 else twice
    return total % 10


def iban(plain: str) -> bool:
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def steuer(digits: str) -> bool:
    counts = sorted(Counter(digits[:10]).values())
    if digits[0] == "0" or counts[-1] not in (2, 3) or counts[-2] != 1:
        return False
    product = 10
    for c in digits[:10]:
        total = (int(c) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def nir(plain: str) -> bool:
    number = plain[:-2].replace("2A", "19").replace("2B", "18")
    return number.isdecimal() and 97 - int(number) % 97 == int(plain[-2:])


def dni(plain: str) -> bool:
    number = plain[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return number.isdecimal() and SPANISH[int(number) % 23] == plain[-1]


def codice(plain: str) -> bool:
    total = sum((EVEN if i % 2 else ODD)[c] for i, c in enumerate(plain[:15]))
    return LETTERS[total % 26] == plain[15]


def cpf(digits: str) -> bool:
    if len(set(digits)) == 1:
        return False
    for n in (9, 10):
        total = sum(int(c) * (n + 1 - i) for i, c in enumerate(digits[:n]))
        if total * 10 % 11 % 10 != int(digits[n]):
            return False
    return True


def nhs(digits: str) -> bool:
    total = sum(int(c) * (10 - i) for i, c in enumerate(digits[:9]))
    return (11 - total % 11) % 11 == int(digits[9]) and len(set(digits)) > 1


def vin(plain: str) -> bool:
    if len(plain) != len(WEIGHTS) or not all(c in VIN for c in plain):
        return False
    total = sum(VIN[c] * weight for c, weight in zip(plain, WEIGHTS, strict=True))
    return "0123456789X"[total % 11] == plain[8]


def coin(plain: str) -> bool:
    if plain[:3].lower() == "bc1":
        same_case = plain in (plain.lower(), plain.upper())
        data = plain[3:].lower()
        return same_case and all(c in BECH32 for c in data) and _polymod(_values("bc", data)) in (1, 0x2BC830A3)
    number = 0
    for c in plain:
        number = number * 58 + BASE58.index(c)
    try:
        data_bytes = number.to_bytes(25)
    except OverflowError:
        return False
    return data_bytes[0] in (0, 5) and _double(data_bytes[:-4]) == data_bytes[-4:]


def base58(version: int, payload: bytes) -> str:
    """An address of 20 bytes, with its check sum."""
    data = bytes([version]) + payload
    data += _double(data)
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def bech32(data: str) -> str:
    """An address of the main net with this version and program; version 0 ("q") has another constant than the rest."""
    return f"bc1{data}{bech32_check(data, 1 if data[0] == 'q' else 0x2BC830A3)}"


def bech32_check(data: str, constant: int) -> str:
    rest = _polymod([*_values("bc", data), 0, 0, 0, 0, 0, 0]) ^ constant
    return "".join(BECH32[rest >> 5 * (5 - i) & 31] for i in range(6))


def _values(prefix: str, data: str) -> list[int]:
    spread = [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix)]
    return spread + [BECH32.index(c) for c in data]


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for i, factor in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= factor if top >> i & 1 else 0
    return check


def _double(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]
