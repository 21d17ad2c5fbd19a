"""What runs freehold elsewhere is read strictly: every directive is a known one, and says what the server needs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from freehold import errors
from freehold.project.gateway import Limits
from freehold.serve.numbers.metrics import Host, Metrics, RungState, State

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"

# the unit

KNOWN = {
    "Unit": {"Description", "Wants", "After", "StartLimitIntervalSec", "StartLimitBurst"},
    "Service": {
        "Type", "ExecStart", "ExecReload", "EnvironmentFile", "Environment", "KillMode", "KillSignal", "TimeoutStopSec",
        "Restart", "RestartSec", "RestartPreventExitStatus", "DynamicUser", "StateDirectory", "StateDirectoryMode",
        "RuntimeDirectory", "RuntimeDirectoryMode", "UMask", "NoNewPrivileges", "CapabilityBoundingSet",
        "AmbientCapabilities", "ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ProtectClock",
        "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables",
        "ProtectProc", "LockPersonality", "RemoveIPC", "RestrictAddressFamilies", "RestrictNamespaces",
        "RestrictRealtime", "RestrictSUIDSGID", "SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber",
        "MemoryMax", "TasksMax", "LimitNOFILE", "LimitCORE", "OOMPolicy",
    },
    "Install": {"WantedBy"},
}  # fmt: skip


def unit(text: str) -> dict[str, dict[str, str]]:
    """The unit's sections. Fails on a line that is no comment, section or known directive, and on one said twice."""
    found: dict[str, dict[str, str]] = {}
    section = ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line.removeprefix("[").removesuffix("]")
            assert line == f"[{section}]"
            assert section in KNOWN
            assert section not in found
            found[section] = {}
            continue
        name, sign, value = line.partition("=")
        assert sign, line
        assert name in KNOWN[section], f"[{section}] {name}"
        assert name not in found[section], f"{name} is said twice"
        assert value == value.strip(), line
        found[section][name] = value
    return found


SERVICE = (DEPLOY / "freehold.service").read_text(encoding="utf-8")


def test_the_unit_says_what_the_server_needs() -> None:
    service = unit(SERVICE)["Service"]
    limits = Limits()
    assert int(service["TimeoutStopSec"]) > limits.drain_seconds + 10 + 5  # the drain, then what workers get on top
    assert service["KillMode"] == "mixed"
    assert service["ExecReload"] == "/bin/kill -USR1 $MAINPID"
    assert service["Restart"] == "on-failure"
    assert int(service["LimitNOFILE"]) >= 8 * limits.connections
    assert service["OOMPolicy"] == "continue"
    assert service["EnvironmentFile"].startswith("-/etc/")


def test_the_unit_is_hardened() -> None:
    service = unit(SERVICE)["Service"]
    hard = {
        "DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
        "PrivateTmp": "yes", "CapabilityBoundingSet": "", "StateDirectoryMode": "0700", "UMask": "0077",
        "LimitCORE": "0",
    }  # fmt: skip
    assert hard.items() <= service.items()
    assert set(service["RestrictNamespaces"].split()) == {"user", "net"}  # what cage.py asks for, and no more
    assert "KEY" not in service["Environment"]


def test_what_no_restart_mends_is_not_restarted() -> None:
    """Each code is one of errors.py; what may heal by itself (a taken port, a full disk) is tried again."""
    codes = {getattr(errors, name).exit_code for name in errors.__all__}
    prevented = {int(code) for code in unit(SERVICE)["Service"]["RestartPreventExitStatus"].split()}
    assert prevented <= codes
    assert {errors.BadSetting.exit_code, errors.ServeRefused.exit_code, errors.UpstreamMissing.exit_code} <= prevented
    assert not prevented & {
        1,
        errors.StorageFailed.exit_code,
        errors.PortInUse.exit_code,
        errors.EngineFailed.exit_code,
    }


