"""Texts on one line: markup dropped, entities unescaped, blanks collapsed, NFC."""

from __future__ import annotations

import html
import re
import unicodedata
from contextlib import suppress
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.readers.ids import composed
from lmm4rec.catalogue.readers.layout import Texts, flat

_SPACE = re.compile(r"\s+")
_LETTERS_FOR_BREAKS = re.compile(r"\\[ntr]")  # as shops write them into their exports
# Between these stands a blank where nothing else does; <b> and <i> stand inside words.
_INLINE = frozenset((
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins",
    "kbd", "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u",
    "var", "wbr",
))  # fmt: skip
_UNSEEN = frozenset(("script", "style"))
_ODD = r"[<&\\\x00-\x08\x0e-\x1f\x7f-\x{85}]"  # what the engine's own means do not clean
_ANY_TAG = re.compile(r"<[a-zA-Z/!?][^<>]*>")
_TAG = re.compile(r"<[a-zA-Z/!?]")
_MOST_TAGS = 2_000  # of one text: the parser's time grows with the square of those that stay open
_SCRIPT = re.compile(
    r"<\s*(?i:script|style)\b|\bfunction\s*\w*\s*\(|\bvar\s+\w+\s*=|\bdocument\.\w+|\bwindow\.\w+"
    r"|\.getTime\(\)|\bP\.when\(|\bjQuery\b|[.#]?[\w-]+\s*\{\s*[\w-]+\s*:[^{}]*;[^{}]*\}",
)


def clean_texts(column: Texts) -> pa.Array:
    """Each text on one line, without tags, script and style; null stays null, "" may come out.

    "5 < 10 km/h" is no tag. The two letters \\n and \\t are blanks.
    """
    texts = flat(column)
    collapsed = pc.utf8_trim_whitespace(
        pc.replace_substring_regex(texts, r"[\s\pZ\x0b\x1c-\x1f\x{85}]+", " ")
    )
    is_odd = pc.fill_null(
        pc.match_substring_regex(texts, r"[<&\\\x00-\x08\x0e-\x1f\x7f-\x{85}]"), False
    )
    normal = composed(collapsed)
    if not pc.any(is_odd, min_count=0).as_py():
        return normal
    cleaned = pa.array([clean_text(text) for text in texts.filter(is_odd).to_pylist()], pa.string())
    return pc.replace_with_mask(normal, is_odd, cleaned)


def clean_text(text: str) -> str:
    """One text, as `clean_texts` has it."""
    text = _LETTERS_FOR_BREAKS.sub(" ", text)
    if "<" in text or "&" in text:
        text = _without_markup(text)
    return unicodedata.normalize("NFC", _SPACE.sub(" ", text).strip())


def is_script(text: str) -> bool:
    """Whether a title is a program or a style sheet, as in some lines of Amazon's 2018 metadata.

    >>> is_script("var aPageStart = (new Date()).getTime();")
    True
    >>> is_script('<span class="a-size-large">Garden Gnome Ole</span>')
    False
    """
    return _SCRIPT.search(text) is not None


def _without_markup(text: str) -> str:
    if not _TAG.search(text):
        return _unescaped(text)
    if text.count("<") > _MOST_TAGS:
        return _unescaped(_ANY_TAG.sub(" ", text))
    reader = _Reader()
    # an entity's number has more digits than Python reads, or a declaration is none
    with suppress(ValueError, AssertionError):
        reader.feed(text)
        reader.close()
        return "".join(reader.found)
    return _unescaped(_ANY_TAG.sub(" ", text))


def _unescaped(text: str) -> str:
    with suppress(ValueError):  # an entity's number has more digits than Python reads
        return html.unescape(text)
    return text


class _Reader(HTMLParser):
    """Collects what a page would show."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        self._blank(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(self._unseen - 1, 0)
        self._blank(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._blank(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.found.append(data)

    def _blank(self, tag: str) -> None:
        if tag not in _INLINE:
            self.found.append(" ")
