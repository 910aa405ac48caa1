"""HTML pages as tests look at them."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Collects text and links; checks that elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.parts, self.links = [], [], []
        self.feed(text)
        assert not self.open
        # One file which needs nothing else.
        assert all(link.startswith(("#", "data:")) for link in self.links)

    @property
    def text(self):
        """All text with single spaces."""
        return " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href")]

    def handle_startendtag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.parts.append(data)
