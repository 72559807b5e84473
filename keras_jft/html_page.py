"""A page made of blocks, written as one HTML file and as Markdown.

Blocks hold plain text, which is escaped on writing.
"""

import base64
import html
import io
import json
import re
from typing import NamedTuple

from keras_jft import files
from keras_jft.text import printable

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e;
  --paper: #ffffff; --card: #f6f8fa; --line: #d1d9e0; --accent: #0072b2;
  --yes: #1a7f37; --no: #b42318; --open: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1;
  --paper: #0d1117; --card: #161b22; --line: #3d444d; --accent: #56b4e9;
  --yes: #3fb950; --no: #ff7b72; --open: #e3b341; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 0.6rem; padding-bottom: 0.2rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2rem 0 0.3rem; }
ul { padding-left: 1.2rem; margin: 0.4rem 0; }
.cards, .pictures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.card { background: var(--card); border: 1px solid var(--line);
  border-left: 0.3rem solid var(--tone); border-radius: 0.4rem;
  padding: 0.8rem 1rem; }
.card h3 { margin: 0; color: var(--soft); font-weight: 600; }
.card, .explorer { --tone: var(--accent); }
.yes { --tone: var(--yes) !important; }
.no { --tone: var(--no) !important; }
.open { --tone: var(--open) !important; }
.verdict { display: inline-block; color: var(--tone); font-weight: 700;
  border: 2px solid var(--tone); border-radius: 1rem; padding: 0 0.7rem;
  margin: 0.3rem 0; }
.verdict::first-letter { text-transform: uppercase; }
.lead { font-size: 1.1rem; font-weight: 600; margin: 0.2rem 0 0.4rem; }
.explorer { background: var(--card); border: 1px solid var(--line);
  border-left: 0.3rem solid var(--tone); border-radius: 0.4rem;
  padding: 0.8rem 1rem; margin: 1rem 0; }
.explorer .controls { display: grid; gap: 0.6rem 1.2rem; margin: 0.6rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 13rem), 1fr)); }
.explorer label { display: block; font-size: 0.9rem; }
.explorer :is(input, select) { display: block; width: 100%; font: inherit;
  accent-color: var(--accent); }
.explorer [hidden] { display: none; }
.explorer svg { display: block; max-width: 100%; height: auto; }
.explorer text { fill: var(--soft); font-size: 12px; }
.explorer .axis { stroke: var(--line); }
.explorer .curve { fill: none; stroke: var(--accent); stroke-width: 2; }
.explorer .band { fill: var(--accent); opacity: 0.15; }
.explorer .run { fill: var(--accent); opacity: 0.45; }
.explorer .mean { fill: var(--accent); }
.explorer .enough { stroke: var(--soft); stroke-dasharray: 5 4; }
.explorer .chosen { stroke: var(--tone); fill: var(--tone); stroke-width: 3; }
.card ul { font-size: 0.9rem; }
figure { margin: 0; max-width: 36rem; }
/* Figures are drawn for white paper. */
figure img { width: 100%; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: 0.4rem; padding: 0.5rem; }
.gallery { display: flex; flex-wrap: wrap; gap: 0.5rem; }
.gallery figure { width: 6rem; }
.gallery img { padding: 0; aspect-ratio: 1; object-fit: contain; }
.gallery figcaption { font-size: 0.75rem; line-height: 1.25; }
figcaption, .note { color: var(--soft); font-size: 0.9rem; }
.note { margin: 1rem 0 0.3rem; }
.scroll { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-size: 0.9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line);
  text-align: right; white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-weight: 600; }
table.words :is(th, td) { text-align: left; white-space: normal; }
pre { overflow-x: auto; background: var(--card); padding: 0.8rem;
  border: 1px solid var(--line); border-radius: 0.4rem; font-size: 0.8rem; }
summary { cursor: pointer; }
@media (max-width: 40rem) { td:first-child { white-space: normal; } }
@media print { .card, figure { break-inside: avoid; }
  .explorer { display: none; } .scroll { overflow: visible; }
  table { font-size: 0.7rem; } th, td { padding: 0.2rem 0.35rem; }
  pre { white-space: pre-wrap; } }
"""


class Heading(NamedTuple):
    """A heading of a section (`level` 2) or of a part of it (3)."""

    text: str
    level: int = 2


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Bullets(NamedTuple):
    """A list of sentences."""

    items: tuple[str, ...]


class Card(NamedTuple):
    """One answer: its title, verdict, main number, and lines of detail.

    `tone` colors the verdict: `"yes"`, `"no"`, `"open"`, or none.
    """

    title: str
    verdict: str
    lead: str
    lines: tuple[str, ...]
    tone: str = ""


class Cards(NamedTuple):
    """Cards side by side, or one below the other on a phone."""

    cards: tuple[Card, ...]


class Table(NamedTuple):
    """Rows of cells under a head; cells of `words` may wrap."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: bool = False


