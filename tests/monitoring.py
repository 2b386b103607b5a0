"""The alarms and the dashboard of deploy/monitoring."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

FOLDER = Path(__file__).parents[1] / "deploy" / "monitoring"
ALARMS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads(
    (FOLDER / "grafana" / "dashboards" / "customer-certificates.json").read_text()
)
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
_OF_AGENT = "customer_certificates_sync_"


def _expressions() -> Iterator[str]:
    for rule in ALARMS:
        yield rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"]


_USED = {
    name
    for expression in _expressions()
    for name in re.findall(r"\bcustomer_certificates_\w+", expression)
}
OF_AGENTS = {name for name in _USED if name.startswith(_OF_AGENT)}
OF_SERVICE = _USED - OF_AGENTS


def names_in(exposition: str) -> set[str]:
    """Returns the names of the series in Prometheus' text format."""
    return {
        sample.name
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }
