"""The alarms, the dashboard, and the Compose profile `monitoring`."""

import re
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml

from .agents import program
from .conftest import Backend
from .factories import a_user, an_upload
from .monitoring import ALARMS, DASHBOARD, FOLDER, OF_SERVICE, PANELS, names_in
from .receiver import Receiver
from .service import Service

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
PAGE = "docs/how-to/alarms.md"
WAIT_SECONDS = 30


@pytest.mark.parametrize(
    "words",
    [
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules.test.yml"],
        ["check", "config", "prometheus.yml"],
    ],
    ids=" ".join,
)
def test_promtool_accepts(words: list[str]) -> None:
    ended = subprocess.run(
        [program("promtool"), *words], cwd=FOLDER, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_prometheus_can_read_each_expression_of_the_dashboard(tmp_path: Path) -> None:
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(expressions)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    ended = subprocess.run(
        [program("promtool"), "check", "rules", file], capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_alarm_fires_in_a_test() -> None:
    fired: set[str] = set()
    for test in yaml.safe_load((FOLDER / "rules.test.yml").read_text())["tests"]:
        for case in test.get("alert_rule_test", ()):
            if case.get("exp_alerts"):
                fired.add(case["alertname"])
        for case in test.get("promql_expr_test", ()):
            for sample in case.get("exp_samples", ()):
                fired |= set(re.findall(r'alertname="(\w+)"', sample["labels"]))

    assert {rule["alert"] for rule in ALARMS} - fired == set()


def test_each_alarm_says_what_to_do() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / PAGE).read_text(), re.MULTILINE)

    assert headings == [rule["alert"] for rule in ALARMS]
    for rule in ALARMS:
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        annotations = rule["annotations"]
        assert annotations.keys() == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"] == f"{PAGE}#{rule['alert'].lower()}"


def test_each_section_has_a_meaning_checks_and_a_remedy() -> None:
    sections = (ROOT / PAGE).read_text().split("\n## ")[1:]

    for section in sections:
        name = section.partition("\n")[0]
        assert re.findall(r"^\*\*(\w+):\*\* ", section, re.MULTILINE) == [
            "Meaning",
            "Check",
            "Remedy",
        ], name


def test_the_dashboard_is_complete() -> None:
    ids = Counter(panel["id"] for panel in DASHBOARD["panels"])
    titles = Counter(panel["title"] for panel in PANELS)

    assert [number for number in (ids | titles).values() if number > 1] == []
    for panel in PANELS:
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        references = Counter(target["refId"] for target in panel["targets"])
        assert max(references.values()) == 1, panel["title"]
        sources = {panel["datasource"]["uid"], *(t["datasource"]["uid"] for t in panel["targets"])}
        assert sources == {"${datasource}"}, panel["title"]


def test_panels_do_not_overlap() -> None:
    cells = Counter(
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    )

    assert set(cells.values()) == {1}
    assert max(x for x, _ in cells) < 24


@pytest.mark.one_backend
def test_a_service_has_each_metric_of_the_alarms_and_the_dashboard(
    backend: Backend, engine: sa.Engine, tmp_path: Path
) -> None:
    """A metric with labels exists after its first event."""
    receiver = Receiver()
    service = Service(backend.settings, tmp_path / "service.log", delivers=True)
    try:
        with service.client() as client:
            user = f"/users/{client.post('/users', json=a_user()).json()['id']}"
            client.post(f"{user}/webhooks", json={"url": receiver.url}).raise_for_status()
            client.post(f"{user}/certificates", json=an_upload(active=True)).raise_for_status()
            client.get(f"{user}/certificates").raise_for_status()
            client.put(f"{user}/quotas", json={"certificates": 1}).raise_for_status()
            assert client.post(f"{user}/certificates", json=an_upload("b.example")).is_error

            deadline = time.monotonic() + WAIT_SECONDS
            while missing := OF_SERVICE - names_in(client.get("/metrics").text):
                assert time.monotonic() < deadline, missing
                time.sleep(0.05)
    finally:
        service.kill()
        receiver.close()


def test_prometheus_finds_the_metrics_of_each_service_in_compose() -> None:
    jobs = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    services = COMPOSE["services"]
    serving = {
        name
        for name, service in services.items()
        if "CC_ADMIN_ADDRESS" in service.get("environment", {}) and "command" not in service
    }
    (source,) = jobs[0]["dns_sd_configs"]

    assert serving == set(source["names"]) == {"api", "api-prd"}
    for name in serving:
        address = services[name]["environment"]["CC_ADMIN_ADDRESS"]
        assert address == f"0.0.0.0:{source['port']}"
        # Its routes need no credentials.
        assert not any(str(source["port"]) in port for port in services[name].get("ports", ()))


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_the_profile_monitoring_serves_this_machine_only(name: str) -> None:
    service = COMPOSE["services"][name]

    assert service["profiles"] == ["monitoring"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert re.search(r":v?\d+\.\d+\.\d+\}$", service["image"])
    for volume in service["volumes"]:
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or (ROOT / source).exists(), source


def test_grafana_finds_the_dashboard_and_its_data_source() -> None:
    mounts = dict(volume.split(":")[:2] for volume in COMPOSE["services"]["grafana"]["volumes"])
    provisioning = FOLDER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "files.yml").read_text())[
        "providers"
    ]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]

    assert mounts["./deploy/monitoring/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./deploy/monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert source["url"] == "http://prometheus:9090"
    home = COMPOSE["services"]["grafana"]["environment"][
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"
    ]
    assert home == f"{provider['options']['path']}/customer-certificates.json"
