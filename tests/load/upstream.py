"""A provider of known usage: it keeps to the cap it is sent, and remembers what each call cost."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import trio

from tests.support.upstream import DONE, JSON, PROBE, SSE, chunk, completion, usage_chunk
from tokenomics.net.connection import Reply, Request

WORD = "token "  # one token a chunk


@dataclass
class Calls:
    """What the provider was asked for. `costs` has [input, output] tokens of each call so far;
    `pause` is between the tokens of a stream, in seconds."""

    input: int = 10
    output: int = 50
    pause: float = 0.001
    costs: list[list[int]] = field(default_factory=list)
    running: int = 0
    most_running: int = 0
    began: list[float] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All tokens, as the provider would bill them."""
        return sum(map(sum, self.costs))

    async def step(self, request: Request, reply: Reply) -> None:
        """Answer one call."""
        asked = json.loads(await request.body())
        caps = [asked.get(key) for key in ("max_tokens", "max_completion_tokens")]
        most = min([self.output, *(cap for cap in caps if cap)])
        cost = [self.input, 0]
        self.costs.append(cost)
        self.began.append(trio.current_time())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if asked.get("stream"):
                await self._stream(reply, cost, most)
            else:
                await trio.sleep(20 * self.pause)
                cost[1] = most
                document = completion(WORD * most, (self.input, most))
                await reply.send(200, JSON, json.dumps(document).encode())
        finally:
            self.running -= 1

    async def _stream(self, reply: Reply, cost: list[int], most: int) -> None:
        await reply.start(200, SSE, probe=PROBE)
        for _ in range(most):
            cost[1] += 1
            await reply.write(chunk(WORD))
            await trio.sleep(self.pause)
        await reply.write(chunk(None, "stop") + usage_chunk(self.input, most) + DONE)
        await reply.end()
