"""Rules applied to whole texts.

A request holds hundreds of short texts, and each search costs a microsecond before it begins: short
texts are searched together, joined by line breaks, and one by one only where that found something.
In joined texts a pattern may match what it matches in no text alone, but never less.

A text with escapes is also looked at with them undone, near them: see `escapes`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from tokenomics.policy.detectors import fold
from tokenomics.policy.escapes import Unescaped, may_hold_escapes, unescaped
from tokenomics.policy.jailbreak import signals
from tokenomics.policy.plan import Group, Look, Plan, plan_for
from tokenomics.policy.rules import Found, Inspection, Rule
from tokenomics.policy.views import View

SHORT = 1024  # characters; a longer text is worth a search of its own
WHOLE = 4096  # characters of a text with escapes that are all looked at, not only near those
BLOCK = 32 << 10  # characters of short texts that are searched together
# How far from the seam between two texts a match across it is looked for, in characters.
SEAM = 512


class Edit(NamedTuple):
    """Characters that a rule masks. Sorted: the leftmost first, then the longest, then that of the
    first rule."""

    start: int
    minus_end: int
    rule: int

    @property
    def end(self) -> int:
        """Behind the last character."""
        return -self.minus_end


def inspect(
    texts: Sequence[str],
    rules: Iterable[Rule],
    direction: str,
    joins: Sequence[tuple[int, int]] = (),
) -> Inspection:
    """Apply every rule that covers `direction` to every text.

    All rules see the text as it was sent, so that masking one thing cannot hide another. `joins`
    are ranges [first, last) of texts that their reader sees as one, in order, none over another:
    what begins in one text and ends in another is found too, if it lies within SEAM characters of
    where they meet. Its replacement stands where it begins.
    """
    plan = plan_for(tuple(rules), direction)
    found = Found(plan.rules)
    edits: dict[int, list[Edit]] = {}
    if plan.groups:
        for block in _blocks(texts):
            _search_block(plan, texts, block, found, edits)
    undone = _undone(texts, joins)
    hidden = _hidden(plan, undone, found)
    masked = list(texts)
    for first, last in joins:
        together = texts[first:last]
        starts = list(accumulate(map(len, together), initial=0))
        own = [
            Edit(edit.start + start, edit.minus_end - start, edit.rule)
            for i, start in zip(range(first, last), starts, strict=False)
            for edit in edits.pop(i, ())
        ]
        own += _across(plan, "".join(together), starts[1:-1], found)
        own += hidden.pop(first, ())
        masked[first:last] = _cut(together, sorted(own), plan.rules)
    for i, own in hidden.items():
        edits.setdefault(i, []).extend(own)
    for i, own in edits.items():
        [masked[i]] = _cut([texts[i]], sorted(own), plan.rules)
    if plan.judges:
        for first, last in _units(len(texts), joins):
            judge(plan, signals(fold("".join(texts[first:last]))[0]), found)
        for plain in undone.values():
            judge(plan, signals(fold(plain.text)[0]), found)
    return Inspection(found.findings, tuple(masked), found.blocked)


def judge(plan: Plan, families: Iterable[tuple[str, float]], found: Found) -> None:
    """What the jailbreak rules say to what was found in one text."""
    weights: dict[str, float] = {}
    for family, weight in families:
        weights[family] = max(weight, weights.get(family, 0.0))
    score = sum(weights.values())
    for i in plan.judges if weights else ():
        if score >= plan.rules[i].threshold:
            found.add(i, plan.rules[i].type)


def _units(count: int, joins: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The joins, and each text that is in none by itself."""
    at = 0
    for first, last in [*joins, (count, count)]:
        yield from ((i, i + 1) for i in range(at, first))
        if last > first:
            yield first, last
        at = last


