"""Where records are kept. Each store implements ``runtime.store.RuntimeStore`` and knows nothing of the driver.

``lmdb_store``    ``LmdbStore``: one file, synced commits; the modules beside it are its parts
``memory_store``  ``MemoryStore``: the same semantics for tests and ephemeral use
``ephemeral``     the driver over a private memory store
``codec``         the only place where records become bytes
``audit``         what ``verify`` checks, sharing nothing with the code that writes
"""

from .ephemeral import EphemeralRuntimeDriver
from .lmdb_store import LmdbStore
from .memory_store import MemoryStore

__all__ = ["EphemeralRuntimeDriver", "LmdbStore", "MemoryStore"]
