"""Draws the pictures of README, each for a light and for a dark page.

python -m checks.pictures
"""

import os
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path
from string import Template

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
_THEMES = {
    "light": {
        "text": "#1f2328",
        "soft": "#59636e",
        "line": "#818b98",
        "box": "#f6f8fa",
        "border": "#d1d9e0",
        "accent": "#0969da",
        "fill": "#ddf4ff",
        "store": "#ffffff",
    },
    "dark": {
        "text": "#f0f6fc",
        "soft": "#9198a1",
        "line": "#656c76",
        "box": "#151b23",
        "border": "#3d444d",
        "accent": "#4493f8",
        "fill": "#121d2f",
        "store": "#0d1117",
    },
}
_COLUMNS = 104
_ANSI = [(0, 0, 0), (207, 34, 46), (26, 127, 55), (154, 103, 0), (9, 105, 218), (130, 80, 223)]
_BRIGHT = [
    (0, 0, 0),
    (255, 123, 114),
    (63, 185, 80),
    (210, 153, 34),
    (88, 166, 255),
    (188, 140, 255),
]
_TERMINALS = {
    "light": TerminalTheme(
        (246, 248, 250),
        (31, 35, 40),
        [*_ANSI, (27, 124, 131), (110, 119, 129)],
        [*_ANSI, (27, 124, 131), (110, 119, 129)],
    ),
    "dark": TerminalTheme(
        (21, 27, 35),
        (240, 246, 252),
        [*_BRIGHT, (57, 197, 207), (177, 186, 196)],
        [*_BRIGHT, (57, 197, 207), (177, 186, 196)],
    ),
}
_TENANTS = (
    ("Tenant A", "shop.example"),
    ("Tenant B", "*.cafe.example"),
    ("Tenant C", "api.example"),
)
_TERMINATORS = (
    ("nginx", "files, no reload to renew"),
    ("HAProxy", "runtime socket"),
    ("Caddy", "asks at the handshake"),
    ("Traefik", "polls the configuration"),
    ("Envoy and others", "PEM files"),
)
_STEPS = ("validate", "check ownership", "encrypt the key", "record")
_OVERVIEW = Template("""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 372" width="860" height="372" role="img"
  font-family="-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif" font-size="14">
<title>Tenants upload certificates to the API. Terminators fetch the active ones.</title>
<defs>
  <marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"
    markerHeight="8" orient="auto">
    <path d="M0 1 9 5 0 9z" fill="$line"/>
  </marker>
</defs>
<g fill="none" stroke="$line" stroke-width="1.5">$arrows</g>
$boxes
</svg>
""")


def _text(x: float, y: float, text: str, fill: str, extra: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{fill}" {extra}>{text}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str, border: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8" '
        f'fill="{fill}" stroke="{border}"/>'
    )


def _overview(theme: dict[str, str]) -> str:
    middle, centered = 'text-anchor="middle"', 'text-anchor="middle" font-weight="600"'
    boxes: list[str] = []
    arrows: list[str] = []
    for column, x in (("Your customers", 91), ("Customer Certificates", 415), ("Your edge", 752)):
        boxes.append(_text(x, 22, column, theme["soft"], f'{middle} font-size="13"'))
    for number, (name, hostname) in enumerate(_TENANTS):
        y = 66 + number * 88
        boxes.append(_box(8, y, 166, 56, theme["box"], theme["border"]))
        boxes.append(_text(91, y + 24, name, theme["text"], centered))
        boxes.append(_text(91, y + 43, hostname, theme["soft"], f'{middle} font-size="12"'))
        arrows.append(_arrow(174, y + 28, 278, 182 + (number - 1) * 22))
    boxes.append(_text(226, 42, "certificate", theme["soft"], f'{middle} font-size="12"'))
    boxes.append(_text(226, 57, "and key", theme["soft"], f'{middle} font-size="12"'))
    boxes.append(_box(280, 40, 270, 236, theme["fill"], theme["accent"]))
    boxes.append(_text(415, 68, "JSON API", theme["accent"], f'{centered} font-size="17"'))
    for number, step in enumerate(_STEPS):
        y = 86 + number * 44
        boxes.append(_box(316, y, 198, 32, theme["store"], theme["border"]))
        boxes.append(_text(415, y + 21, step, theme["text"], middle))
        if number:
            boxes.append(
                f'<path d="M415 {y - 12}V{y - 2}" stroke="{theme["line"]}" stroke-width="1.5" '
                'marker-end="url(#arrow)"/>'
            )
    boxes.append(_box(280, 312, 270, 48, theme["box"], theme["border"]))
    boxes.append(_text(415, 341, "PostgreSQL and Redis, or SQLite", theme["text"], middle))
    arrows.append(_arrow(415, 276, 415, 310))
    boxes.append(_box(8, 330, 166, 30, theme["box"], theme["border"]))
    boxes.append(_text(91, 350, "webhooks and email", theme["text"], middle))
    arrows.append(
        '<path d="M280 256C226 256 232 345 176 345" stroke-dasharray="4 4" '
        'marker-end="url(#arrow)"/>'
    )
    for number, (name, how) in enumerate(_TERMINATORS):
        y = 40 + number * 65
        boxes.append(_box(652, y, 200, 52, theme["box"], theme["border"]))
        boxes.append(_text(752, y + 22, name, theme["text"], centered))
        boxes.append(_text(752, y + 40, how, theme["soft"], f'{middle} font-size="12"'))
        arrows.append(_arrow(550, 158 + (number - 2) * 18, 650, y + 26))
    boxes.append(_text(598, 42, "active", theme["soft"], f'{middle} font-size="12"'))
    boxes.append(_text(598, 57, "certificates", theme["soft"], f'{middle} font-size="12"'))
    return _OVERVIEW.substitute(theme, arrows="".join(arrows), boxes="\n".join(boxes))


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    half = (x + to_x) / 2
    path = f"M{x:g} {y:g}C{half:g} {y:g} {half:g} {to_y:g} {to_x:g} {to_y:g}"
    return f'<path d="{path}" marker-end="url(#arrow)"/>'


def _inspected() -> str:
    """Returns what `inspect` prints, in color, of a certificate with a few faults."""
    with tempfile.TemporaryDirectory() as folder:
        make = (
            "openssl req -x509 -newkey rsa:2048 -nodes -days 900 -subj /CN=shop.example.com "
            "-addext subjectAltName=DNS:shop.example.com -keyout old-key.pem -out shop.pem && "
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem"
        )
        subprocess.run(["sh", "-c", make], cwd=folder, check=True, capture_output=True)
        command = Path(sys.executable).with_name("customer-certificates")
        return subprocess.run(
            [command, "inspect", "shop.pem", "key.pem"],
            cwd=folder,
            env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(_COLUMNS), "TERM": "xterm"},
            check=False,  # It ends with 1, as it finds errors.
            capture_output=True,
            text=True,
        ).stdout


def _capture(output: str, theme: TerminalTheme) -> str:
    console = Console(record=True, width=_COLUMNS, file=StringIO(), force_terminal=True)
    console.print("[bold]$ customer-certificates inspect shop.pem key.pem[/bold]")
    console.print(Text.from_ansi(output))
    return console.export_svg(title="", theme=theme, unique_id="inspect")


if __name__ == "__main__":
    inspected = _inspected()
    for name, theme in _THEMES.items():
        (_IMAGES / f"overview-{name}.svg").write_text(_overview(theme))
        (_IMAGES / f"inspect-{name}.svg").write_text(_capture(inspected, _TERMINALS[name]))
