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
URL = 'https://hooks.example.com/"><svg/onload=alert(1)>'

# Loads the pages, and returns of each: its path, its status, the markup that no page of the console
# has, and whether its text contains `text`.
LOAD = """
async ([paths, text]) => Promise.all(paths.map(async (path) => {
  const answer = await fetch(path);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const isHtml = answer.headers.get("content-type").startsWith("text/html");
  const found = [];
  for (const element of isHtml ? page.querySelectorAll("*") : []) {
    for (const {name, value} of element.attributes) {
      const isLink = ["href", "src", "action", "formaction"].includes(name);
      if (name.startsWith("on") || name === "style" || name.startsWith("hx-on") ||
          (isLink && !/^([/?#]|https?:)/.test(value))) found.push(`${name}=${value}`);
    }
    if (["IMG", "IFRAME", "OBJECT", "STYLE", "BASE"].includes(element.tagName) ||
        (element.tagName === "SCRIPT" && !element.src.includes("/console/static/")) ||
        (element.tagName === "svg" && !element.hasAttribute("viewBox"))) {
      found.push(element.outerHTML);
    }
  }
  return [path, answer.status, found, isHtml && page.documentElement.textContent.includes(text)];
}))
"""
