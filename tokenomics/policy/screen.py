"""Rules applied to a text that comes in pieces.

A `Screen` gives out what can no longer be part of a match and keeps what can. Law: whatever the
pieces, what comes out together is what `scan.inspect` makes of the whole, and so are the findings,
as long as no match grows beyond the bound below and the text holds no escapes: those are undone in
whole texts only, and by `dialects.jsonscreen` in the arguments of tools. Where a failing rule
matches, what came out is a beginning of what stands before its match.

The bound: of one possible match no more than HOLD bytes are kept (16 KiB for a key block), and at
most a sixteenth more before that is seen. One that grows beyond it is decided as if the text ended
there: what matches already is masked, or blocks; what does not is given up and goes out. So a rule
whose match may be longer, as `(?s)BEGIN.*END`, misses the longer ones in a stream, and a mask like
`key=.*` hides no more of them than their beginning. No pattern that looks for words, numbers or
keys comes near it.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenomics.policy.detectors import fold
from tokenomics.policy.jailbreak import signals
from tokenomics.policy.plan import HOLD, Group, Look, Plan, plan_for
from tokenomics.policy.regexes import Pattern, after
from tokenomics.policy.rules import Finding, Found, Rule
from tokenomics.policy.scan import Edit, judge, needless, take
from tokenomics.policy.views import View

# Characters that have been decided and are still kept: to drop ASCII costs more than to keep some.
SLACK = 512
# When so many characters are held, what comes is looked at only when it is a part of them: else a
# long match that comes in small pieces would take quadratic time.
PATIENT = 512
PART = 16
# Jailbreak rules judge a text as a whole. In a stream they look at so many characters of its end,
JUDGED = 4096
# each time that so many have come, or a line has ended.
JUDGED_EVERY = 64


class Screen:
    """One channel of text: of one choice, content block or tool call.

    `found` is what the screens of one answer share; without it the screen has its own. When a
    failing rule matches, `blocked` is set: nothing of the match has been given out, and nothing
    more will be. `warn` and `log` rules hold nothing back, and neither do `jailbreak` rules: they
    end a text where it has said enough.
    """

    def __init__(
        self, rules: Iterable[Rule], direction: str = "output", found: Found | None = None
    ) -> None:
        self._plan = plan_for(tuple(rules), direction)
        self.found = Found(self._plan.rules) if found is None else found
        self._lanes = [_Lane(group) for group in self._plan.groups]
        self._judged = _Judged(self._plan) if self._plan.judges else None
        self._text = ""  # what is kept, from character `_base` on
        self._base = 0
        self._done = 0  # before it all is decided: given out, or masked
        self._edits: list[Edit] = []  # those that are not applied yet
        self._looked = 0  # where the text ended when it was last looked at

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that matched so far, as in an Inspection."""
        return self.found.findings

    @property
    def blocked(self) -> Finding | None:
        """The first finding of a failing rule."""
        return self.found.blocked if self.found.failed else None

    @property
    def held(self) -> int:
        """How many characters are kept back."""
        return max(0, self._base + len(self._text) - self._done)

    def feed(self, text: str) -> str:
        """Take some more text, and give what may go out now."""
        return self._advance(text, False)

    def end(self) -> str:
        """The rest: no more text comes."""
        return self._advance("", True)

    def _advance(self, text: str, last: bool) -> str:
        if self.found.failed:
            return ""
        if self._judged is not None:
            self._judged.feed(text, last, self.found)
        if not self._lanes:
            return "" if self.found.failed else text
        self._text += text
        end = self._base + len(self._text)
        if not last and (end - self._looked) * PART < self.held - PATIENT:
            return ""
        self._looked = end
        kept = free = end
        for lane in self._lanes:
            if lane.idle(self.found):
                continue
            view = lane.view(self._text)
            self._take(view, lane.look(view, last))
            start = self._base + view.start(lane.at)
            kept = min(kept, start)
            if lane.group.holds:
                free = min(free, start)
        if self.found.failed:
            self._text, self._edits = "", []
            return ""
        out = self._release(free)
        if kept - self._base > (SLACK if self._text.isascii() else 0):
            self._drop(kept - self._base)
        return out

    def _take(self, view: View, matches: Iterable[tuple[Look, int, int]]) -> None:
        base = self._base
        for look, start, end in matches:
            spans = [(base + a, base + b) for a, b in look.spans(view, start, end)]
            self._edits += take(self._plan, look, spans, start == end, self.found)

    def _release(self, free: int) -> str:
        """What stands before `free`, masked. No edit that begins there is still to come, so that an
        edit's text can go out though others may yet make it longer."""
        base, pieces = self._base, []
        if self._edits:
            self._edits.sort()
            ready = sum(edit.start < free for edit in self._edits)
            for edit in self._edits[:ready]:
                if edit.start >= self._done:
                    pieces.append(self._text[self._done - base : edit.start - base])
                    pieces.append(self._plan.rules[edit.rule].replacement)
                self._done = max(self._done, edit.end)
            del self._edits[:ready]
        if self._done < free:
            pieces.append(self._text[self._done - base : free - base])
            self._done = free
        return "".join(pieces)

    def _drop(self, count: int) -> None:
        for lane in self._lanes:
            lane.drop(self._text, count)
        self._text = self._text[count:]
        self._base += count


