"""A chat that outlives its process: `.venv/bin/python examples/agent_chat.py`

It starts the chat as a process of its own and kills that twice with SIGKILL: while the model streams an answer, and
while it streams the answer to a second message that the user sent into the first ("steering"). Then it starts the chat
once more and prints the conversation from the store: it is whole, and no turn is in it twice.

The model is a fake that streams canned words. ``--store FOLDER`` keeps the store.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from itertools import chain, cycle
from pathlib import Path
from typing import Any

from holdstate import (
    ActiveRun,
    HandlingMode,
    ImageBlock,
    Input,
    InputHandle,
    InputId,
    LmdbStore,
    PromptInput,
    RunOutput,
    RuntimeService,
    TurnMetadata,
)

CHAT = "chat-1"
WORDS_BEFORE_STEER = 6
STEER = TurnMetadata(handling_mode=HandlingMode.STEER)

Message = dict[str, str]


def png(width: int, height: int) -> bytes:
    """A black picture."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(bytes((width + 1) * height))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# -- the model -----------------------------------------------------------------------------------------------------


class FakeModel:
    """Streams an answer word by word. ``stall_at`` is a word after which nothing more comes: the process is killed."""

    def __init__(self, stall_at: str | None) -> None:
        self._stall_at = stall_at

    async def stream(self, asked: Message, image: ImageBlock | None) -> AsyncIterator[str]:
        """The words of the answer to the last message; everything before it is in the conversation."""
        for word in self._words(asked["text"], image):
            await asyncio.sleep(0.001)
            yield word
            if word == self._stall_at:
                await asyncio.Event().wait()

    @staticmethod
    def _words(text: str, image: ImageBlock | None) -> Iterator[str]:
        if image is not None and image.data is not None:
            width, height = struct.unpack(">II", image.data[16:24])
            return iter(f"A black rectangle, {width} by {height} pixels.".split())
        if "story" in text:
            return chain(["Once", "upon", "a", "time"], cycle(["a", "process", "started", "and"]))  # it never ends
        return iter(["There", "was", "a", "process.", "It", "was", "killed.", "It", "went", "on."])


# -- the agent -----------------------------------------------------------------------------------------------------


class Agent:
    """The executor: one turn per message. The conversation is the session snapshot of the runtime.

    A turn is in the snapshot once its boundary is committed, and then its message is consumed in the same commit. So
    after a crash a turn is there as a whole, or it is made again. ``to_cut`` holds the messages whose answer is to be
    cut short, because the user sent another one into it: the turn is committed as it is, and then the other is taken
    into the same run. Was the process killed between the two, the other is answered first: steering goes before the
    queue.
    """

    def __init__(self, model: FakeModel) -> None:
        self._model = model
        self.to_cut: set[InputId] = set()
        self.streamed = asyncio.Condition()
        self.words = 0

    async def apply(self, run: ActiveRun) -> RunOutput:
        """All turns of the run: of its messages, and of those that arrive while it streams."""
        conversation: list[Message] = json.loads(run.session_snapshot or b"[]")
        waiting = list(run.inputs)
        while waiting:
            for given in waiting:
                await self._turn(conversation, given)
            answer = conversation[-1]["text"].encode()
            await run.checkpoint(json.dumps(conversation).encode(), result=answer, message_count=len(conversation))
            waiting = list(await run.take_steers())
        return RunOutput(result=conversation[-1]["text"].encode(), message_count=len(conversation))

    async def _turn(self, conversation: list[Message], given: Input) -> None:
        assert isinstance(given, PromptInput)
        image = next((block for block in given.blocks if isinstance(block, ImageBlock)), None)
        asked = {"by": "user", "text": given.text}
        if image is not None and image.data is not None:
            asked["image"] = f"{image.media_type}, {len(image.data)} bytes"
        conversation.append(asked)
        said: list[str] = []
        async for word in self._model.stream(asked, image):
            said.append(word)
            await self._heard(word)
            if given.header.id in self.to_cut:
                said.append("… (cut short)")
                break
        conversation.append({"by": "model", "text": " ".join(said)})

    async def _heard(self, word: str) -> None:
        print(word, flush=True)
        async with self.streamed:
            self.words += 1
            self.streamed.notify_all()


