"""A disk with a volatile cache: which contents one file may have after the power was cut.

Each sector of 512 bytes has one durable content and those written since the last sync; after a cut it holds any of
them, whatever the others do. The length may be behind or ahead of the data, and what was never written inside it reads
as zeros or as junk. A cut between whole pages of 4096 bytes is one of these states, and is drawn as often.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import product
from random import Random
from typing import Final, TypeAlias, final

from attrs import frozen

SECTOR: Final = 512
_PAGE: Final = 4096
_DIGEST_BYTES: Final = 12

Picks: TypeAlias = dict[int, int]
"""Sector to the place of one of its contents that are not durable; a sector that is not named has its durable one."""


@final
@frozen
class Image:
    """One content of the file: ``base``, over it ``kept`` pieces, and between zeros (``fill`` 0) or junk."""

    base: bytes
    kept: tuple[tuple[int, bytes], ...]
    length: int
    fill: int = 0
    written: int = 0
    """Below this offset the base holds; above it and outside of ``kept`` nothing was ever written."""

    def content(self) -> bytes:
        """The bytes, without the zeros that ``length`` adds at their end."""
        content = bytearray(self.base[: self.length])
        end = max([offset + len(data) for offset, data in self.kept], default=0)
        if self.fill and self.length > self.written:
            content.extend(bytes(max(0, self.written - len(content))))
            content.extend(Random(self.fill).randbytes(self.length - len(content)))
        elif end > len(content):
            content.extend(bytes(end - len(content)))
        for offset, data in self.kept:
            content[offset : offset + len(data)] = data
        return bytes(content)


@final
class Disk:
    """The one file that is written: what is durable, and what is not yet."""

    def __init__(self) -> None:
        self._durable = bytearray()
        self._durable_length = 0
        self._latest = bytearray()
        self._length = 0
        self._pending: dict[int, list[bytes]] = {}
        self._base = b""
        self._name = b""
        self._freeze()

    @property
    def is_settled(self) -> bool:
        """Whether a cut can leave one state only."""
        return not self._pending and self._length == self._durable_length

    def write(self, offset: int, data: bytes, size: int) -> list[int]:
        """``data`` and zeros up to ``size``, not synced. Returns the sectors. Zeros beyond the end only lengthen."""
        end = offset + (len(data) if offset + len(data) >= len(self._latest) else size)
        if end > len(self._latest):
            self._latest.extend(bytes(end - len(self._latest)))
        self._latest[offset:end] = data + bytes(end - offset - len(data))
        self._length = max(self._length, offset + size)
        sectors = list(range(offset // SECTOR, -(-end // SECTOR)))
        for sector in sectors:
            content = bytes(self._latest[sector * SECTOR : (sector + 1) * SECTOR]).ljust(SECTOR, b"\0")
            versions = self._pending.setdefault(sector, [])
            if content != (versions[-1] if versions else self._durable_sector(sector)):
                versions.append(content)
            if not versions:
                del self._pending[sector]
        return sectors

    def sync(self, sectors: Iterable[int] | None = None) -> None:
        """What was written last is durable, of these sectors or of all; with all, the length too."""
        for sector in list(self._pending) if sectors is None else sectors:
            versions = self._pending.pop(sector, None)
            if versions:
                start = sector * SECTOR
                if start + SECTOR > len(self._durable):
                    self._durable.extend(bytes(start + SECTOR - len(self._durable)))
                self._durable[start : start + SECTOR] = versions[-1]
                self._durable_length = max(self._durable_length, min(start + SECTOR, self._length))
        if sectors is None:
            self._durable_length = self._length
        self._freeze()

    def latest(self) -> Image:
        """What the file would hold without a cut."""
        return Image(bytes(self._latest), (), self._length, 0, self._length)

    def _freeze(self) -> None:
        self._base = bytes(self._durable)
        self._name = blake2b(self._base, digest_size=_DIGEST_BYTES).digest()

    def _durable_sector(self, sector: int) -> bytes:
        return bytes(self._durable[sector * SECTOR : (sector + 1) * SECTOR]).ljust(SECTOR, b"\0")

    # -- states --------------------------------------------------------------------------------------------------

    def states(self, chance: Random, budget: int) -> Iterator[tuple[bytes, Image]]:
        """Up to ``budget`` states that a cut now may leave, or all where they are fewer; each with its name."""
        seen: set[bytes] = set()
        for picks in self._choices(chance, budget):
            for length in self._lengths(picks, chance):
                fill = chance.getrandbits(30) | 1 if length > self._durable_length and chance.random() < 0.5 else 0  # noqa: PLR2004
                name, image = self._state(picks, length, fill)
                if name not in seen:
                    seen.add(name)
                    yield name, image
                if len(seen) >= budget:
                    return

    def _choices(self, chance: Random, budget: int) -> Iterator[Picks]:
        sectors = list(self._pending)
        counts = [len(self._pending[sector]) for sector in sectors]
        total = 1
        for count in counts:
            total *= count + 1
            if total > budget:
                break
        if total <= budget:
            for places in product(*(range(-1, count) for count in counts)):
                yield {sector: place for sector, place in zip(sectors, places, strict=True) if place >= 0}
            return
        full = {sector: count - 1 for sector, count in zip(sectors, counts, strict=True)}
        yield {}
        yield full
        regular = [*_regular(full, _pages(sectors)), *_regular(full, [[sector] for sector in sectors])]
        chance.shuffle(regular)
        yield from regular[: budget // 2]
        for _ in range(budget * 4):
            yield self._random(chance, sectors)

    def _random(self, chance: Random, sectors: list[int]) -> Picks:
        """Each page or each sector is kept with one probability, in any of its contents."""
        groups = _pages(sectors) if chance.random() < 0.5 else [[sector] for sector in sectors]  # noqa: PLR2004
        share = chance.random()
        return {
            sector: chance.randrange(len(self._pending[sector]))
            for group in groups
            if chance.random() < share
            for sector in group
        }

    def _lengths(self, picks: Picks, chance: Random) -> list[int]:
        """No longer than the data needs, as long as was asked for, or between."""
        least = max(self._durable_length, *((sector + 1) * SECTOR for sector in picks), 0)
        least = min(least, self._length) if self._length >= self._durable_length else least
        if least >= self._length:
            return [least]
        return [least, self._length, chance.randrange(least, self._length)]

    def _state(self, picks: Picks, length: int, fill: int) -> tuple[bytes, Image]:
        kept = tuple((sector * SECTOR, self._pending[sector][place]) for sector, place in sorted(picks.items()))
        name = blake2b(self._name, digest_size=_DIGEST_BYTES)
        for offset, data in kept:
            name.update(offset.to_bytes(8, "big") + data)
        name.update(length.to_bytes(8, "big") + fill.to_bytes(4, "big"))
        return name.digest(), Image(self._base, kept, length, fill, self._durable_length)


def _pages(sectors: list[int]) -> list[list[int]]:
    """The sectors of each page together."""
    pages: dict[int, list[int]] = {}
    for sector in sectors:
        pages.setdefault(sector * SECTOR // _PAGE, []).append(sector)
    return list(pages.values())


def _regular(full: Picks, groups: list[list[int]]) -> list[Picks]:
    """Each group alone, each missing, each prefix and each suffix in the order of writing."""
    found = []
    for place, group in enumerate(groups):
        found.append({sector: full[sector] for sector in group})
        found.append({sector: last for sector, last in full.items() if sector not in group})
        found.append({sector: full[sector] for each in groups[:place] for sector in each})
        found.append({sector: full[sector] for each in groups[place:] for sector in each})
    return found
