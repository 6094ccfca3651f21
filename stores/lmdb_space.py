"""What takes which room in the file of an LMDB store."""

from __future__ import annotations

from typing import Final, final

from attrs import frozen

META_PAGES: Final = 2
"""Pages at the front of the file that say where everything is."""


@final
@frozen
class TableSpace:
    """One sub-database: its rows, and all its pages."""

    name: str
    rows: int
    pages: int


@final
@frozen
class StoreSpace:
    """Sizes in bytes and in pages of ``page_bytes``. ``own_pages`` are those of LMDB itself, ``end_page`` how many were
    ever used, ``file_bytes`` the length of the file, ``map_bytes`` the address space that it may grow into. ``commits``
    counts the write transactions since the store was made.
    """

    page_bytes: int
    tables: tuple[TableSpace, ...]
    own_pages: int
    end_page: int
    file_bytes: int
    map_bytes: int
    commits: int

    @property
    def used_pages(self) -> int:
        """Pages that hold rows, or lead to them."""
        return self.own_pages + sum(table.pages for table in self.tables)

    @property
    def free_pages(self) -> int:
        """Pages that were used and may be used again, with LMDB's own list of them. Another process may have written
        between the two counts: none below 0.
        """
        return max(0, self.end_page - self.used_pages)

    @property
    def ahead_bytes(self) -> int:
        """What the file was lengthened by, ahead of need."""
        return max(0, self.file_bytes - self.end_page * self.page_bytes)
