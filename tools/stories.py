"""All stories, what is expected of them, and what they come to now: ``python -m holdstate.tools.stories`` tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

from ..runtime.store import RuntimeStore
from ..stores.memory_store import MemoryStore
from .stories_of_runs import STORIES_OF_RUNS, Story
from .stories_of_runtimes import STORIES_OF_RUNTIMES
from .stories_of_stores import STORIES_OF_STORES
from .story_stage import Stage, watched

STORIES: Final[dict[str, Story]] = {
    story.__name__: story for story in (*STORIES_OF_RUNS, *STORIES_OF_RUNTIMES, *STORIES_OF_STORES)
}
_HEADING: Final = "## "
_LONGEST_SECONDS: Final = 5.0
"""A story takes a fraction of a second. One that waits for an answer that never comes is ended."""


def told(story: Story, store: RuntimeStore) -> list[str]:
    """The lines of ``story`` on a new store. Whatever it raises is its last line."""
    stage = Stage(store)
    try:
        with watched(stage.lines):
            asyncio.run(asyncio.wait_for(story(stage), _LONGEST_SECONDS))
    except Exception as error:  # noqa: BLE001 - a wrong change may raise anything, and that is what is told
        stage.say(f"!! {type(error).__name__}: {error}")
    return [part for line in stage.lines for part in line.splitlines()]


def expected() -> dict[str, list[str]]:
    """What each story has to come to."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in files(__package__).joinpath("stories.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(_HEADING):
            lines = found[line.removeprefix(_HEADING)] = []
        else:
            lines.append(line)
    return found


def all_told() -> Iterator[str]:
    """The text of ``stories.txt`` as the stories are now."""
    for name, story in STORIES.items():
        yield f"{_HEADING}{name}"
        yield from told(story, MemoryStore())


if __name__ == "__main__":
    print("\n".join(all_told()))  # noqa: T201 - the text itself
