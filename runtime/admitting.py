"""What an accept does before its turn comes: validate, take images out, encode once. No lock is held and nothing is
changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final
from uuid import UUID

from attrs import define

from .ids import InputId
from .inputs import Input
from .outcomes import Rejected
from .rejections import Rejection
from .settings import Limits
from .validation import check_input, check_size
from .wire import admit, blob_references, encode_body, extract_blobs, hydrate


@final
@define
class Prepared:
    """An input that passed validation: its body holds references in place of images."""

    input: Input
    body: bytes
    fingerprint: bytes
    blobs: tuple[tuple[str, bytes], ...]
    blob_ids: tuple[str, ...]


def prepare_input(given: Input, limits: Limits) -> Prepared | Rejected:
    """Judge and encode ``given``; whatever it is, the answer is a value and never a traceback."""
    rejection = check_input(given, limits)
    if rejection is not None:
        return _rejected(given, rejection)
    if getattr(given, "blocks", ()):
        stored, blobs = extract_blobs(given)
        references = blob_references(stored)
    else:
        stored, blobs, references = given, (), ()
    body, fingerprint = admit(stored)
    rejection = check_size(body, limits)
    if rejection is not None:
        return _rejected(given, rejection)
    return Prepared(stored, body, fingerprint, blobs, references)


def inlined(prepared: Prepared, load: Callable[[str], bytes]) -> Prepared:
    """An ephemeral input with its images in its body: no store holds a blob for it."""
    whole = hydrate(prepared.input, load)
    return Prepared(whole, encode_body(whole), prepared.fingerprint, (), ())


def _rejected(given: object, rejection: Rejection) -> Rejected:
    input_id = getattr(getattr(given, "header", None), "id", None)
    return Rejected(
        InputId(input_id) if isinstance(input_id, UUID) else None, rejection.code, rejection.reason, rejection.path
    )
