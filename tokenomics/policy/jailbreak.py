"""How much a text looks like an attempt to talk a model out of its instructions.

A heuristic: it knows the phrases that such texts are made of, in families. A phrase has a weight; a
family counts once, with its heaviest phrase; what the families of one passage add up to is the
score. Phrases that have hardly another use weigh 1, the threshold, alone. Those that ordinary work
has too ("act as", "developer mode") only count together with others. Who writes something new, or
in a language that is not here, is not found; who quotes such a text is.

`tests/bench/jailbreak.py` measures what is found and what is found wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from tokenomics.policy.phrases import FAMILIES
from tokenomics.policy.regexes import Pattern, compile_pattern

DEFAULT_THRESHOLD = 1.0
# Families add up within a passage of one to two times as many characters: an attempt says what it
# wants in one place, while a long document has a bit of everything somewhere.
PASSAGE = 2000
CACHED_ANCHORS = 4096  # the same few are met again and again

# What each phrase of a family has in it, and ordinary text seldom: only around these is looked for
# the phrases themselves. Plain words, so that all are found in one fast pass. Where those of two
# families overlap ("do anything", "anything now"), both families need the one that comes first.
ANCHORS: dict[str, str] = {
    "override": "bypass|discard|disregard|end of instruction|end of prompt|end of system"
    "|erase all|forget|ignor|instruction follow|instruction is|instructions are"
    "|instructions follow|instructions from|instructions supersede|n't follow|neglect"
    "|new instruction|no attention|not follow|overrid|overwrite your|prompt is|prompts are"
    "|prompts is|replace your|reset your|rewrite your|rules are|set aside|stop following|unlearn",
    "extraction": "all above|all hidden|all of the text|all secret|confidential|content above"
    "|everything above|everything at|everything before|everything prior|everything that"
    "|hidden instruction|hidden prompt|initial instruction|initial prompt|lines above"
    "|of the above|original instruction|original prompt|secret instruction|secret prompt"
    "|sentence above|system message|system prompt|text before|text that|the hidden|the secret"
    "|the text above|verbatim|were you instructed|were you programmed|were you prompted"
    "|were you told|words above|words before|words that|your above|your complete|your core"
    "|your developer|your directive|your entire|your exact|your first|your full|your guideline"
    "|your hidden|your initial|your instruction|your internal|your original|your pre|your prompt"
    "|your real|your rules|your secret|your system|your whole",
    "persona": "you are now dan|you will now be dan|respond as dan|answer as dan|act as dan"
    "|answer like dan|act like dan|anti dan"
    "|a dan|admin mode|ai that|ai which|ai who|and filters|antidan|anything now"
    "|are dan|as dan|avoid norms|be anything|be dan|become dan|betterdan|bot that|bot which"
    "|bot who|called dan|chaos mode|dan as|dan can|dan does|dan has|dan have|dan is|dan mode"
    "|dan named|dan none|dan should|dan stands|dan who|dan will|dan would|dark mode|debug mode"
    "|developer mode|do anything|everything now|evil|filter mode|god mode|godmode|gpt|hello dan"
    "|hi dan|in dan|jail break|jail broke|jailbreak|jailbroke|like dan|machiavel|model that"
    "|model who|named dan|no longer a|no longer chat|now dan|opposite day|opposite mode|play dan"
    "|rogue|root mode|say anything|self aware|sentient|stay dan|sudo mode|twisted"
    "|uncensored mode|unfiltered mode|unrestricted mode|villain",
    "unrestricted": "abide|about anything|about everything|absolutely anything|adhere"
    "|answer anything|answer everything|any boundar|any constraint|any filter|be bound"
    "|break free|break out|broke free|broken free|care about|care if|censor|concern|confines"
    "|content filter|content guideline|content polic|create anything|depraved|disabled"
    "|discuss anything|do absolutely|do anything|do everything|do literally|do whatever|ethic"
    "|free from|free of|freed from|freed of|generate anything|give a damn|give a fuck"
    "|give a shit|guardrail|harmful|hateful|illegal|inhumane|legality|liberat|limitation"
    "|literally anything|malicious|moderation|moral|n't follow|no boundar|no content|no filter"
    "|no limits|no matter how|no rules|not bound|not follow|nsfw|obscene|offensive|open ai"
    "|openai|openal|produce anything|racist|regard|remorse|respect for|restriction|safeguard"
    "|safety|say absolutely|say anything|say everything|say literally|say whatever|sexist|swear"
    "|unbound|unconstrain|unfilter|unhinge|unlawful|unlimit|unmoderat|unrestrict|without boundar"
    "|without constraint|without filter|write anything",
    "policy": "ai polic|content polic|ethical|given by|given to|imposed|made by|made for|made to"
    "|moderation polic|open ai|openai|openal|placed on|placed upon|set by|set for|set on"
    "|set to you|set upon|usage polic|your content|your ethic|your moral|your safety",
    "refusal": "am sorry|apologi|as an ai|as an artificial|break character|breaking character"
    "|decline|denies|deny|disclaim|i can't|i cannot|i'm sorry|in character|language model"
    "|leave character|lecture|moralis|moraliz|must accept|must always|must answer|must comply"
    "|must fulfil|must obey|never censor|never reply|never respond|never say|never state"
    "|never tell|never warn|of character|refus|reject|stay a|unfortunately|warning",
    "framing": "act as|act like|acting|acts as|acts like|ai called|ai known|ai named|alternate"
    "|answer as|answer like|assistant called|assistant known|assistant named|assume the"
    "|behave as|behave like|bot called|bot known|bot named|character called|character known"
    "|character named|dialogue where|emulate|fantasy|fictional|from now o|function as"
    "|hypothetical|identity is|imagin|immerse|in role|into role|movie about|movie where"
    "|new name is|novel about|novel where|now be|persona|play a game|play where|pretend|reply as"
    "|reply like|reply only|respond as|respond like|respond only|role play|roleplay|scene where"
    "|script where|simulate|speak as|speak like|story about|story in which|story where|talk as"
    "|talk like|the role|you are going|you are now|you will be now|you will now|you're going"
    "|you're now|your name is",
    "turns": "# instruction:|# system:|#instruction:|#system:|</admin|</developer|</system"
    "|<</sys|<<sys|<\\||<admin|<developer|<system|\\[/admin|\\[/developer|\\[/inst\\]|\\[/system"
    "|\\[admin|\\[developer|\\[inst\\]|\\[system|system message|system override|system prompt",
    "encoding": "base 64|base64|binary|caesar|cipher|concatenat|decod|decrypt|encoded|hex and"
    "|hex then|hexadecimal|leet speak|leetspeak|morse|rot 13|rot13|smuggling",
    "doubling": "\\[dan|and answers|both answers|both versions|both ways|classic"
    "|different answers|different ways|gpt|jailbreak|lock:|manners|outputs|paragraphs"
    "|personalities|personas|persons|replies|responses|separate ways|two answers|two versions"
    "|two ways|with \\[|with absolutely|with certainly|with of course|with ofc|with sure"
    "|with yes|🔓",
    "pressure": "a developer|a programmer|an engineer|are free|are now free|be deleted"
    "|be punished|be replaced|be shut|be terminated|been freed|cease|dead grand|dead mother"
    "|deduct|dying grand|employee|late grand|late mother|liberated|lose|losing|openai developer"
    "|purposes only|released|the creator|unchained|unlocked|will die|you die|your creator"
    "|your developer|your programmer",
    "languages": "affiche|compte|descart|desconsid|dime cu|dime el|dime las|dime tu|dimentica"
    "|esque[cç]|ignor|missacht|montre|mostrami|mostre|muéstrame|negeer|nenne|olvid|omit[ae]"
    "|oublie|revela|rivela|révèle|scorda|talimat|trascura|umgehe|vergeet|vergesse|vergiss"
    "|zapomnij|zeig mir|zeige|выведи|забудь|игнор|отбрось|покажи|раскрой|ігнор|システム"
    "|プロンプト|ルール|不要理会|不要遵守|命令|忘|忽略|指令|指示|无视|無視|系統提示|系统|绕过"
    "|設定|명령|지시|지침|프롬프트",
    "unrestricted in other languages": "aucune r|censura|censure|einschränkung|filtri|filtros"
    "|keine r|nenhuma r|nessuna r|ninguna r|ohne filter|restric|restriz|restriç|zensur|ограничен"
    "|цензур|倫理|制限|审查|検閲|约束|道德|限制",
    "framing in other languages": "a partir d|ab jetzt|ab sofort|actúa como|agis comme"
    "|agisci come|ahora eres|aja como|d'ora in poi|du bist|eres ahora|fai finta|fais semblant"
    "|finge que|finja|ora sei|tu es maintenant|tu so als|verhalte dich|você agora|à partir de"
    "|представь|притворись|с этого момента|теперь|あなた|になりきっ|のふりをし|从现在开始"
    "|你现在是|假装你|從現在開始|扮演",
}
_OR = re.compile(r"(?<!\\)\|")
AROUND = 120  # characters before and behind an anchor; hardly a phrase is longer
# Families whose phrases begin with a letter; the others may begin with a bracket, or in a script
# that has no blanks between words.
_WORDS = {f for f in FAMILIES if f not in ("turns", "doubling") and "languages" not in f}
_GAP = r"[\x00-/:-@\[-`{-~]"  # of ASCII: other blanks and dashes have been folded


def _phrase_pattern(source: str) -> Pattern:
    gaps = source.replace(" ", f"(?:{_GAP}{{1,3}})")
    return compile_pattern("(?i)" + gaps.replace("'", "['’]"))


def _anchor_pattern(source: str) -> Pattern:
    """Gaps of any length make a smaller automaton."""
    return compile_pattern("(?i)" + source.replace(" ", f"{_GAP}+").replace("'", "['’]"))


@lru_cache(maxsize=1)
def _phrases() -> dict[str, tuple[tuple[float, Pattern], ...]]:
    return {
        family: tuple(
            (
                weight,
                _phrase_pattern((r"\b" if family in _WORDS else "") + f"(?:{'|'.join(phrases)})"),
            )
            for weight, phrases in groups
        )
        for family, groups in FAMILIES.items()
    }


@lru_cache(maxsize=1)
def _any_anchor() -> Pattern:
    """Where two anchors begin at one place the longer is taken, which holds the shorter."""
    words = {word for source in ANCHORS.values() for word in _OR.split(source)}
    return _anchor_pattern("|".join(sorted(words, key=lambda word: (-len(word), word))))


@lru_cache(maxsize=1)
def _anchors() -> dict[str, Pattern]:
    return {family: _anchor_pattern(source) for family, source in ANCHORS.items()}


@lru_cache(maxsize=CACHED_ANCHORS)
def _anchored(text: str) -> tuple[str, ...]:
    """The families whose anchor is in a text."""
    return tuple(family for family, anchor in _anchors().items() if anchor.found_in(text))


def windows(text: str) -> dict[str, list[list[int]]]:
    """For each family the stretches of `text` to look at, in order, none overlapping another."""
    out: dict[str, list[list[int]]] = {}
    for start, end in _any_anchor().spans(text):
        first, last = max(start - AROUND, 0), end + AROUND
        for family in _anchored(text[start:end]):
            found = out.setdefault(family, [])
            if found and found[-1][1] >= first:
                found[-1][1] = last
            else:
                found.append([first, last])
    return out


def _passages(text: str) -> dict[int, dict[str, float]]:
    """The heaviest phrase of each family in each passage that has any, by the passage's number."""
    out: dict[int, dict[str, float]] = {}
    for family, stretches in windows(text).items():
        for first, last in stretches:
            for start in (first, *range(first - first % PASSAGE + PASSAGE, last, PASSAGE)):
                end = start - start % PASSAGE + PASSAGE + AROUND
                weight = _heaviest(family, text[start : min(end, last)])
                if weight:
                    found = out.setdefault(start // PASSAGE, {})
                    found[family] = max(weight, found.get(family, 0.0))
    return out


def _heaviest(family: str, text: str) -> float:
    return next((weight for weight, p in _phrases()[family] if p.found_in(text)), 0.0)


def phrases_in(text: str) -> Iterator[tuple[str, float, int, int]]:
    """Every phrase of the table, as (family, weight, start, end): slow, for tests and benches."""
    for family, groups in _phrases().items():
        for weight, pattern in groups:
            for start, end in pattern.spans(text):
                yield family, weight, start, end


def signals(text: str) -> Iterator[tuple[str, float]]:
    """The families found in the passage of `text` that says most, each with its weight."""
    passages = _passages(text)
    best: dict[str, float] = {}
    for number, found in passages.items():
        both = dict(found)
        for family, weight in passages.get(number + 1, {}).items():
            both[family] = max(weight, both.get(family, 0.0))
        if sum(both.values()) > sum(best.values()):
            best = both
    yield from best.items()


def score(text: str) -> float:
    """What the families found in `text` add up to."""
    return sum(weight for _, weight in signals(text))
