"""A policy's rules on what comes back: whole answers, and streams as they come.

What a masking rule finds is masked in the answer; what a failing rule finds ends it, with nothing
of the match gone out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from tokenomics import strictjson
from tokenomics.dialects.answers import answer_texts, with_instructions, without_logprobs
from tokenomics.dialects.screened import FORMS, ScreenedStream
from tokenomics.dialects.texts import joins, masked
from tokenomics.errors import Refusal
from tokenomics.gateway.inspection import INSPECT_THREAD_BYTES, Tell, beside
from tokenomics.policy.rules import Finding, Found, Rule
from tokenomics.policy.scan import inspect
from tokenomics.policy.screen import Screen

# Answers of these kinds hold no text: pictures and sound.
_BOM = b"\xef\xbb\xbf"
_NO_TEXT = ("audio/", "image/", "video/")


@dataclass(slots=True)
class Output:
    """The rules over one answer. `rules` are those of the target that serves it, `tell` gets each
    rule that matched, once. `instructions` are the client's own, in a tuple, where the policy put
    others in front that the answer would show; `known` tells whether a dialect knows the answer."""

    rules: tuple[Rule, ...]
    tell: Tell
    instructions: tuple[str | None] | None = None
    known: bool = True
    covering: tuple[Rule, ...] = field(init=False)
    found: Found = field(init=False)
    # What a thread found meanwhile; None while nothing but the loop works on the answer.
    _untold: list[Finding] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.covering = tuple([rule for rule in self.rules if rule.covers("output")])
        self.found = Found(self.covering)

    async def whole(self, body: bytes, content_type: str) -> bytes:
        """A whole answer as it may go out. Raises Refusal `content_blocked`, or
        `upstream_invalid` if it cannot be read."""
        if content_type.lower().startswith(_NO_TEXT):
            return body
        if len(body) <= INSPECT_THREAD_BYTES:
            shown = self._whole(body)
        else:
            shown = await beside(len(body), partial(self._whole, body))
        self.tell_news()
        return shown

    def _whole(self, body: bytes) -> bytes:
        body = body.removeprefix(_BOM)  # who reads JSON may drop it
        if body.lstrip()[:1] not in (b"{", b"["):
            return self._text(body)
        try:
            document = strictjson.loads(body)
        except strictjson.BadJSON:  # its reason may name what the answer holds
            message = "the provider's answer cannot be inspected: two could read it differently"
            raise Refusal("upstream_invalid", message) from None
        shown = document
        if self.covering:
            texts = answer_texts(document, known=self.known)
            values = [text.value for text in texts]
            shown = masked(document, texts, self._inspect(values, joins(texts)))
            if shown is not document:
                shown = without_logprobs(shown)
        if self.instructions is not None:
            shown = with_instructions(shown, self.instructions[0])
        return body if shown is document else strictjson.dumps(shown)

    def _text(self, body: bytes) -> bytes:
        """Subtitles, transcripts, files: one text."""
        if not self.covering:
            return body
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise Refusal(
                "content_blocked",
                "this token's rules inspect answers, and this one is no text",
            ) from None
        shown = self._inspect([text])[0]
        return body if shown is text else shown.encode()

    def stream(self, form: str) -> ScreenedStream:
        """A stream's screens. Feeding them raises Refusal `content_blocked`."""
        hides = any(rule.action in ("mask", "fail") for rule in self.covering)
        return ScreenedStream(
            FORMS[form], self._open, self._inspect_at_once, self.instructions, hides=hides
        )

    async def screened(self, screens: ScreenedStream, events: bytes) -> bytes:
        """Whole events of a stream through its screens, large ones beside the loop: as they may go
        out. Raises Refusal `content_blocked`."""
        if len(events) <= INSPECT_THREAD_BYTES:
            return screens.feed(events)
        untold: list[Finding] = []
        self._untold = untold
        try:
            return await beside(len(events), partial(screens.feed, events))
        finally:
            self._untold = None
            if untold:
                self.tell(untold)

    def _inspect(
        self, texts: Sequence[str], joined: Sequence[tuple[int, int]] = ()
    ) -> Sequence[str]:
        result = inspect(texts, self.covering, "output", joined)
        for finding in result.findings:
            rule = self.covering.index(finding.rule)
            for what in finding.what:
                self.found.add(rule, what)
        return result.masked

    def _inspect_at_once(self, texts: Sequence[str]) -> Sequence[str]:
        shown = self._inspect(texts)
        self.tell_news()
        return shown

    def _open(self) -> _Told:
        return _Told(Screen(self.covering, found=self.found), self)

    def tell_news(self) -> None:
        """Tell what was found since the last time, a thread's later on the loop. Raises Refusal if
        it blocks."""
        news = list(self.found.news())
        if self._untold is not None:
            self._untold += news
        elif news:
            self.tell(news)
        blocked = self.found.blocked if self.found.failed else None
        if blocked is not None:
            index = self.rules.index(blocked.rule)
            message = f"answer blocked by rule {index}: {blocked.message()}"
            raise Refusal("content_blocked", message)


@dataclass(frozen=True, slots=True)
class _Told:
    """A screen whose findings are told as they are made."""

    screen: Screen
    output: Output

    def feed(self, text: str) -> str:
        """What may go out now. Raises Refusal."""
        shown = self.screen.feed(text)
        self.output.tell_news()
        return shown

    def end(self) -> str:
        """The rest. Raises Refusal."""
        shown = self.screen.end()
        self.output.tell_news()
        return shown
