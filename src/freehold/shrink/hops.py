"""The hops in order, for one adapter: what is written, measured, refused, and stored.

Hops(source, ...).run(["Q4_K_M", "Q8_0"]) -> Passed(candidate, line, served)     HopRefused where none passes
                 .guess(passed, draft)    -> Passed                              speculation, where it pays
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from freehold.engines.decoder import Recipe
from freehold.engines.gguf.folder import hf_folder
from freehold.engines.gguf.read import check
from freehold.engines.gguf.types import FORMATS
from freehold.engines.gguf.weights import GgufWeights, Merged, Weights
from freehold.engines.gguf.write import bytes_of, write, write_adapter
from freehold.engines.llama.forced import Forced
from freehold.errors import BadSetting, HopRefused
from freehold.nouns import Artifact
from freehold.project import Project, sha256_file
from freehold.shrink import room
from freehold.shrink.files import Files
from freehold.shrink.guess import DRAFT, same, tried
from freehold.shrink.modelfile import modelfile, template
from freehold.shrink.parity import Expected, Seen, expect, float32, measure, merged, same_ids
from freehold.shrink.reference import Reference
from freehold.shrink.rows import Row, rows_of
from freehold.shrink.served import Served, serve
from freehold.shrink.source import Source
from freehold.shrink.table import Answers, Line, judged
from freehold.tell import Tell

__all__ = ["Candidate", "Hops", "Passed"]

Agree = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A form that could be served: a model file, and an adapter beside it where they stay apart."""

    format: str
    model: Path
    adapter: Path | None

    @property
    def bytes(self) -> int:
        return self.model.stat().st_size + (0 if self.adapter is None else self.adapter.stat().st_size)


@dataclass(frozen=True, slots=True)
class Passed:
    """`speculation`: the setting that the student is served with; None: none."""

    candidate: Candidate
    line: Line
    served: Served
    answers: Answers
    speculation: Mapping[str, Any] | None = None


