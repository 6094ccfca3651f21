"""Every promise of a store, as one class to subclass.

class TestMyStore(RuntimeStoreConformance):
capabilities = frozenset({Capability.DURABLE, Capability.PROCESSES})
factory = "my_package.my_store:open_store"  # called with a path
"""

from __future__ import annotations

from .conformance_commits import CommitsConformance
from .conformance_concurrency import ConcurrencyConformance
from .conformance_processes import ProcessesConformance
from .conformance_reads import ReadsConformance
from .conformance_refusals import RefusalsConformance
from .conformance_resume import ResumeConformance
from .conformance_rows import RowsConformance


class RuntimeStoreConformance(
    RowsConformance,
    ReadsConformance,
    CommitsConformance,
    RefusalsConformance,
    ResumeConformance,
    ConcurrencyConformance,
    ProcessesConformance,
):
    """Subclass it in a test module, under a name that pytest collects.

    Say how the store is opened (``factory``, or override ``open_store``) and what it can beyond the protocol
    (``capabilities``). What is not declared is skipped, and the skipped test says what was not tried. ``kills``,
    ``programs`` and ``calls`` say how much is tried, ``seed`` which.
    """
