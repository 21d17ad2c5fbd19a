"""Keys: where they are read from, which files are refused, and that they show nowhere."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import traceback
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.hosts.secret import Secret, read_key
from freehold.errors import BadSetting, SecretExposed
from freehold.project.gateway import UpstreamSettings

URL = "https://api.example.org/v1"


def keyed(path: Path, text: str = "sk-canary-123456\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@given(st.from_regex(r"sk-[0-9a-zA-Z_-]{8,60}", fullmatch=True))
def test_a_secret_shows_nowhere(said: str) -> None:
    secret = Secret(said)

    @dataclass
    class Holder:
        key: Secret

    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret}",
        repr(Holder(secret)),
        repr([secret]),
    ]
    assert all(said not in text for text in shown)
    assert secret.reveal() == said


def test_nor_in_what_is_written() -> None:
    secret = Secret("sk-canary-123456")
    for write in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, hash, vars):
        with pytest.raises(TypeError):
            write(secret)
    assert secret == Secret("sk-canary-123456")
    assert secret != Secret("sk-canary-123457")
    assert secret != "sk-canary-123456"
    assert bool(secret)
    assert not Secret("")


def test_nor_in_a_log_or_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("sk-canary-123456")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").info("key %s %r", secret, {"key": secret})
    try:
        raise ValueError(secret)
    except ValueError as error:
        said = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "canary" not in caplog.text
    assert "secret = Secret('***')" in said
    assert "canary" not in said.replace('Secret("sk-canary-123456")', "")


def test_from_the_environment(tmp_path: Path) -> None:
    said = UpstreamSettings(URL, key_env="LOCAL_KEY")
    assert read_key(said, tmp_path, {"LOCAL_KEY": " sk-1 "}).reveal() == "sk-1"
    for environ in ({}, {"LOCAL_KEY": ""}, {"LOCAL_KEY": "  "}):
        with pytest.raises(BadSetting, match="LOCAL_KEY"):
            read_key(said, tmp_path, environ)
    with pytest.raises(BadSetting) as caught:
        read_key(said, tmp_path, {"LOCAL_KEY": "sk two words"})
    assert "two words" not in str(caught.value)
    assert not read_key(UpstreamSettings(URL), tmp_path, {"LOCAL_KEY": "sk-1"})


def test_openais_own_key_goes_to_openai_alone(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "sk-openai"}
    ours = UpstreamSettings("https://api.openai.com/v1", key_env="OPENAI_API_KEY")
    assert read_key(ours, tmp_path, environ).reveal() == "sk-openai"
    for url in (URL, "http://api.openai.com/v1", "https://api.openai.com.evil.example"):
        with pytest.raises(BadSetting, match="OPENAI_API_KEY"):
            read_key(UpstreamSettings(url, key_env="OPENAI_API_KEY"), tmp_path, environ)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_from_a_file_that_is_ours_alone(tmp_path: Path, mode: int) -> None:
    keyed(tmp_path / "k.key", mode=mode)
    assert read_key(UpstreamSettings(URL, key_file="k.key"), tmp_path, {}).reveal() == "sk-canary-123456"
    absolute = UpstreamSettings(URL, key_file=str(tmp_path / "k.key"))
    assert read_key(absolute, tmp_path / "elsewhere", {}).reveal() == "sk-canary-123456"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601, 0o620, 0o777])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    keyed(tmp_path / "k.key", mode=mode)
    with pytest.raises(SecretExposed) as caught:
        read_key(UpstreamSettings(URL, key_file="k.key"), tmp_path, {})
    assert caught.value.exit_code == 54
    assert "canary" not in str(caught.value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_and_one_of_somebody_else(tmp_path: Path) -> None:
    os.chown(keyed(tmp_path / "k.key"), 12345, 12345)
    with pytest.raises(SecretExposed, match="somebody else"):
        read_key(UpstreamSettings(URL, key_file="k.key"), tmp_path, {})


@pytest.mark.parametrize("text", ["", "\n", "one\ntwo\n", "two words", "clé", "nul\0", "x" * 20_000])
def test_one_line_or_nothing(tmp_path: Path, text: str) -> None:
    keyed(tmp_path / "k.key", text)
    with pytest.raises(BadSetting) as caught:
        read_key(UpstreamSettings(URL, key_file="k.key"), tmp_path, {})
    assert "words" not in str(caught.value)


def test_a_relative_path_stays_in_the_project(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    keyed(tmp_path / "outside.key")
    (project / "link.key").symlink_to(tmp_path / "outside.key")
    (project / "loop.key").symlink_to(project / "loop.key")
    for said in ("../outside.key", "link.key", "loop.key", "a/../../outside.key", "nul\0.key"):
        with pytest.raises(BadSetting):
            read_key(UpstreamSettings(URL, key_file=said), project, {})
    keyed(project / "in.key")
    (project / "in-link.key").symlink_to("in.key")
    assert read_key(UpstreamSettings(URL, key_file="in-link.key"), project, {})


def test_an_absolute_link_is_followed_and_its_end_checked(tmp_path: Path) -> None:
    keyed(tmp_path / "real.key", mode=0o644)
    (tmp_path / "link.key").symlink_to(tmp_path / "real.key")
    with pytest.raises(SecretExposed):
        read_key(UpstreamSettings(URL, key_file=str(tmp_path / "link.key")), tmp_path, {})


def test_what_is_no_file_neither_hangs_nor_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for said in ("pipe", "folder", "missing", "~nobody-of-that-name/k"):
        with pytest.raises(BadSetting):
            read_key(UpstreamSettings(URL, key_file=said), tmp_path, {})
