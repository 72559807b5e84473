"""The code on docs/clusters.md, by the headings that it stands under."""

import pathlib
import re
import textwrap

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "clusters.md"


def blocks():
    """Return `[(headings, code), ...]`, the headings joined by "/"."""
    found, headings, code = [], {}, []
    for line in [*PAGE.read_text(encoding="utf-8").splitlines(), "# "]:
        if line.startswith("    ") or (code and not line):
            code.append(line)
            continue
        if code:
            text = textwrap.dedent("\n".join(code)).strip() + "\n"
            found.append(("/".join(headings.values()), text))
            code = []
        heading = re.match(r"(#+) (.*)", line)
        if heading:
            level = len(heading[1])
            headings = {n: h for n, h in headings.items() if n < level}
            headings[level] = heading[2]
    return found


def block(*headings):
    """Return the only code below headings."""
    [code] = [
        code
        for there, code in blocks()
        if there.split("/")[-len(headings) :] == list(headings)
    ]
    return code
