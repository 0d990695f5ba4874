"""What every page has to keep: one file, no network, texts for what is drawn, no markup from names."""

import re
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "img", "br", "line", "rect", "circle", "polyline", "path", "animate", "animatetransform"}


class _Checker(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "img" and not (given.get("alt") and given.get("src", "").startswith("data:image/")):
            self.faults.append(f"a picture without a text or from outside: {str(given)[:80]}")
        if tag == "svg" and not given.get("aria-label"):
            self.faults.append("a drawing without a text")
        if tag in ("script", "link", "iframe", "object"):
            self.faults.append(f"a <{tag}>")

    def handle_startendtag(self, tag, attributes):
        if tag == "img":
            self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        if tag not in _VOID and (not self.open or self.open.pop() != tag):
            self.faults.append(f"</{tag}> closes nothing")


def check_page(path: Path) -> str:
    """The page's text, after what has to hold of every page."""
    content = path.read_text(encoding="utf-8")
    checker = _Checker()
    checker.feed(content)
    assert checker.faults == [] and checker.open == []
    assert not re.search(r"""(?:src|href)=["'](?!data:image/|#)""", content), "asks for something outside the page"
    assert "url(" not in content and "@import" not in content
    assert 'name="viewport"' in content and 'lang="en"' in content
    return content
