"""README and docs/ as a reader sees them: their commands, code, links and headings."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_CODE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)*)`")  # a span may be broken over lines
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Page:
    """A Markdown file of the project."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str) -> list[str]:
        """The fenced blocks of a language."""
        return [body for found, body in _FENCE.findall(self.text) if found == language]

    @cached_property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    @cached_property
    def code(self) -> list[str]:
        """What stands in `code` font, on one line each."""
        return [" ".join(span.split()) for span in _CODE.findall(self.prose)]

    @cached_property
    def commands(self) -> list[str]:
        """Every command that a reader may type: lines of `sh` blocks and code spans."""
        lines = [line.strip() for block in self.blocks("sh") for line in block.splitlines()]
        return [line for line in (*lines, *self.code) if line]

    def calls(self, program: str) -> list[list[str]]:
        """The words behind `program` in each command that runs it, variables before it aside."""
        found = []
        for command in self.commands:
            for part in command.split(" && "):
                bare = re.sub(r"^(\w+=\S+ )+", "", part)
                if bare.startswith(f"{program} "):
                    found.append(shlex.split(bare.removeprefix(program)))
        return found

    @cached_property
    def links(self) -> list[str]:
        """Targets of links and pictures."""
        return _LINK.findall(self.prose)

    @cached_property
    def anchors(self) -> set[str]:
        """What a link may name behind `#`, made of the headings as GitHub makes it."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.M)
        kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
        return {heading.replace(" ", "-") for heading in kept}


README = Page(ROOT / "README.md")
DOCS = [Page(path) for path in sorted((ROOT / "docs").glob("*.md"))]
PAGES = [README, *DOCS]
