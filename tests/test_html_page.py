"""Blocks become HTML and Markdown that say the same, whatever they say."""

import base64
import html.parser
import json
import xml.etree.ElementTree

import markdown_it
import pytest

from keras_jft import html_page

# What HTML, Markdown or a table cell would read as theirs.
NASTY = (
    "<script>alert('1')</script> & \"a|b\" *c* _d_ `e` [f](g) #h ~i~ {j} \\k"
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><g/></svg>'
BLOCKS = [
    html_page.Heading(NASTY),
    html_page.Text(NASTY),
    html_page.Bullets((NASTY, "second")),
    html_page.Cards((html_page.Card(NASTY, NASTY, NASTY, (NASTY,)),)),
    html_page.Table(NASTY, ("", NASTY), ((NASTY, "1"), ("2", NASTY))),
    html_page.Table(NASTY, ("a", "b"), (("1", NASTY),), words=True),
    html_page.Pictures((html_page.Picture(SVG, NASTY),)),
    html_page.Gallery(NASTY, (html_page.Thumbnail(b"\xff\xd8", NASTY),)),
    html_page.Code(NASTY, "```\n" + NASTY),
]
LIVE = html_page.Live("explorer", {"a": NASTY}, "/* moves */")
VOID = {"meta", "img", "br", "hr"}


class Reader(html.parser.HTMLParser):
    """Text and tags of a page; insists that tags close in order."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text, self.attributes = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def test_texts_of_a_block_are_escaped():
    read = Reader(html_page.to_html(NASTY, BLOCKS))
    assert "script" not in read.tags
    # Two titles, one in all other blocks but for: cards 4, tables 4 and 2,
    # gallery 2.
    assert sum(NASTY in text for text in read.text) == 20
    alternatives = [
        v for t, k, v in read.attributes if (t, k) == ("img", "alt")
    ]
    assert alternatives == [NASTY] * 2


def test_markdown_reads_as_the_same_text():
    parser = markdown_it.MarkdownIt("commonmark").enable("table")
    read = Reader(parser.render(html_page.to_markdown(NASTY, BLOCKS)))
    assert "script" not in read.tags and "em" not in read.tags
    assert "a" not in read.tags
    assert read.tags.count("table") == 2
    assert read.tags.count("pre") == 1
    # One title less than in HTML; captions and alternatives count as well.
    assert "".join(read.text).count(NASTY) == 19


def test_data_of_a_script_cannot_end_it_or_become_html():
    page = html_page.to_html("a", [LIVE, LIVE])
    read = Reader(page)
    # The data twice, the script once.
    assert read.tags.count("script") == 3
    data, again, script = (t for t in read.text if t.strip() and t != "a")
    assert data == again and "<" not in data and "&" not in data
    assert json.loads(data) == {"a": NASTY}
    assert script.strip() == "/* moves */"
    assert ("section", "hidden", None) in read.attributes
    assert html_page.to_markdown("a", [LIVE]) == "# a\n"


def test_a_page_needs_no_other_file_and_suits_a_phone():
    page = html_page.to_html("a", BLOCKS)
    read = Reader(page)
    assert {"link", "script", "iframe"}.isdisjoint(read.tags)
    assert "url(" not in page and "@import" not in page
    assert ("meta", "name", "viewport") in read.attributes
    content = "width=device-width, initial-scale=1"
    assert ("meta", "content", content) in read.attributes
    assert "prefers-color-scheme: dark" in page
    sources = [v for tag, key, v in read.attributes if key == "src"]
    source, small = sources
    assert small.startswith("data:image/jpeg;base64,")
    kind, _, data = source.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data) == SVG
    xml.etree.ElementTree.fromstring(base64.b64decode(data))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda b: type(b).__name__)
def test_tables_scroll_by_themselves(block):
    read = Reader(html_page.to_html("a", [block]))
    scrolling = ("div", "class", "scroll") in read.attributes
    assert scrolling == ("table" in read.tags)
    assert (("div", "tabindex", "0") in read.attributes) == scrolling