class Hops:
    def __init__(
        self,
        source: Source,
        project: Project,
        form: Literal["merged", "adapter"],
        agree: Agree,
        most: int,
        threads: int | None,
        tell: Tell,
    ) -> None:
        self.source = source
        self.project = project
        self.form = form
        self.agree = agree
        self.most = most
        self.threads = threads
        self.tell = tell
        self.weights: Weights = Merged(source.weights, source.lora)
        self.files = Files(project.work(f"shrink-{source.artifact.sha256[:16]}-{form}"))
        self.lines: list[Line] = []
        self.said: dict[str, Any] = {}
        self.rows: list[Row] = []
        self.reference: Reference | None = None

    def run(self, formats: Sequence[str], whole: bool) -> Passed:
        order = self._order(formats)
        context = min(self.source.recipe.context, self.source.weights.shape.context)
        fold = isinstance(self.source.weights, GgufWeights)
        written = [name for name in order if name in FORMATS]
        room.check(self.source.weights, written, context, self.files.folder, fold=fold)
        reference = self._reference()
        self.rows = rows_of(
            self.source.own, reference, self.source.recipe.prompt.messages, context=context, most=self.most
        )
        self.said["merge"] = {"largest_logit_difference": merged(reference, self.rows), "rows": min(3, len(self.rows))}
        expected = self._float32(reference)
        reference.forget()
        passed: Passed | None = None
        for form in order:
            if passed is None or whole:
                found = self._format(form, expected, reference, passed is None)
                passed = passed or found
        if passed is None:
            raise self._refused()
        return passed

    # hops

    def _reference(self) -> Reference:
        folder = self.source.base.path
        if isinstance(self.source.weights, GgufWeights):
            folder = hf_folder(self.source.base.path, self.files.folder / "hf", tell=self.tell)
        self.reference = Reference.open(folder, self.source.lora, self.source.weights.shape)
        return self.reference

    def _engine(self, candidate: Candidate, *, exact: bool = False) -> Forced:
        context = min(self.source.recipe.context, self.source.weights.shape.context)
        return Forced.start(
            candidate.model, adapter=candidate.adapter, kv="f32" if exact else "f16", flash=not exact,
            context=context, threads=self.threads,
        )  # fmt: skip

    def _float32(self, reference: Reference) -> Expected:
        recipe = self.source.recipe
        candidate = self._written("F32")
        key = hashlib.sha256(msgspec.json.encode([self.source.artifact.sha256, self.most, len(self.rows)])).hexdigest()
        with self._engine(candidate, exact=True) as engine:
            ids = same_ids(
                reference, self.rows, engine.ids, lambda row: reference.text(recipe.prompt.messages(row.text)), "GGUF"
            )
            expected = expect(
                reference, engine, self.rows, self.files.folder, key, most=recipe.max_tokens, tell=self.tell
            )
            seen = measure(expected, engine, self.rows, self.files.folder, "F32", tell=self.tell)
        float32(expected, seen, reference, self.rows)
        line = self._line(candidate, seen, self._answers(expected, reference, {}))
        self.lines.append(line)
        self.said["float32"] = {
            "same_ids": ids, "largest_logit_difference": seen.largest, "positions": expected.positions,
            "greedy_changed": len(seen.changed),
        }  # fmt: skip
        return expected

    def _format(self, form: str, expected: Expected, reference: Reference, needed: bool) -> Passed | None:
        """Measure one format; served too, where it passes and is `needed`."""
        candidate = self._written(form)
        recipe = self.source.recipe
        with self._engine(candidate) as engine:
            seen = measure(expected, engine, self.rows, self.files.folder, form, tell=self.tell)
            turned = {c.row: engine.greedy(self.rows[c.row].prompt, recipe.max_tokens) for c in seen.changed}
        answers = self._answers(expected, reference, turned)
        line = self._line(candidate, seen, answers)
        if not line.passed or not needed:
            self.lines.append(line)
            return None
        served = self._served(candidate, answers, reference, None)
        self.lines.append(replace(line, passed=not served.why, why=served.why))
        return None if served.why else Passed(candidate, self.lines[-1], served, answers)

    def _served(
        self, candidate: Candidate, answers: Answers, reference: Reference, speculation: Mapping[str, Any] | None
    ) -> Served:
        artifact = replace(self.source.artifact, parents=("base",))
        return serve(
            self.files.folder / "stage", self.recipe(candidate.format), artifact, candidate.model,
            candidate.adapter, reference=reference, rows=self.rows, wanted=answers.format, theirs=answers.theirs,
            own=self.source.own, agree=self.agree, threads=self.threads, speculation=speculation, tell=self.tell,
        )  # fmt: skip

    def guess(self, passed: Passed, draft: Path | None) -> Passed:
        """Speculation tried on the student that passed; on only where every held-back answer and score stays."""
        assert self.reference is not None
        candidate = passed.candidate
        recipe = self.recipe(candidate.format)
        found = tried(
            candidate.model, candidate.adapter, recipe, self.source.own.texts, draft=draft, threads=self.threads,
            tell=self.tell,
        )  # fmt: skip
        self.said["speculation"] = found.said
        if found.setting is None:
            return passed
        again = self._served(candidate, passed.answers, self.reference, found.setting)
        kept, n = same(passed.served.answers, again.answers), len(again.answers)
        if kept == n:
            return replace(passed, served=again, speculation=found.setting)
        self.said["speculation"] |= {
            "on": False,
            "why": f"{n - kept} of {n} held-back answers or scores change with it.",
        }
        return passed

    # what they are made of

    def _order(self, formats: Sequence[str]) -> list[str]:
        """From the smallest on. With the adapter apart, a base that is a GGUF is tried as it is, too."""
        unknown = [form for form in formats if form not in FORMATS]
        if unknown or not formats:
            raise BadSetting(f"--formats names {unknown[:1] or 'nothing'}.", f"Known: {', '.join(FORMATS)}.")
        order = sorted(set(formats), key=lambda form: bytes_of(self.source.weights, form))
        base = self.source.weights
        if self.form == "adapter" and isinstance(base, GgufWeights) and base.file.quantisation not in order:
            return [base.file.quantisation, *order]
        return order

    def _written(self, form: str) -> Candidate:
        end = None if self.reference is None else self.reference.end
        if self.form == "merged":
            path = self.files.have(f"{form}.gguf", lambda p: write(self.weights, p, form, end=end, tell=self.tell))
            return Candidate(form, path, None)
        shape = self.source.weights.shape
        adapter = self.files.have("adapter.gguf", lambda p: write_adapter(self.source.lora, shape, p))
        base = self.source.weights
        if isinstance(base, GgufWeights) and form == base.file.quantisation:
            return Candidate(form, base.source, adapter)
        path = self.files.have(f"{form}.gguf", lambda p: write(base, p, form, end=end, tell=self.tell))
        return Candidate(form, path, adapter)

    def _answers(self, expected: Expected, reference: Reference, turned: dict[int, list[int]]) -> Answers:
        theirs = [reference.words(answered.greedy) for answered in expected.answered]
        ours = [reference.words(turned[i]) if i in turned else text for i, text in enumerate(theirs)]
        logged = [row.answer for row in self.rows]
        return Answers(
            reference=theirs, format=ours,
            same=[a == b or self.agree(a, b) for a, b in zip(ours, theirs, strict=True)],
            ours=[self.agree(a, b) for a, b in zip(ours, logged, strict=True)],
            theirs=[self.agree(a, b) for a, b in zip(theirs, logged, strict=True)],
        )  # fmt: skip

    def _line(self, candidate: Candidate, seen: Seen, answers: Answers) -> Line:
        types = Counter(placed.type for placed in check(candidate.model).tensors.values())
        texts = [row.text for row in self.rows]
        return judged(candidate.format, candidate.bytes, seen, answers, dict(types.most_common()), texts)

    def _refused(self) -> HopRefused:
        tried = [line for line in self.lines if line.format != "F32"]
        reasons = "; ".join(f"{line.format}: {line.why}" for line in tried)
        first = next((line.example for line in tried if line.example), "")
        shown = f" The first answer that turned: {first}." if first else ""
        return HopRefused(
            f"No format of {self.source.artifact.task} keeps its budget: {reasons}.{shown}",
            "Give a larger one with --formats, such as BF16 or F32.",
        )

    # what is stored

    def recipe(self, form: str, speculation: Mapping[str, Any] | None = None) -> Recipe:
        own = None if speculation is None else {**speculation, **({"path": DRAFT} if "path" in speculation else {})}
        return msgspec.structs.replace(self.source.recipe, mode=self.form, quant=form, speculation=own)

    def store(self, passed: Passed) -> Artifact:
        """The artefact; with the adapter apart, the base's too, where it is not there yet."""
        artifact, candidate = self.source.artifact, passed.candidate
        common = {"task": artifact.task, "base": artifact.base, "licence": artifact.licence}
        recipe = artifact.recipe | {"shrink": {"format": candidate.format, "form": self.form}}
        parents: tuple[str, ...] = (artifact.sha256,)
        if candidate.adapter is None:
            files = self._texts(passed, "./model.gguf") | {"model.gguf": candidate.model}
        else:
            shared = self._shared(candidate)
            parents = (shared.sha256, artifact.sha256)
            files = self._texts(passed, f"../{shared.sha256}/model.gguf") | {"adapter.gguf": candidate.adapter}
        return self.project.write_artifact(
            files, kind="decoder", recipe=recipe, data_sha256=artifact.data_sha256, parents=parents, **common
        )

    def _shared(self, candidate: Candidate) -> Artifact:
        """The project's base artefact with this very file, or a new one."""
        artifact, sha256 = self.source.artifact, sha256_file(candidate.model)
        for found in self.project.artifacts():
            if found.kind == "base" and found.files == {"model.gguf": sha256}:
                return self.project.read_artifact(found.sha256)
        return self.project.write_artifact(
            {"model.gguf": candidate.model}, kind="base", task="", base=artifact.base, licence=artifact.licence,
            recipe={"quant": candidate.format, "sha256": self.source.base.sha256}, data_sha256="",
        )  # fmt: skip

    def _texts(self, passed: Passed, model: str) -> dict[str, bytes | Path]:
        served = passed.served
        table = {
            "version": 1, "form": self.form, "taken": passed.candidate.format, "rows": len(self.rows), **self.said,
            "formats": self.lines, "served": {"same_ids": served.ids, "equal": served.equal,
                                              "agreement": served.agreement, "gained": served.gained},
        }  # fmt: skip
        said = msgspec.json.format(msgspec.json.encode(table), indent=2) + b"\n"
        draft = (passed.speculation or {}).get("path")
        return {
            **({} if draft is None else {DRAFT: Path(draft)}),
            "decoder.json": self.recipe(passed.candidate.format, passed.speculation).encode(),
            "parity.json": said,
            "Modelfile": self._modelfile(passed.candidate, model).encode(),
            "prior.safetensors": served.prior,
            "checks.json": served.checks,
        }

    def _modelfile(self, candidate: Candidate, model: str) -> str:
        assert self.reference is not None
        reference, recipe = self.reference, self.source.recipe
        begins = check(candidate.model).keys.get("tokenizer.ggml.add_bos_token", False)
        begin = str(reference.tokenizer.bos_token or "") if begins else ""
        return modelfile(
            template(reference.text, recipe.prompt.system, begin),
            model=model, adapter=None if candidate.adapter is None else "adapter.gguf", system=recipe.prompt.system,
            stop=(reference.words([reference.end, reference.end]), *recipe.stop), context=recipe.context,
            most=recipe.max_tokens,
        )  # fmt: skip

    def clear(self) -> None:
        """Remove what was half done."""
        shutil.rmtree(self.files.folder, ignore_errors=True)