class Picture(NamedTuple):
    """An SVG image and a caption that says what it shows."""

    svg: bytes
    text: str


class Pictures(NamedTuple):
    """Pictures side by side, or one below the other on a phone."""

    pictures: tuple[Picture, ...]


class Thumbnail(NamedTuple):
    """A small JPEG image and a caption that says what it shows."""

    jpeg: bytes
    text: str


class Gallery(NamedTuple):
    """Small pictures in rows that wrap."""

    caption: str
    thumbnails: tuple[Thumbnail, ...]


class Live(NamedTuple):
    """Data that a script of ours makes controls of.

    The script finds the data as JSON in a hidden `<section>` of the class
    `name`. Without JavaScript, and in Markdown, there is nothing. It must set
    texts, never HTML, since names of users are among the data.
    """

    name: str
    data: dict
    script: str


class Code(NamedTuple):
    """Preformatted text, folded away under a title."""

    title: str
    text: str


def drawable(text):
    """Return a name such that Matplotlib draws it as text, not as a formula.

    Dollar signs are escaped. Letters that are missing from all fonts in
    `matplotlib.rcParams["font.family"]` become escapes, as Matplotlib would
    draw the same empty box for each.

    Args:
        text: A string.

    Example:

    >>> print(drawable("5 $, 猫"))
    5 \\$, \\u732b
    """
    from matplotlib import font_manager, rcParams
    from matplotlib.font_manager import FontProperties

    fonts = [
        font_manager.get_font(font_manager.findfont(FontProperties(family=[f])))
        for f in rcParams["font.family"]
    ]
    return "".join(
        letter
        if letter.isspace() or any(f.get_char_index(ord(letter)) for f in fonts)
        else letter.encode("ascii", "backslashreplace").decode()
        for letter in printable(text)
    ).replace("$", r"\$")


