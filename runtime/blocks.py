"""Content blocks: text, and images inline or by reference to a stored blob."""

from __future__ import annotations

from typing import TypeAlias, final

from attrs import frozen


@final
@frozen
class TextBlock:
    """A piece of text."""

    text: str


@final
@frozen
class ImageBlock:
    """An image, with exactly one of ``data`` (its bytes) and ``blob`` (``sha256:`` and 64 lower-case hex digits)."""

    media_type: str
    data: bytes | None = None
    blob: str | None = None


Block: TypeAlias = TextBlock | ImageBlock
