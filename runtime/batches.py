"""Which inputs the next run takes: always an exact prefix of one lane (C12), composed the same before and after a crash
(C13).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ..spec.vocabulary import Lane
from .environment import RuntimeSettings
from .image import RuntimeImage
from .records import InputRecord


def next_batch(image: RuntimeImage, settings: RuntimeSettings, at: datetime) -> tuple[InputRecord, ...]:
    """The batch that a run begun now would take; empty when nothing is queued or every lane waits for a backoff."""
    for lane in (Lane.STEER, Lane.QUEUE):
        batch = lane_batch(image, lane, settings, at)
        if batch:
            return batch
    return ()


def lane_batch(image: RuntimeImage, lane: Lane, settings: RuntimeSettings, at: datetime) -> tuple[InputRecord, ...]:
    """The longest batch from the front of ``lane``; empty while its head waits.

    An input that failed before runs alone (C15), and so does every input where one failure is the end of it. In the
    queue lane a prompt runs alone; a batch ends before it.
    """
    limit = 1 if settings.retry.max_attempts == 1 else settings.max_batch
    batch: list[InputRecord] = []
    for record in image.lane(lane):
        alone = record.failure_count > 0 or (lane is Lane.QUEUE and record.admission.is_prompt)
        if batch and (alone or record.admission.boundary is not batch[0].admission.boundary):
            break
        if not batch and waits(record, settings, at):
            break
        batch.append(record)
        if alone or len(batch) == limit:
            break
    return tuple(batch)


def steer_prefix(image: RuntimeImage, settings: RuntimeSettings) -> tuple[InputRecord, ...]:
    """What a current run may take besides: the front of the steer lane, none that failed before.

    Nothing joins a staged input that failed before, and where one failure is the end nothing joins a staged input at
    all: a failure of a shared run ends none of its inputs (C15).
    """
    staged = image.staged()
    if any(record.failure_count > 0 for record in staged):
        return ()
    limit = 1 - len(staged) if settings.retry.max_attempts == 1 else settings.max_batch
    batch: list[InputRecord] = []
    for record in image.lane(Lane.STEER):
        if record.failure_count > 0 or len(batch) >= limit:
            break
        batch.append(record)
    return tuple(batch)


def waits(record: InputRecord, settings: RuntimeSettings, at: datetime) -> bool:
    """Whether a backoff holds ``record`` back. A clock that was set back never holds it longer than the longest
    backoff.
    """
    if record.not_before is None or record.not_before <= at:
        return False
    return record.not_before - at <= longest_wait(settings)


def longest_wait(settings: RuntimeSettings) -> timedelta:
    """No backoff holds an input longer: what seems to comes of a clock that was set back."""
    backoff = settings.retry.backoff
    return timedelta(seconds=backoff.max_seconds * (1.0 + backoff.jitter))


def next_due(image: RuntimeImage) -> datetime | None:
    """When the first waiting lane may go on, None when no lane waits."""
    heads = (next(image.lane(lane), None) for lane in Lane)
    return min((head.not_before for head in heads if head is not None and head.not_before is not None), default=None)