def svg_of(figure):
    """Return the SVG of a Matplotlib figure, the same bytes each time.

    Args:
        figure: The figure; it is closed.
    """
    import matplotlib.pyplot as plt

    drawn = io.BytesIO()
    with plt.rc_context({"svg.hashsalt": "keras_jft"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    plt.close(figure)
    return drawn.getvalue()


def write(path, title, blocks):
    """Write a page, and the Markdown that says the same beside it.

    Args:
        path: Where the page goes, `*.html`; its folder is created if needed.
        title: The title of the page, which is also its first heading.
        blocks: The blocks, in order.

    Returns:
        The paths of both files.

    Raises:
        ValueError: `path` is not `*.html`.
    """
    path = check_path(path)
    text = path.with_suffix(".md")
    for file, render in ((path, to_html), (text, to_markdown)):
        files.write_bytes(file, printable(render(title, blocks)).encode())
    return path, text


def check_path(path):
    """Return the path of a page, as `files.as_path` does.

    Args:
        path: Where a page goes.

    Raises:
        ValueError: `path` is not `*.html`.
    """
    if not str(path).lower().endswith((".html", ".htm")):
        raise ValueError(
            f"`path` must name an HTML file, *.html. Received: {path!r}."
        )
    return files.as_path("path", path, "page.html")


def to_html(title, blocks):
    """Return one HTML page that needs no other file.

    Args:
        title: The title of the page, which is also its first heading.
        blocks: The blocks, in order.
    """
    body = "\n".join(_HTML[type(block)](block) for block in blocks)
    # Each script once, after all that it looks for.
    scripts = {
        block.script: None for block in blocks if isinstance(block, Live)
    }
    body += "".join(f"\n<script>\n{script}</script>" for script in scripts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n"
        f"</head>\n<body>\n<h1>{html.escape(title)}</h1>\n{body}\n</body>\n"
        "</html>\n"
    )


def to_markdown(title, blocks):
    """Return the same page as Markdown, without the pictures.

    Args:
        title: The title of the page, which is its first heading.
        blocks: The blocks, in order.
    """
    parts = [f"# {_plain(title)}"]
    parts += [_MARKDOWN[type(block)](block) for block in blocks]
    return "\n\n".join(filter(None, parts)) + "\n"


# === HTML ===


def _tag(name, text, kind=""):
    kind = f' class="{kind}"' if kind else ""
    return f"<{name}{kind}>{html.escape(text)}</{name}>"


def _list_html(items):
    return "<ul>" + "".join(_tag("li", item) for item in items) + "</ul>"


def _cards_html(block):
    cards = "\n".join(
        f'<article class="{f"card {card.tone}".strip()}">'
        + _tag("h3", card.title)
        + _tag("p", card.verdict, "verdict")
        + _tag("p", card.lead, "lead")
        + _list_html(card.lines)
        + "</article>"
        for card in block.cards
    )
    return f'<div class="cards">\n{cards}\n</div>'


def _table_html(block):
    head = "".join(f'<th scope="col">{html.escape(h)}</th>' for h in block.head)
    rows = "\n".join(
        "<tr>" + "".join(_tag("td", cell) for cell in row) + "</tr>"
        for row in block.rows
    )
    kind = ' class="words"' if block.words else ""
    return (
        f"{_tag('p', block.caption, 'note')}\n"
        # A scrolling region needs a name and must be reachable by keyboard.
        f'<div class="scroll" role="region" tabindex="0" '
        f'aria-label="{html.escape(block.caption)}"><table{kind}>'
        f"<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _pictures_html(block):
    pictures = "\n".join(
        '<figure><img src="data:image/svg+xml;base64,'
        f'{base64.b64encode(picture.svg).decode()}" '
        f'alt="{html.escape(picture.text)}">'
        f"{_tag('figcaption', picture.text)}</figure>"
        for picture in block.pictures
    )
    return f'<div class="pictures">\n{pictures}\n</div>'


def _live_html(block):
    data = json.dumps(block.data, allow_nan=False)
    for sign in "<>&":  # Nothing within may end the element.
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    return (
        f'<section class="{block.name}" hidden>'
        f'<script type="application/json">{data}</script></section>'
    )


def _gallery_html(block):
    thumbnails = "\n".join(
        '<figure><img src="data:image/jpeg;base64,'
        f'{base64.b64encode(thumbnail.jpeg).decode()}" '
        f'alt="{html.escape(thumbnail.text)}">'
        f"{_tag('figcaption', thumbnail.text)}</figure>"
        for thumbnail in block.thumbnails
    )
    return (
        f"{_tag('p', block.caption, 'note')}\n"
        f'<div class="gallery">\n{thumbnails}\n</div>'
    )


_HTML = {
    Heading: lambda b: _tag(f"h{b.level}", b.text),
    Text: lambda b: _tag("p", b.text),
    Bullets: lambda b: _list_html(b.items),
    Cards: _cards_html,
    Table: _table_html,
    Pictures: _pictures_html,
    Gallery: _gallery_html,
    Live: _live_html,
    Code: lambda b: (
        f"<details>{_tag('summary', b.title)}{_tag('pre', b.text)}</details>"
    ),
}


# === Markdown ===


def _plain(text):
    """Return `text` on one line, with Markdown's own signs escaped."""
    text = " ".join(text.split())
    # An underscore within a word has no meaning in Markdown.
    return re.sub(r"([\\`*{}\[\]<>#|~]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _list_markdown(items):
    return "\n".join(f"- {_plain(item)}" for item in items)


def _card_markdown(card):
    return (
        f"### {_plain(card.title)}: {_plain(card.verdict)}\n\n"
        f"**{_plain(card.lead)}**\n\n{_list_markdown(card.lines)}"
    )


def _table_markdown(block):
    head, *rows = [
        "| " + " | ".join(map(_plain, row)) + " |"
        for row in (block.head, *block.rows)
    ]
    side = " --- |" if block.words else " ---: |"
    rule = "| --- |" + side * (len(block.head) - 1)
    return "\n".join([f"{_plain(block.caption)}:", "", head, rule, *rows])


def _gallery_markdown(block):
    shown = _list_markdown(t.text for t in block.thumbnails)
    return f"{_plain(block.caption)}:\n\n{shown}"


def _code_markdown(block):
    longest = max(map(len, re.findall("`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{_plain(block.title)}:\n\n{fence}\n{block.text}\n{fence}"


_MARKDOWN = {
    Heading: lambda b: f"{'#' * b.level} {_plain(b.text)}",
    Text: lambda b: _plain(b.text),
    Bullets: lambda b: _list_markdown(b.items),
    Cards: lambda b: "\n\n".join(map(_card_markdown, b.cards)),
    Table: _table_markdown,
    Pictures: lambda b: _list_markdown(p.text for p in b.pictures),
    Gallery: _gallery_markdown,
    Live: lambda b: "",
    Code: _code_markdown,
}
