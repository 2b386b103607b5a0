"""Texts that would run a script, or break a page, if a template did not escape them."""

IMAGE = "<img src=x onerror=alert(1)>"
TEXTS = (
    IMAGE,
    '"><script>alert(1)</script>',
    "' autofocus onfocus='alert(1)",
    "</textarea></title></style><svg/onload=alert(1)>",
    "{{7*7}}{% raw %}${7*7}",
    "javascript:alert(1)",
    "\u202etxt.exe <!--",
    "&lt;b&gt;",
)
# Within the limit of most fields.
TEXT = " ".join(TEXTS)[:200]
# Within the limit of a common name.
NAME = "'\"><img src=x onerror=alert(1)>"
# Elements and attributes that no page has.
INJECTED = (
    "[onerror], [onload], [onfocus], [onmouseover], [hx-on], img[src=x], main script, "
    "a[href^='javascript:'], form[action^='javascript:'], [style]"
)
