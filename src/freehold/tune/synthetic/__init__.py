"""Textbook rows: new inputs of a task and their answers, by an open model whose licence lets others learn.

    --teacher ─its licence by facts→ may it teach?   Apache-2.0, MIT, OpenMDW: yes; any other: TermsBlocked
    rows of the fit side ─plan→ prompts of a few logged rows each ─engine, seeds→ made.jsonl (a killed run goes on)
        ─sift→ kept rows, and counts of the others: malformed, private, held out, duplicates, not agreed with
        ─value→ the student with and without them on logged rows that neither saw: a difference and its interval
             ├ they help: they stay in the student     synthetic.jsonl in the artefact
             └ they don't: the student without         synthetic/<task>.json in the project says what was seen

teacher.py who may teach · prompts.py what it is asked · ask.py the asking · sift.py what is left out
value.py with and without · label.py all of it, for a label student · record.py what is kept

What a teacher wrote is never evidence: it teaches, and that is all. The calls that certify are not shown to it.
"""

from freehold.tune.synthetic.made import Given

__all__ = ["Given"]
