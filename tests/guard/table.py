"""What operations cost, exactly. Whoever makes one cheaper or dearer changes its line here, on purpose.

``steps`` are those of the core; ``bytes`` are keys and values of the rows that are put.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .counted import Count

LIFE: Final = "active=3 ended keys orders receipts results runtimes=3 snapshots"
LIVES: Final = "active=192 ended=64 keys=64 orders=64 receipts=64 results=64 runtimes=192 snapshots=64"

# fmt: off
TABLE: Final[Mapping[str, Count]] = MappingProxyType({
    #                                         commits steps   bytes  puts                          deletes
    "accept":                            Count(     1,    1,    614, "active=2 runtimes"),
    "accept with a key":                 Count(     1,    1,    659, "active=2 runtimes"),
    "accept again":                      Count(     0,    1,      0),
    "64 accepts at once":                Count(     1,   64, 39_278, "active=128 runtimes"),
    "64 accepts at once on 64 runtimes": Count(     1,   64, 42_304, "active=128 runtimes=64"),
    "accept, begin, complete":           Count(     3,    4,  1_515, LIFE,                         "active=2"),
    "fail a run":                        Count(     1,    1,    275, "active runtimes"),
    "cancel an input":                   Count(     1,    1,    315, "ended keys orders runtimes", "active=2"),
    "nothing to begin":                  Count(     0,    3,      0),
    "open a new runtime":                Count(     1,    1,     73, "meta names runtimes"),
    "open a runtime":                    Count(     1,    1,     46, "runtimes"),
    "open and recover a run":            Count(     1,    1,    453, "active=2 runtimes"),
})

OF_A_SERVICE: Final[Mapping[int, Count]] = MappingProxyType({
    # lives, each on a runtime of its own     commits steps   bytes  puts                          deletes
    1:                                   Count(     3,    5,  1_571, LIFE,                         "active=2"),
    64:                                  Count(     3,  320, 100_544, LIVES,                       "active=128"),
})
# fmt: on