# -- the chat ------------------------------------------------------------------------------------------------------


async def chat(folder: str, stall_at: str | None) -> None:
    """What the user says, all of it again after each crash: the keys tell what came before."""
    agent = Agent(FakeModel(stall_at))
    with LmdbStore.open(folder) as store:
        async with RuntimeService(store, agent) as service:

            async def say(key: str, text: str, *blocks: ImageBlock, wish: TurnMetadata | None = None) -> InputHandle:
                handle = await service.submit(CHAT, PromptInput.new(text, blocks, wish, idempotency_key=key))
                await handle.accepted  # on disk: the user may close the window
                return handle

            first = await say("message-1", "What is this?", ImageBlock("image/png", png(64, 48)))
            await first.outcome()
            before = agent.words
            second = await say("message-2", "Tell me a story.")
            await until_streamed(agent, before + WORDS_BEFORE_STEER, second)
            third = await say("message-3", "Shorter, please.", wish=STEER)
            agent.to_cut.add(second.input_id)
            await asyncio.gather(second.outcome(), third.outcome())


async def until_streamed(agent: Agent, words: int, handle: InputHandle) -> None:
    """Until the model has streamed so many words, or the message is answered."""

    async def enough() -> None:
        async with agent.streamed:
            await agent.streamed.wait_for(lambda: agent.words >= words)

    either = {asyncio.create_task(enough()), asyncio.create_task(handle.outcome())}
    _, rest = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()


# -- the demonstration ---------------------------------------------------------------------------------------------


def run_chat(folder: str, stall_at: str | None) -> int:
    """Run the chat as a process, and kill it where the model stalls; returns its exit code."""
    words = [sys.executable, __file__, "--store", folder, "--chat"]
    with subprocess.Popen(
        words if stall_at is None else [*words, "--stall-at", stall_at], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        print("   ", end="")
        for line in process.stdout:
            print("", line.strip(), end="", flush=True)
            if line.strip() == stall_at:
                process.kill()
        print()
    return process.returncode


def conversation_of(folder: str) -> list[dict[str, Any]]:
    """The conversation as the last commit left it."""
    with LmdbStore.open(folder, read_only=True) as store:
        snapshot = store.load_session_snapshot(CHAT)
        findings = store.verify()
    assert not findings, findings
    return [] if snapshot is None else list(json.loads(snapshot))


def demonstrate(folder: str) -> None:
    """Kill, kill, go on, show."""
    for what, stall_at in (("a story", "upon"), ("the answer to the steering message", "killed.")):
        print(f"The chat starts, and is killed while the model streams {what}:")
        code = run_chat(folder, stall_at)
        assert code == -signal.SIGKILL, f"the chat ended by itself, with exit code {code}"
    print("The chat starts and goes on:")
    code = run_chat(folder, None)
    assert code == 0, f"the chat failed with exit code {code}"
    print("The conversation in the store:")
    for message in conversation_of(folder):
        image = f" [{message['image']}]" if "image" in message else ""
        print(f"    {message['by']:>5}: {message['text']}{image}")


def main() -> None:
    """The demonstration, or with ``--chat`` the chat alone."""
    parser = argparse.ArgumentParser(description="A chat that outlives its process.")
    parser.add_argument("--store", metavar="FOLDER", help="where the chat is kept; default: a temporary folder")
    parser.add_argument("--chat", action="store_true", help="only chat; what the model says goes to stdout")
    parser.add_argument("--stall-at", metavar="WORD", help="let the model stall after this word")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="holdstate-chat-") as folder:
        store = options.store or str(Path(folder) / "store")
        if options.chat:
            asyncio.run(chat(store, options.stall_at))
        else:
            demonstrate(store)


if __name__ == "__main__":
    main()
