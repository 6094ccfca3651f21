"""What a scale run brings: how many inputs to which runtimes, in which order, each made from the seed at its turn.

So nobody has to remember a million inputs: who brings them, who counts them in the end, and a process that goes on
after a kill all work out the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from math import gcd
from typing import Final, final

from attrs import frozen

from ..runtime.blocks import ImageBlock
from ..runtime.inputs import PromptInput

TEXT: Final = "x" * 200
IMAGE_EVERY: Final = 20
"""One input in so many carries an image, so that there are blobs to release."""
_IMAGE_REPEATS: Final = 16
_DIGEST_BYTES: Final = 16
_COUNT_BYTES: Final = 8
_GOLDEN: Final = 0.618


@final
@frozen
class Plan:
    """``inputs`` spread evenly over ``runtimes`` by ``callers`` at once, ``visit`` in a row on one runtime.

    A sample is taken every ``sample_every`` lives. With ``retention`` (seconds) ended inputs that are older are pruned
    every ``prune_every`` lives.
    """

    inputs: int
    runtimes: int
    seed: int = 1
    callers: int = 64
    visit: int = 5
    sample_every: int = 1000
    retention: float | None = None
    prune_every: int = 1000

    @property
    def rounds(self) -> int:
        """How often every runtime is visited."""
        return -(-self.inputs_of(0) // self.visit)

    def name(self, runtime: int) -> str:
        """The id of a runtime by its number; ids sort like the numbers."""
        return f"scale {runtime:09}"

    def inputs_of(self, runtime: int) -> int:
        """How many inputs a runtime gets."""
        return self.inputs // self.runtimes + (runtime < self.inputs % self.runtimes)

    def order(self) -> Iterator[int]:
        """Every runtime once, in an order that jumps about: neighbours in the store are not visited together."""
        count = self.runtimes
        step = max(1, round(count * _GOLDEN))
        while gcd(step, count) != 1:
            step += 1
        return ((self.seed + number * step) % count for number in range(count))

    def key(self, runtime: int, number: int) -> str:
        """The idempotency key of the ``number``-th input of a runtime, counted from 0."""
        return f"{self.seed} {runtime} {number}"

    def new_input(self, runtime: int, number: int) -> PromptInput:
        """That input: 200 characters, and an image of 1 KiB in one of twenty."""
        key = self.key(runtime, number)
        blocks: tuple[ImageBlock, ...] = ()
        if (runtime + number) % IMAGE_EVERY == 0:
            blocks = (ImageBlock("image/png", blake2b(key.encode()).digest() * _IMAGE_REPEATS),)
        return PromptInput.new(TEXT, blocks, idempotency_key=key)


def folded(so_far: bytes | None, key: str) -> bytes:
    """The session snapshot after the input under ``key``: how many there were, and a digest of all of them in order.

    It is committed with the boundary of each run. So at the end it says what was consumed, how often and in which
    order, of inputs too whose rows retention has removed.
    """
    before = so_far or bytes(_COUNT_BYTES + _DIGEST_BYTES)
    digest = blake2b(before + key.encode(), digest_size=_DIGEST_BYTES).digest()
    return (count_in(before) + 1).to_bytes(_COUNT_BYTES, "big") + digest


def count_in(snapshot: bytes) -> int:
    """How many inputs a snapshot says there were."""
    return int.from_bytes(snapshot[:_COUNT_BYTES], "big")