class _Lane:
    """The looks of one group, and how far they have come. Places are bytes of the view of the text
    that is kept."""

    __slots__ = ("_ahead", "_before", "_hold", "at", "group")

    def __init__(self, group: Group) -> None:
        self.group = group
        self._hold = max(look.hold for look in group.looks)
        self.at = 0  # no match that begins before is still to come
        # Looks whose last match reaches beyond `at`: they go on behind it.
        self._ahead: dict[int, int] = {}
        self._before = b""  # the character before the text that is kept

    def idle(self, found: Found) -> bool:
        """Whether it can find nothing new."""
        return not self.group.holds and all(needless(look, found) for look in self.group.looks)

    def view(self, text: str) -> View:
        """The kept text as these looks see it."""
        return self.group.view(text, self._before)

    def look(self, view: View, last: bool) -> list[tuple[Look, int, int]]:
        """The matches that are certain now, whatever follows."""
        matches: list[tuple[Look, int, int]] = []
        data, reached = view.data, self.at - 1
        while True:
            begun = len(data) + 1 if last else self._begun(data)
            if begun <= reached:
                return matches
            if begun > self.at:
                self._match(data, begun, matches)
            reached = begun
            if last or not self._ahead:
                return matches

    def _begun(self, data: bytes) -> int:
        """Where the first match begins that more text could make or change."""
        # What begins further from the end is given up anyway, and need not be looked for.
        begun = _start(
            self.group.ending, data, max(self.at, _boundary(data, len(data) - self._hold))
        )
        if not self._ahead and len(data) - begun <= HOLD:
            return begun
        return min(
            _start(
                look.ending,
                data,
                max(self._ahead.get(i, self.at), _boundary(data, len(data) - look.hold)),
            )
            for i, look in enumerate(self.group.looks)
        )

    def _match(self, data: bytes, begun: int, matches: list[tuple[Look, int, int]]) -> None:
        """Add the matches that begin before `begun`."""
        at, self.at = self.at, min(begun, len(data))
        any_ = self.group.any
        if any_ is not None:
            first = any_.search(data, at)
            if first is None or first[0] >= begun:
                self._ahead = {i: place for i, place in self._ahead.items() if place > self.at}
                return
        for i, look in enumerate(self.group.looks):
            place = self._ahead.pop(i, at)
            for start, end in look.pattern.matches(data, place):
                if start >= begun:
                    break
                matches.append((look, start, end))
                place = end if end > start else after(data, end)
            if place > self.at:
                self._ahead[i] = place

    def drop(self, text: str, count: int) -> None:
        """Forget the first characters of the kept text, all of which are before `at`."""
        view = self.view(text[:count])
        if view.last > view.first:
            begin = view.last - 1
            while view.data[begin] & 0xC0 == 0x80:
                begin -= 1
            self._before = view.data[begin:]
            gone = view.last - len(self._before)
            self.at -= gone
            self._ahead = {i: place - gone for i, place in self._ahead.items()}


def _start(ending: Pattern, data: bytes, place: int) -> int:
    """Where the end of `data` that may become a match begins."""
    span = ending.search(data, place)
    return len(data) if span is None else span[0]


def _boundary(data: bytes, place: int) -> int:
    """The next place where a character begins."""
    return place if place <= 0 else after(data, place - 1)


class _Judged:
    """What jailbreak rules look at: the end of the text so far, folded."""

    __slots__ = ("_fresh", "_plan", "_text")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._text = ""
        self._fresh = 0  # characters that have not been looked at

    def feed(self, text: str, last: bool, found: Found) -> None:
        """Look again when enough has come."""
        folded, _ = fold(text)
        self._text += folded
        self._fresh += len(folded)
        if last or self._fresh >= JUDGED_EVERY or "\n" in folded:
            judge(self._plan, signals(self._text), found)
            self._text = self._text[-JUDGED:]
            self._fresh = 0
