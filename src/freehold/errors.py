"""What can go wrong, what to do next, and the exit code.

FreeholdError                    1   anything below; carries `message` and `hint`
├── BadSetting                   2   a flag or a line of freehold.toml that can't be meant (argparse uses 2 too)
├── LogError
│   ├── LogMissing              10   no such file or folder
│   ├── LogEmpty                11   nothing in it
│   ├── LogUnreadable           12   not JSON lines, or another shape than the ones known
│   └── LogMostlyBad            13   more rows bad than good
├── ProjectError
│   ├── ProjectMissing          20   no such project folder, or the step before has not run
│   ├── ProjectVersion          21   written by another version of freehold
│   └── ProjectOtherLog         22   the folder belongs to another log
├── ArtifactDamaged             30   a file differs from its manifest
├── StudentUnusable             31   a given encoder or classifier that can't be used
├── NothingToLearn              32   a task whose calls hold one label, or too few different texts
├── BaseUnusable                33   a base: missing, damaged, unknown architecture, no chat template
├── AdapterMismatch             34   an adapter that was trained on another base
├── TrainingFailed              35   a loss that is no number
├── HopRefused                  36   an export that loses more than its budget, in every format
├── TooLittleMemory             37   predicted before the start
├── TermsBlocked                38   the vendor's terms forbid it, or are not known, and no permission is given
├── SchemaUnmet                 39   a JSON schema that no logged answer satisfies
├── StorageFailed               40   disk full, read-only, no permission
├── LedgerDamaged               41   a row, a chain or a backup that isn't what was written
├── CorpusUnusable              42   text to learn from: none, binary, too little, or a tokenizer that can't encode it
├── LicenceConflict             43   licences whose duties can't be kept together
├── LaunchFailed                55   a training job whose processes could not be started, or ended without a word
├── PortInUse                   50   the address is taken
├── UpstreamMissing             51   an upstream is needed and none is usable
├── ServeRefused                52   a start that would not be safe (another bind, no key)
├── SecretExposed               54   a file of secrets that others can read
├── EngineFailed                53   the embedded engine does not start, or died on the same call again
└── MissingExtra                60   an optional part is not installed
Ctrl-C exits with 130.
"""

from __future__ import annotations

__all__ = [
    "AdapterMismatch", "ArtifactDamaged", "BadSetting", "BaseUnusable", "CorpusUnusable", "EngineFailed",
    "FreeholdError", "HopRefused", "LaunchFailed", "LedgerDamaged", "LicenceConflict", "LogEmpty", "LogError",
    "LogMissing", "LogMostlyBad",
    "LogUnreadable", "MissingExtra", "NothingToLearn", "PortInUse", "ProjectError", "ProjectMissing", "ProjectOtherLog",
    "ProjectVersion", "SchemaUnmet", "SecretExposed", "ServeRefused", "StorageFailed", "StudentUnusable",
    "TermsBlocked", "TooLittleMemory", "TrainingFailed", "UpstreamMissing",
]  # fmt: skip


class FreeholdError(Exception):
    """One clear sentence (what, which value), and a hint (what to do next)."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BadSetting(FreeholdError):
    exit_code = 2


class LogError(FreeholdError):
    exit_code = 12


class LogMissing(LogError):
    exit_code = 10


class LogEmpty(LogError):
    exit_code = 11


class LogUnreadable(LogError):
    exit_code = 12


class LogMostlyBad(LogError):
    exit_code = 13


class ProjectError(FreeholdError):
    exit_code = 20


class ProjectMissing(ProjectError):
    exit_code = 20


class ProjectVersion(ProjectError):
    exit_code = 21


class ProjectOtherLog(ProjectError):
    exit_code = 22


class ArtifactDamaged(FreeholdError):
    exit_code = 30


class StudentUnusable(FreeholdError):
    exit_code = 31


class NothingToLearn(FreeholdError):
    exit_code = 32


class BaseUnusable(FreeholdError):
    exit_code = 33


class AdapterMismatch(FreeholdError):
    exit_code = 34


class TrainingFailed(FreeholdError):
    exit_code = 35


class HopRefused(FreeholdError):
    exit_code = 36


class TooLittleMemory(FreeholdError):
    exit_code = 37


class TermsBlocked(FreeholdError):
    exit_code = 38


class SchemaUnmet(FreeholdError):
    exit_code = 39


class StorageFailed(FreeholdError):
    exit_code = 40


class LedgerDamaged(FreeholdError):
    exit_code = 41


class CorpusUnusable(FreeholdError):
    exit_code = 42


class LicenceConflict(FreeholdError):
    exit_code = 43


class LaunchFailed(FreeholdError):
    exit_code = 55


class PortInUse(FreeholdError):
    exit_code = 50


class UpstreamMissing(FreeholdError):
    exit_code = 51


class ServeRefused(FreeholdError):
    exit_code = 52


class SecretExposed(FreeholdError):
    exit_code = 54


class EngineFailed(FreeholdError):
    exit_code = 53


class MissingExtra(FreeholdError):
    exit_code = 60


STAYS = (NothingToLearn, TermsBlocked)
"""What keeps a task with the closed model as a verdict does."""
FAILS = (
    AdapterMismatch, BaseUnusable, EngineFailed, HopRefused, MissingExtra, SchemaUnmet, StudentUnusable,
    TooLittleMemory, TrainingFailed,
)  # fmt: skip
"""What keeps one text task from its student while the others go on; an error only where no task gets a student."""
QUOTING = (BaseUnusable, HopRefused, SchemaUnmet)
"""May show a piece of a logged text, so that a person sees what differs: for the terminal, never for a page."""