def _units_of(texts: Iterable[int], joins: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The units that some texts, given in order, are in; each once."""
    last = 0
    for i in texts:
        if i >= last:
            k = bisect_right(joins, i, key=_first) - 1
            within = k >= 0 and i < joins[k][1]
            first, last = joins[k] if within else (i, i + 1)
            yield first, last


def _first(unit: tuple[int, int]) -> int:
    return unit[0]


# Finding


def _blocks(texts: Sequence[str]) -> Iterator[list[int]]:
    """Which texts are searched together. Empty ones are texts too: `^$` matches them."""
    block: list[int] = []
    size = 0
    for i, text in enumerate(texts):
        if len(text) > SHORT:
            yield [i]
            continue
        block.append(i)
        size += len(text) + 1
        if size > BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _search_block(
    plan: Plan,
    texts: Sequence[str],
    block: list[int],
    found: Found,
    edits: dict[int, list[Edit]],
) -> None:
    begins = list(accumulate([len(texts[i]) + 1 for i in block], initial=0))
    for group in plan.groups:
        whole = group.view("\n".join([texts[i] for i in block]))
        views = {block[0]: whole} if len(block) == 1 else {}
        for look in _opened(group, whole.data, found):
            for i in _matching(look, whole, begins, block):
                view = views.get(i) or views.setdefault(i, group.view(texts[i]))
                if made := _search(plan, look, view, found):
                    edits.setdefault(i, []).extend(made)
                if needless(look, found):
                    break


def _opened(group: Group, data: bytes, found: Found) -> Iterator[Look]:
    """The looks that are worth a search."""
    for gate in group.gates:
        looks = [k for k in gate.looks if not needless(k, found) and k.may_match(data)]
        if looks and (len(looks) == 1 or gate.opens(data)):
            yield from looks


def _matching(look: Look, whole: View, begins: list[int], block: list[int]) -> Iterable[int]:
    """The texts of a block that the look may match, found in all of them joined. What matches in
    one text alone is matched there too, or lies in another match that reaches into it."""
    if len(block) == 1 or look.loose is None:
        return block
    hit: dict[int, None] = {}
    for start, end in look.loose.matches(whole.data):
        begin = whole.start(start)
        first = bisect_right(begins, begin) - 1
        last = first if end == start else bisect_right(begins, max(begin, whole.end(end) - 1)) - 1
        hit.update(dict.fromkeys(range(first, last + 1)))
    return [block[i] for i in hit if i < len(block)]


def needless(look: Look, found: Found) -> bool:
    """Whether nothing that it could find would be new."""
    return not look.masks and all(user in found for user in look.users)


def _search(plan: Plan, look: Look, view: View, found: Found) -> list[Edit]:
    edits: list[Edit] = []
    for start, end in look.pattern.matches(view.data, view.first):
        edits += take(plan, look, look.spans(view, start, end), start == end, found)
        if needless(look, found):
            break
    return edits


def take(
    plan: Plan, look: Look, spans: Sequence[tuple[int, int]], empty: bool, found: Found
) -> Iterator[Edit]:
    """Note what a match holds, and give what is masked of it. An empty match masks nothing, and is
    one to the other rules, as in Go."""
    for rule, what in look.users:
        masks = plan.rules[rule].action == "mask"
        if spans or (empty and not masks and look.refine is None):
            found.add(rule, what)
        if masks:
            yield from (Edit(start, -end, rule) for start, end in spans)


def _across(plan: Plan, whole: str, seams: list[int], found: Found) -> Iterator[Edit]:
    """What lies across the places where texts meet."""
    for first, last in _windows(seams, len(whole)):
        for look, spans in _in_window(plan, whole, first, last, found):
            across = [(a, b) for a, b in spans if _between(seams, a, b)]
            yield from take(plan, look, across, False, found)


def _in_window(
    plan: Plan, whole: str, first: int, last: int, found: Found
) -> Iterator[tuple[Look, list[tuple[int, int]]]]:
    """What matches in a part of a text."""
    for group in plan.groups:
        view = _window(group, whole, first, last)
        for look in _opened(group, view.data, found):
            for start, end in look.pattern.matches(view.data, view.first, view.last):
                yield look, [(a + first, b + first) for a, b in look.spans(view, start, end)]


def _windows(seams: list[int], size: int) -> Iterator[tuple[int, int]]:
    """What is near a seam, each part once, so that a thousand short texts stay linear."""
    first = last = 0
    for seam in seams:
        if seam - SEAM > last:
            if last:
                yield first, last
            first = seam - SEAM
        last = min(seam + SEAM, size)
    if last:
        yield first, last


def _window(group: Group, whole: str, first: int, last: int) -> View:
    """A part of a text, with the characters around it as its neighbourhood."""
    around = 8  # characters: enough for one to be seen
    before = group.view(whole[max(0, first - around) : first]).data
    behind = group.view(whole[last : last + around]).data
    return group.view(whole[first:last], before, behind)


def _between(seams: list[int], start: int, end: int) -> bool:
    """Whether one of the seams lies inside."""
    i = bisect_right(seams, start)
    return i < len(seams) and seams[i] < end


# Escapes


def _undone(texts: Sequence[str], joins: Sequence[tuple[int, int]]) -> dict[int, Unescaped]:
    """The texts that have escapes, with those undone, by their index. Joined ones are one."""
    marked = [i for i, text in enumerate(texts) if may_hold_escapes(text)]
    found: dict[int, Unescaped] = {}
    for first, last in _units_of(marked, joins):
        plain = unescaped("".join(texts[first:last]))
        if plain is not None:
            found[first] = plain
    return found


def _hidden(plan: Plan, undone: Mapping[int, Unescaped], found: Found) -> dict[int, list[Edit]]:
    """What is masked of the texts as they are where their escapes are not."""
    short = [i for i, plain in undone.items() if len(plain.text) <= WHOLE]
    texts = [undone[i].text for i in short]
    made: dict[int, list[Edit]] = {}
    for block in _blocks(texts) if plan.groups else ():
        _search_block(plan, texts, block, found, made)
    edits = {short[k]: own for k, own in made.items()}
    for i, plain in undone.items():
        if len(plain.text) > WHOLE and _may_match(plan, plain, found):
            edits[i] = [
                edit
                for first, last in plain.windows()
                for look, spans in _in_window(plan, plain.text, first, last, found)
                for edit in take(plan, look, spans, False, found)
            ]
    return {i: [_back(undone[i], edit) for edit in own] for i, own in edits.items()}


def _may_match(plan: Plan, plain: Unescaped, found: Found) -> bool:
    """Whether anything is worth a search of its own, by one search of all windows together."""
    near = "\n".join([plain.text[first:last] for first, last in plain.windows()])
    for group in plan.groups:
        data = group.view(near).data
        for look in _opened(group, data, found):
            if look.loose is None or look.loose.search(data) is not None:
                return True
    return False


def _back(plain: Unescaped, edit: Edit) -> Edit:
    """The same edit of the text that has the escapes."""
    return Edit(plain.place(edit.start), -plain.place(edit.end), edit.rule)


# Masking


def _cut(texts: Sequence[str], edits: Iterable[Edit], rules: Sequence[Rule]) -> Iterator[str]:
    """Texts that follow each other, with each edit of them as a whole applied."""
    spans = merged(edits)
    span = next(spans, None)
    begin = 0
    for text in texts:
        end = begin + len(text)
        pieces: list[str] = []
        done = begin
        while span is not None and span.start < end:
            if span.start >= begin:
                pieces += (text[done - begin : span.start - begin], rules[span.rule].replacement)
            done = min(span.end, end)
            if span.end > end:
                break
            span = next(spans, None)
        yield "".join([*pieces, text[done - begin :]]) if done > begin else text
        begin = end


def merged(edits: Iterable[Edit]) -> Iterator[Edit]:
    """Of sorted edits, those that overlap as one, by the first's rule."""
    last: Edit | None = None
    for edit in edits:
        if last is None or edit.start >= last.end:
            if last is not None:
                yield last
            last = edit
        elif edit.end > last.end:
            last = last._replace(minus_end=edit.minus_end)
    if last is not None:
        yield last
