"""The reader of pages, on pages made for it: a block or a link that it overlooked would never be checked."""

from __future__ import annotations

from pathlib import Path

from .pages import Block, anchors, blocks, broken_links, links


def _page(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_blocks_come_in_order_with_language_and_line(tmp_path: Path) -> None:
    """A block inside a list counts too, an indented one without a fence does not."""
    page = _page(
        tmp_path, "# A\n\n```python\nx = 1\n```\n\n- b\n\n  ```console\n  $ ls\n  ```\n\n```\nplain\n```\n\n    code\n"
    )
    assert blocks(page) == [Block("python", "x = 1\n", 4), Block("console", "$ ls\n", 10), Block("", "plain\n", 14)]


def test_a_page_without_blocks_has_none(tmp_path: Path) -> None:
    """Nothing is nothing, not an error."""
    page = _page(tmp_path, "just text\n")
    assert (blocks(page), links(page), anchors(page)) == ([], [], set())


def test_a_block_can_show_a_file(tmp_path: Path) -> None:
    """Named after the language, which stays the first word."""
    page = _page(tmp_path, "```json file=a.json\n1\n```\n\n```json profile=a\n2\n```\n")
    assert blocks(page) == [Block("json", "1\n", 2, "a.json"), Block("json", "2\n", 6)]


def test_commands_are_those_that_run_holdstate_with_their_continued_lines() -> None:
    """Output and other programs are left alone, and scripts that are not in the folder of the page."""
    ours = [
        "holdstate doctor",
        "holdstate run \\\n    --json a",
        "python -m holdstate --version",
        "python -m pytest a",
        "python a.py b",
    ]
    others = ["holdstates", "python -m holdstates", "python examples/a.py"]
    content = "".join(f"$ {command}\nok\n" for command in ["ls", *ours, *others])
    assert Block("console", content, 1).commands() == ours


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    """A missing file, a missing heading, and a file outside the project are broken; another site is not asked."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.md").write_text("", encoding="utf-8")
    text = (
        "# One `two`: three\n\n# Again\n\n# Again\n\n[a](page.md) [b](#one-two-three) [c](page.md#again-1) [d](https://example.com)\n"
        "![e](none.svg) [f](#no) [g](../outside.md)\n\n| [h](none.md) |\n| --- |\n"
    )
    assert broken_links(_page(root, text), root) == ["none.svg", "#no", "../outside.md", "none.md"]
