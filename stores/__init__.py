"""Where records are kept, and the check of what is kept.

``lmdb_store``    the embedded store: one LMDB file, every commit synced before it is answered
``memory_store``  the same semantics in memory, gone with the process
``ephemeral``     a runtime over a memory store of its own
``audit``         what ``verify`` checks, apart from the code that writes
``codec``         the only place where records become bytes
"""

from .lmdb_store import LmdbStore
from .memory_store import MemoryStore

__all__ = ["LmdbStore", "MemoryStore"]
