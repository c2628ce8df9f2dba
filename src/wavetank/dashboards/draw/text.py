"""Text panels: Markdown and HTML as a tree of allowed elements.

No markup crosses to the browser as such: whatever is not on the list of elements stays text, scripts and
styles are dropped with their content, and links keep only harmless addresses. The Markdown read is what text
panels use: headings, lists, tables, quotes, code, emphasis, links, rules.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any, Final

from wavetank.dashboards.draw.canvas import safe_url

__all__ = ["rich_text"]

Rich = str | dict[str, Any]

_TAGS: Final = {
    "strong": "b",
    "em": "i",
    "del": "s",
    "center": "div",
    "font": "span",
    "section": "div",
    **{
        tag: tag
        for tag in [
            "p",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "ul",
            "ol",
            "li",
            "b",
            "i",
            "s",
            "code",
            "pre",
            "a",
            "hr",
            "br",
            "blockquote",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "span",
            "div",
        ]
    },
}
_DROPPED: Final = (
    "script",
    "style",
    "iframe",
    "object",
    "template",
    "noscript",
    "svg",
    "math",
    "title",
    "textarea",
)
_VOID: Final = ("br", "hr")
_DEPTH_MAX: Final = 40
_LENGTH_MAX: Final = 200_000

_INLINE: Final = re.compile(
    r"`([^`]+)`"
    r"|!?\[([^\]\[]*)\]\(\s*<?([^\s)>]+)>?(?:\s+[^)]*)?\)"
    r"|\*\*([^*]+)\*\*|__([^_]+)__"
    r"|\*([^*\s][^*]*)\*|(?<!\w)_([^_]+)_(?!\w)"
    r"|~~([^~]+)~~"
    r"|(https?://[^\s<>\"')\]]+)"
)


def rich_text(content: str, mode: str) -> list[Rich]:
    """The content of a text panel whose variables are filled in. ``mode`` is markdown, html or code."""
    content = content[:_LENGTH_MAX]
    if mode == "code":
        return [{"tag": "pre", "children": [content]}]
    if mode == "html":
        return _html(content)
    return _markdown(content)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root: dict[str, Any] = {"tag": "div", "children": []}
        self._open = [self.root]
        self._skipping = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipping:
            return
        if tag in _DROPPED:
            self._skipping = tag
            return
        name = _TAGS.get(tag)
        if name is None or len(self._open) >= _DEPTH_MAX:
            return
        node: dict[str, Any] = {"tag": name, "children": []}
        if name == "a":
            url = safe_url(dict(attrs).get("href") or "")
            if url:
                node["url"] = url
        self._open[-1]["children"].append(node)
        if name not in _VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if self._skipping:
            self._skipping = "" if tag == self._skipping else self._skipping
            return
        name = _TAGS.get(tag)
        for index in range(len(self._open) - 1, 0, -1):
            if self._open[index]["tag"] == name:
                del self._open[index:]
                break

    def handle_data(self, data: str) -> None:
        if not self._skipping and data:
            self._open[-1]["children"].append(data)


def _html(content: str) -> list[Rich]:
    reader = _Reader()
    reader.feed(content)
    reader.close()
    found: list[Rich] = reader.root["children"]
    return found


def _markdown(content: str) -> list[Rich]:
    out: list[Rich] = []
    lines = content.replace("\r\n", "\n").split("\n")
    index = 0
    while index < len(lines):
        index = _block(lines, index, out)
    return out


def _block(lines: list[str], index: int, out: list[Rich]) -> int:
    """Reads one block at ``index`` into ``out``; gives the line after it."""
    line = lines[index]
    stripped = line.strip()
    if not stripped:
        return index + 1
    if stripped.startswith("```"):
        return _fence(lines, index, out)
    if heading := re.match(r"(#{1,6})\s+(.*?)\s*#*$", stripped):
        out.append({"tag": f"h{len(heading[1])}", "children": _inline(heading[2])})
        return index + 1
    if re.fullmatch(r"([-*_])(\s*\1){2,}", stripped):
        out.append({"tag": "hr", "children": []})
        return index + 1
    if stripped.startswith("<") and re.match(r"</?[a-zA-Z]", stripped):
        return _taken(
            lines, index, lambda text: bool(text.strip()), lambda found: out.extend(_html("\n".join(found)))
        )
    if stripped.startswith(">"):

        def quote(found: list[str]) -> None:
            inner = "\n".join(re.sub(r"^\s*>\s?", "", text) for text in found)
            out.append({"tag": "blockquote", "children": [{"tag": "p", "children": _inline(inner)}]})

        return _taken(lines, index, lambda text: text.strip().startswith(">"), quote)
    if re.match(r"([-*+]|\d+[.)])\s+", stripped):
        return _list(lines, index, out)
    if (
        "|" in stripped
        and index + 1 < len(lines)
        and re.fullmatch(r"\|?[\s:|-]*-[\s:|-]*", lines[index + 1].strip())
    ):
        return _table(lines, index, out)
    return _taken(
        lines,
        index,
        _continues,
        lambda found: out.append({"tag": "p", "children": _inline("\n".join(found))}),
    )


def _continues(text: str) -> bool:
    return bool(text.strip()) and not re.match(r"\s*(#{1,6}\s|```|>|([-*+]|\d+[.)])\s)", text)


def _taken(lines: list[str], index: int, more: Any, use: Any) -> int:
    end = index + 1
    while end < len(lines) and more(lines[end]):
        end += 1
    use(lines[index:end])
    return end


def _fence(lines: list[str], index: int, out: list[Rich]) -> int:
    end = index + 1
    while end < len(lines) and not lines[end].strip().startswith("```"):
        end += 1
    out.append({"tag": "pre", "children": ["\n".join(lines[index + 1 : end])]})
    return end + 1


def _list(lines: list[str], index: int, out: list[Rich]) -> int:
    ordered = lines[index].strip()[0].isdigit()
    items: list[Rich] = []
    while index < len(lines):
        found = re.match(r"\s*(?:[-*+]|\d+[.)])\s+(.*)", lines[index])
        if not found:
            break
        items.append({"tag": "li", "children": _inline(found[1])})
        index += 1
    out.append({"tag": "ol" if ordered else "ul", "children": items})
    return index


def _table(lines: list[str], index: int, out: list[Rich]) -> int:
    def row(text: str, tag: str) -> Rich:
        cells = text.strip().strip("|").split("|")
        return {"tag": "tr", "children": [{"tag": tag, "children": _inline(cell.strip())} for cell in cells]}

    head = row(lines[index], "th")
    end = index + 2
    body: list[Rich] = []
    while end < len(lines) and "|" in lines[end]:
        body.append(row(lines[end], "td"))
        end += 1
    parts: list[Rich] = [{"tag": "thead", "children": [head]}, {"tag": "tbody", "children": body}]
    out.append({"tag": "table", "children": parts})
    return end


def _inline(text: str, depth: int = 0) -> list[Rich]:
    """Emphasis, code and links; HTML in between is read as HTML."""
    if depth > 6:
        return [text]
    out: list[Rich] = []
    end = 0
    for match in _INLINE.finditer(text):
        out += _plain(text[end : match.start()])
        out.append(_span(match, depth))
        end = match.end()
    return out + _plain(text[end:])


def _plain(text: str) -> list[Rich]:
    if not text:
        return []
    return _html(text) if "<" in text or "&" in text else [text]


def _span(match: re.Match[str], depth: int) -> Rich:
    code, label, url, bold, bold2, italic, italic2, struck, bare = match.groups()
    if code is not None:
        return {"tag": "code", "children": [code]}
    if url is not None or bare is not None:
        safe = safe_url(url or bare or "")
        children = _inline(label, depth + 1) if label else [bare or url or ""]
        return (
            {"tag": "a", "url": safe, "children": children} if safe else {"tag": "span", "children": children}
        )
    if struck is not None:
        return {"tag": "s", "children": _inline(struck, depth + 1)}
    strong = bold if bold is not None else bold2
    if strong is not None:
        return {"tag": "b", "children": _inline(strong, depth + 1)}
    return {"tag": "i", "children": _inline(italic if italic is not None else italic2 or "", depth + 1)}