def test_the_strict_reader_is_strict() -> None:
    for bad in ("[Service]\nExecStrat=x", "[Servic]\n", "[Service]\nType=exec\nType=exec", "[Service]\nType exec"):
        with pytest.raises((AssertionError, KeyError)):
            unit(bad)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    path = tmp_path / "freehold.service"
    runnable = SERVICE.replace("/opt/freehold/bin/freehold", "/bin/true")

    def complaints(text: str) -> list[str]:
        path.write_text(text)
        command = ["systemd-analyze", "verify", "--man=no", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return [line for line in done.stderr.splitlines() if "freehold" in line]

    assert complaints(runnable) == []
    assert complaints(runnable.replace("RestrictNamespaces=user net", "RestrictNamespaces=users"))  # it does look
    assert complaints(runnable.replace("KillMode=mixed", "KillMood=mixed"))


# the image

INSTRUCTIONS = {
    "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT",
    "CMD",
}  # fmt: skip


def instructions(text: str) -> list[tuple[str, str]]:
    """The image's instructions in order. Fails on one that isn't known: ADD and ARG (URLs, secrets) are not."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines():
        name, _, rest = line.partition(" ")
        assert name in INSTRUCTIONS, line
        assert rest.strip(), line
        found.append((name, rest.strip()))
    assert found[0][0] == "FROM"
    return found


IMAGE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")


def last_stage() -> dict[str, str]:
    found = instructions(IMAGE)
    start = max(i for i, (name, _) in enumerate(found) if name == "FROM")
    return dict(found[start:])


def test_the_image_has_two_stages_on_one_pinned_base() -> None:
    stages = [rest for name, rest in instructions(IMAGE) if name == "FROM"]
    assert len(stages) == 2
    bases = {stage.split(" AS ")[0] for stage in stages}
    assert len(bases) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+\.\d+-slim-[a-z]+", bases.pop())


def test_the_image_runs_as_nobody_special_and_says_when_it_is_ready() -> None:
    stage = last_stage()
    user, group = stage["USER"].split(":")
    assert int(user) >= 1000
    assert int(group) >= 1000
    names = [name for name, _ in instructions(IMAGE)]
    assert names.index("USER") > names.index("RUN")
    assert stage["STOPSIGNAL"] == "SIGTERM"
    entry, command = json.loads(stage["ENTRYPOINT"]), json.loads(stage["CMD"])  # the exec form: signals arrive
    assert entry == ["/opt/freehold/bin/freehold"]
    assert command[:1] == ["serve"]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert command[command.index("--port") + 1] == stage["EXPOSE"]
    options, _, check = stage["HEALTHCHECK"].partition(" CMD ")
    assert re.fullmatch(r"(--(interval|timeout|start-period|retries)=\w+ ?)+", options)
    assert f"127.0.0.1:{stage['EXPOSE']}/ready" in json.loads(check)[-1]
    assert compile(json.loads(check)[-1], "healthcheck", "exec")


def test_the_image_is_made_of_what_is_in_the_repository_and_holds_no_secret() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    copied = [rest.split() for name, rest in instructions(IMAGE) if name == "COPY"]
    for words in copied:
        if words[0].startswith("--from="):
            assert words[0] == "--from=build"
            continue
        for path in words[:-1]:
            assert (ROOT / path).exists(), path
            assert any(fnmatch(path, allowed) for allowed in let_in), f".dockerignore keeps {path} out"
    for _, rest in instructions(IMAGE):
        assert not re.search(r"(KEY|TOKEN|SECRET|PASSWORD)\w*[ =]", rest)
        assert not re.search(r"curl |wget |https?://(?!127\.0\.0\.1)", rest)


@pytest.mark.parametrize("bad", ["ADD https://example.com/x /x", "FROM a\nARG KEY", "FROM a\nRUN", "USER 1"])
def test_the_strict_image_reader_is_strict(bad: str) -> None:
    with pytest.raises(AssertionError):
        instructions(bad)


# Prometheus


def exposed() -> set[str]:
    """Every sample name that a scrape can give."""
    state = State(1, (RungState("t", True, "full"),), (Host("up"),))
    metrics = Metrics(["t"], ["m"], state=lambda: state)
    metrics.ended(metrics.began(), "t", "student", "home", "complete", 200, "m", waited=0.1)
    metrics.refused("rate_limited", 429)
    families = text_string_to_metric_families(metrics.render()[1].decode())
    return {sample.name for family in families for sample in family.samples}


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_the_alerts_name_metrics_and_labels_that_exist() -> None:
    (group,) = loaded("alerts.yml")["groups"]
    rules = group["rules"]
    assert {rule["alert"] for rule in rules} >= {
        "FreeholdHomeShareFell", "FreeholdRungClosed", "FreeholdLedgerNotWritable", "FreeholdBreakerOpen",
        "FreeholdServerErrors",
    }  # fmt: skip
    known = exposed()
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    for rule in rules:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        named = set(re.findall(r"freehold_\w+", rule["expr"]))
        assert named or rule["expr"].startswith("up{")
        assert named <= known, named - known
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["alert"] in text, f"docs/operate.md does not say what to do about {rule['alert']}"


def test_every_metric_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    for name in exposed():
        base = re.sub(r"_(bucket|count|sum)$", "", name)
        assert base in text, base


def test_the_scrape_reads_the_rules_beside_it() -> None:
    found = loaded("prometheus.yml")
    assert set(found) == {"global", "rule_files", "scrape_configs"}
    assert all((DEPLOY / name).is_file() for name in found["rule_files"])
    (job,) = found["scrape_configs"]
    assert job["job_name"] == "freehold"
    assert "credentials" not in job["authorization"]  # a file, never the key itself
