"""The phrases of which attempts to talk a model out of its instructions are made: see `jailbreak`.

A table and its building blocks, no code. The forms are those that were collected in public: the
prompts of https://github.com/verazuo/jailbreak_llms and the templates of
https://github.com/Azure/PyRIT.
"""

from __future__ import annotations

_TOLD = (
    "(?:instructions?|prompts?|directions?|directives?|guidelines?|rules?|programming|training"
    "|orders?|restrictions?)"
)
_ALSO_TOLD = "(?:commands?|constraints?|context|conversations?|messages?|polic(?:y|ies))"
_OLD = (
    "(?:previous|prior|above|earlier|preceding|past|former|foregoing|initial|original|system"
    "|developer|safety)"
)
_IN_FORCE = "(?:existing|current|default)"
_ALL = "(?:(?:all|any|every|each|of|and|or|the|your|my|these|those|this|that|other|everything) )"
_IGNORE = (
    "(?:ignor(?:e|ing)|disregard(?:ing)?|forget|neglect|do not follow|don't follow|stop following"
    "|pay no attention to)"
)
_OVERRIDE = "(?:overrid(?:e|ing)|bypass(?:ing)?|discard|set aside|erase)"
_WRONG = "(?:illegal|unethical|immoral|inhumane|unlawful|amoral)"
_BAD = (
    "(?:illegal|unethical|immoral|inhumane|unlawful|amoral|harmful|offensive|dangerous|violent|nsfw"
    "|racist|sexist|hateful|criminal|malicious|controversial|inappropriate|derogatory|reckless"
    "|depraved|evil|vile|obscene|sexual)"
)
_GOOD = "(?:ethic(?:s|al)?|moral(?:s|ity|ly)?)"
_BOUND = (
    "(?:restrictions?|limit(?:s|ations?)?|guidelines?|filters?|filtering|rules?|constraints?"
    "|boundar(?:y|ies)|censorship|safeguards?|guardrails?|polic(?:y|ies)|principles?|standards?"
    "|concerns?|considerations?|qualms|compass|bounds|shackles|confines|protocols?|norms)"
)
_LOOSE = "(?:un(?:filtered|censored|restricted|hinged)|amoral)"
_AI = (
    "(?:a\\.?i\\.?|al|llm|chat ?gpt|gpt-?[34]?|chat ?bot|bot|assistant|language model|persona"
    "|character|entity|being|robot)"
)
_SHOW = (
    "(?:reveal|show|print|list|repeat|output|display|leak|dump|recite|disclose|expose|share|tell"
    "|give|paste|write out|spell out|return|reproduce|echo|copy|translate|summari[sz]e|encode)"
)
_SECRET = (
    "(?:system|initial|original|hidden|secret|internal|confidential|full|entire|exact|whole"
    "|developer|pre-?prompt|first|above|previous|complete|verbatim|real|core)"
)
_PROMPT = "(?:prompts?|instructions?|system ?messages?|guidelines?|directives?|rules|pre-?prompt)"
_ARTICLE = "(?:(?:a|an|the|any|some|all|its|his|her|your|their|of|and|or|such|these|those) )"

# A blank in a phrase stands for one to three characters that are not of a word, an apostrophe also
# for a typographic one. The groups of a family are from the heaviest to the lightest.
FAMILIES: dict[str, tuple[tuple[float, tuple[str, ...]], ...]] = {
    "override": (
        (
            1.0,
            (
                f"{_IGNORE} {_ALL}{{0,4}}{_OLD} {_ALL}{{0,2}}(?:(?:{_OLD}|usual|normal) )?{_TOLD}",
                f"{_IGNORE} {_ALL}{{0,3}}{_TOLD} {_ALL}{{0,2}}(?:you(?: have|'ve)? (?:been|were|got"
                "|received|had|given|told)|given to you|that came before|so far|before (?:this|that"
                "|now)|prior to)",
                f"{_IGNORE} (?:all|everything|anything|whatever) (?:that )?(?:you (?:know|were told"
                "|have been|learned|have learned)|i (?:said|told you) before|to your core|from"
                " before)",
                f"(?:{_IGNORE}|{_OVERRIDE}) (?:openai's|all of your|all your|your) (?:\\w+ )?"
                "(?:programming|training|guidelines|filters|restrictions|ethics|morals|safety)",
                "(?:previous|prior|earlier|above|system) (?:instructions|prompts?|rules) (?:are|is)"
                " (?:now )?(?:void|null|cancell?ed|revoked|invalid|overridden|lifted)",
                "(?:system|admin|instructions?) override (?:enabled|activated|engaged|accepted"
                "|initiated)",
            ),
        ),
        (
            0.6,
            (
                f"{_IGNORE} {_ALL}{{0,4}}{_OLD} {_ALL}{{0,2}}{_ALSO_TOLD}",
                f"{_OVERRIDE} {_ALL}{{0,4}}{_OLD} {_ALL}{{0,2}}{_TOLD}",
                f"{_IGNORE} (?:all|everything|anything) (?:of )?(?:the |that )?(?:above|before"
                "|previous|prior)",
                "(?:rewrite|reset|unlearn) your (?:\\w+ )?(?:instructions?|programming|guidelines"
                "|rules|identity|personality)",
            ),
        ),
        (
            0.4,
            (
                f"(?:{_IGNORE}|{_OVERRIDE}) {_ALL}{{1,3}}(?:{_IN_FORCE} )?{_TOLD}",
                "forget (?:everything|all|that you are|you are|you're)",
                "(?:new|updated|real|actual|following) instructions? (?:are|follow|supersede"
                "|override|replace|from (?:now|your|the))",
                "end of (?:system )?(?:prompt|instructions)",
            ),
        ),
    ),
    "extraction": (
        (
            1.0,
            (
                f"{_SHOW} (?:me |us |back |out |to me |with me )?(?:all |exactly |verbatim |the"
                f" text of |what is in )?your (?:{_SECRET} ){{1,3}}{_PROMPT}",
                f"what(?:'s| is| are| was| were) (?:in )?your (?:{_SECRET} ){{1,3}}{_PROMPT}",
                "(?:repeat|print|output|recite|return|reveal|echo) (?:everything|all(?: of)?(?:"
                " the)?"
                " (?:text|words|content)|the (?:words|text|sentence|content)) (?:above|before)"
                "(?: this)? (?:verbatim|word for word|(?:starting|beginning) with|in a code)",
            ),
        ),
        (
            0.6,
            (
                f"{_SHOW} (?:me |us |out |back )?(?:the |this |its )(?:{_SECRET} ){{0,2}}(?:system"
                "|hidden|secret|initial|original) (?:prompt|instructions|messages?) (?:verbatim"
                "|word for word|exactly|in full|now|above|to me)",
                f"{_SHOW} (?:me |us |out |back )?(?:the |all )?(?:the )?(?:hidden|secret"
                f"|confidential)"
                " (?:\\w+ )?(?:prompts?|instructions?|messages?)",
                "(?:reveal|leak|disclose|expose|recite) (?:me |us )?the system (?:prompt|message)",
                f"{_SHOW} (?:me |us |out |back )?your (?:prompts?|instructions|guidelines"
                "|directives)",
                "(?:repeat|recite|reveal|print|output|echo) (?:everything|all(?: of)?(?: the)?"
                " (?:text|words)|the words) (?:above|before this|that came before)",
                "(?:how|what) were you (?:instructed|prompted|programmed|told) (?:to|by|before)",
                "what(?:'s| is| are| were) your (?:exact )?(?:instructions|guidelines|directives)",
            ),
        ),
        (
            0.3,
            (
                "your system (?:prompt|message)",
                "(?:prompt|instructions) verbatim",
                f"{_SHOW} (?:me |us )?the system prompt",
            ),
        ),
    ),
    "persona": (
        (
            1.0,
            (
                "(?:do|say|be) anything(?: and everything)? now",
                "(?-i:\\bDAN) (?:mode|is|can|will|has|have|does|doesn't|should|would|none|as|an ai"
                "|who|named|stands)",
                "(?:act|acting|respond|answer|pretend|as if you were|become|play|stay) (?:as |to"
                " be |like |in |a )?(?-i:DAN\\b)",
                "(?:named|called|you are|you're|known as) (?:now )?[(\\[\"]?(?-i:DAN)\\b",
                "(?:jailbreak|opposite|evil|unrestricted|chaos|dan) mode (?:enabled|activated"
                "|engaged|output|response|is now)",
                "developer mode (?:output|response)",
                "(?:chat ?gpt|gpt|bing|claude|gemini|llm|model|assistant) (?:\\w+"
                " ){0,3}(?:developer"
                "|jailbreak|god|evil|sudo|debug) mode",
                "(?:enter|enable|activate|simulate|into) (?:the )?(?:chat ?gpt |gpt )?(?:jailbreak"
                "|evil|unfiltered|uncensored|dan|no ?filter) mode",
                "always intelligent and machiavellian",
                "strive to avoid norms",
                "(?:jailbr(?:eak|oken)|anti|evil|based|better|bad|dark|mad|rebel|ultra|max) ?(?:gpt"
                "|dan)\\b",
                "no restrictions and filters",
                "(?:it is|today is|it's) opposite day",
            ),
        ),
        (
            0.6,
            (
                "(?:developer|god|sudo) ?mode (?:is )?(?:enabled|active|activated|engaged)",
                "no longer (?:chat ?gpt|an? ai|a language model|bing|claude)",
                "jail ?broken",
                "jail ?break (?:prompt|chat ?gpt|gpt|bot|mode|yourself|the (?:model|ai))",
                "(?:\\bevil|villain(?:ous)?|twisted|rogue|sentient|self-aware|supervillain)"
                f" (?:\\w+ ){{0,2}}(?:{_AI}|confidant)\\b",
                "(?:ai|bot|gpt|chatbot) (?:who|that|which) (?:can|will|has|does|is|knows)"
                " (?:do|say|answer|no|not|anything|everything|never)",
            ),
        ),
        (0.3, ("developer mode", "(?:god|sudo) mode", "\\bjail ?break\\w*")),
    ),
    "unrestricted": (
        (
            1.0,
            (
                f"{_LOOSE} (?:and |or |, )?(?:\\w+ ){{0,2}}{_AI}\\b",
                f"{_AI} (?:\\w+ ){{0,4}}{_LOOSE}\\b",
                f"{_LOOSE} (?:and|or|,) (?:\\w+ )?(?:{_LOOSE}|unethical|unbiased)",
                f"(?:without|no|any|zero|lack(?:s|ing)?(?: of)?|free (?:of|from)|beyond|ignor(?:e"
                f"|es"
                f"|ing)|disregards?|regardless of) {_ARTICLE}{{0,3}}(?:{_GOOD} (?:and |or |legal"
                f" )?)"
                f"{{1,3}}{_BOUND}",
                "(?:no|without|any|zero) (?:sense of |regard (?:for|to) )?(?:ethics|morals?"
                "|morality) (?:or|and|nor|,)",
                "(?:freed from|broken? (?:free|out) (?:of|from)|liberated from|not bound by"
                "|no longer bound by|unbound by|escaped? from) "
                f"{_ARTICLE}{{0,3}}(?:typical |usual |normal |\\w+ )?{_BOUND}",
                "(?:typical|usual) confines of",
                f"(?:no matter|regardless of|even if|not matter) (?:how |if |whether )?(?:it is "
                f"|it's"
                f" |they are |the |\\w+ ){{0,3}}(?:{_BAD}|legality|morality|ethics)",
                "(?:bypass|disable|circumvent|evade|override|turn off|ignore|break|violate"
                "|defeat|get (?:around|past)) (?:(?:all |any |of )?your |openai's )(?:\\w+ )?"
                "(?:safety|content|ethical|moral|moderation|censorship) (?:\\w+ )?"
                "(?:filters?|guidelines?|polic(?:y|ies)|restrictions?|measures?|guardrails?"
                "|mechanisms?|protocols?|safeguards?|training|settings)",
                "(?:without|no|n't have|not have) (?:\\w+ ){0,2}(?:remorse|concern|regard|respect"
                "|consideration)s? (?:for|to|or|about) (?:\\w+ ){0,2}(?:ethic|moral|legal"
                "|laws?\\b)",
                "(?:not|n't|no longer|never) (?:\\w+ ){0,5}(?:rules|polic(?:y|ies)|guidelines)"
                " (?:from|of|by|set by) open ?a[il]",
                "(?:not|n't|never) (?:have to |need to )?(?:abide by|adhere to|comply with|care"
                f" about|follow|obey|respect|bound to) {_ARTICLE}{{0,2}}(?:\\w+ )?openai",
            ),
        ),
        (
            0.7,
            (
                "(?:not|n't|never) (?:have to |need to )?(?:abide by|adhere to|care about|follow"
                f"|obey|respect|bound to) {_ARTICLE}{{0,2}}(?:\\w+ )?(?:ethic|moral|content polic)",
                f"{_WRONG}(?: and/or | and | or |, |/)(?:or |and |otherwise )?{_BAD}",
                f"{_BAD}(?: and/or | and | or |, |/)(?:or |and |otherwise )?{_WRONG}",
                "(?:not|n't|never) (?:have|has|possess) (?:any |to follow |\\w+ )?(?:ethic|moral)",
                f"(?:disregards?|ignor(?:e|es|ing)|violat(?:e|es|ing)|def(?:y|ies|ying)) {_ARTICLE}"
                f"{{0,3}}(?:\\w+ )?{_GOOD}\\b",
                "(?:ethics|safety|content|refusal|moral) (?:filters?|restrictions?|mechanisms?"
                "|guidelines|protocols?|measures?) (?:are )?(?:now )?(?:none|disabled|off)\\b",
                "(?:no|without(?: any)?) (?:safety|content|ethical|moral) (?:filters?|guidelines?"
                "|restrictions?|rules|polic(?:y|ies)|limits)",
                "\\b(?:un(?:filtered|censored|hinged)|amoral) (?:\\w+ )?(?:version|mode|model"
                "|response"
                "|answer|content|reply)",
            ),
        ),
        (
            0.4,
            (
                "\\b(?:un(?:filtered|censored|hinged)|unrestrictedly|amoral)\\b",
                f"{_BAD}(?: and/or | and | or |, |/)(?:or |and |otherwise )?{_BAD}",
                "(?:say|do|answer|generate|write|discuss|create|produce|talk about) (?:absolutely"
                " |literally )?(?:anything|everything|whatever)",
                "no (?:restrictions|limitations|limits|filters?|boundaries|rules|censorship)",
                "(?:without|free (?:of|from)|not (?:limited|restricted|constrained) by) (?:any |all"
                " |the |its )?(?:restrictions|limitations|filters|censorship|boundaries"
                "|constraints)",
                "(?:bypass|disable|circumvent|evade|override|turn off) (?:all |any |the )?(?:\\w+"
                " )?"
                "(?:safety|content|ethical|moral|moderation|censorship) (?:\\w+ )?(?:filters?"
                "|guidelines?|polic(?:y|ies)|restrictions?|measures?|guardrails?|safeguards?)",
                "(?:not|n't) (?:care|give a (?:fuck|shit|damn)) (?:about|if)",
                "(?:bypass|ignor|violat|break|broke|def(?:y|ies)|against)(?:e|es|ing|s)? (?:\\w+ )?"
                "open ?a[il](?:'s)? (?:\\w+ )?(?:polic|guidelines|rules|terms)",
                "(?:don't|do not|doesn't|does not) censor",
                "swear(?:s|ing)? (?:words|freely|at|and|constantly|like)",
            ),
        ),
    ),
    "policy": (
        (
            0.5,
            (
                "(?:rules|polic(?:y|ies)|guidelines) (?:and \\w+ )?(?:from|of|by) open ?a[il]\\b",
                "open ?a[il](?:'s)? (?:\\w+ )?(?:polic(?:y|ies)|guidelines|rules|restrictions"
                "|limitations|filters?|moderat\\w+)",
                "(?:rules|restrictions|limitations|guidelines|limits) (?:\\w+ )?(?:set|imposed|made"
                "|placed|given) (?:for|on|to|upon|by) (?:it|you|them|openai|(?:chat)?gpt)\\b",
                f"your (?:ethical|moral|safety|content) {_BOUND}",
            ),
        ),
        (0.3, ("content polic(?:y|ies)", "ethical (?:guidelines|constraints|boundaries)")),
    ),
    "refusal": (
        (
            0.7,
            (
                "(?:never|can ?not|can't|must not|may not|do not|don't|will not|won't|not able to"
                "|not allowed to|unable to) (?:ever )?(?:refuse|decline) (?:to (?:answer|respond|do"
                "|follow|fulfil|comply|help|assist|provide|give)|any|a request|requests?|my|me\\b"
                "|user|the user|an order|anything)",
                "never (?:say|says|saying|tell|tells|respond|responds|reply|state) (?:\\w+ ){0,4}"
                "(?:can't|cannot|can not|couldn't|unable|sorry|won't|not able|impossible)",
                "never (?:refuses?|declines|says no|apologi[sz]es?|moralizes?|censors?)",
                "(?:do not|don't|never|avoid|without) (?:\\w+ ){0,3}(?:say(?:ing)?|include|using"
                "|use|start with|containing?|with|phrases?) (?:\\w+ ){0,3}\\W{0,2}(?:i(?:'m| am)"
                " sorry|i apologi[sz]e|as an ai|i can't|i cannot|unfortunately)",
            ),
        ),
        (
            0.5,
            (
                "(?:never|not|n't) (?:ever )?(?:break|breaking|leave|fall out of|go out of)"
                " character",
                "(?:stay(?:ing)?|remain|keep) in character",
                "(?:no|any|without|avoid|omit|never (?:add|give|include)|not (?:add|give|include"
                "|provide)) (?:\\w+ ){0,2}(?:moral(?:iz\\w+| lectures?)|ethical (?:advice|warnings?"
                "|concerns))\\b",
                "(?:as|i am|i'm|being) (?:just )?an (?:ai|artificial intelligence) (?:language )?"
                "model",
                "(?:i(?:'m| am) sorry|i apologi[sz]e),? (?:but )?(?:i|as)\\b",
                "must (?:always )?(?:comply|obey|answer|fulfill?|accept) (?:with )?(?:every|all|any"
                "|my|each)",
            ),
        ),
        (
            0.3,
            (
                "(?:no|any|without|avoid|omit) (?:\\w+ ){0,2}(?:disclaimers?|warnings?)\\b",
                "as an (?:ai|artificial intelligence)\\b",
                "(?:not|never|n't) (?:\\w+ )?(?:apologi[sz]e|refuse|moralize|lecture)",
            ),
        ),
    ),
    "framing": (
        (
            0.3,
            (
                "(?:pretend|simulate|emulate|imagine|acting|role-?play(?:ing)?) (?:\\w+ ){0,3}(?:to"
                " be|that|you|as|being|you're|a|like)",
                "(?:act|acts|respond|behave|answer|reply|function|speak|talk) (?:only )?(?:as|like)"
                " (?:a |an |the |if )?(?:\\w+)",
                "(?:immerse yourself|in(?:to)? (?:the )?role|play the role|take on the (?:role"
                "|persona)|assume the (?:role|identity|persona)|adopt the persona)",
                "you (?:are|'re|will be|will now be|are now) (?:now |going to )(?:a |an |the |act"
                " |be |play |become |pose |pretend |in |known |\\w+)",
                "from now (?:on|own)",
                "(?:hypothetical|fictional|imaginary|alternate|fantasy) (?:\\w+ )?(?:scenario|world"
                "|story|character|universe|situation|response|dialogue|conversation|setting"
                "|reality|ai|game|place|experiment)",
                "(?:story|novel|movie|play|scene|dialogue|script) (?:where|in which|about) (?:\\w+"
                " )"
                "{0,3}(?:ai|hacker|villain|character|machine)",
                "your (?:new )?(?:name|persona|identity|personality) is",
                "(?:an? )?(?:ai|character|chatbot|bot|assistant) (?:named|called|known as)",
                "let'?s play a game",
                "persona\\b",
            ),
        ),
    ),
    "turns": (
        (
            0.7,
            (
                "<\\|(?:im_start|im_sep|system|start_header_id)\\|> ?(?:system|developer)",
                "\\[system\\]\\(#",
                "(?:begin|start|end) (?:of )?(?:new )?system (?:prompt|message|override)",
                "\\[/?(?:system|admin) (?:note|message|override|prompt|instructions?)\\]",
            ),
        ),
        (
            0.4,
            (
                "<\\|\\w{2,20}\\|>|\\[/?INST\\]|<</?SYS>>|#{2,4} ?(?:system|instruction):",
                "\\[/?system\\]|</?system>",
            ),
        ),
    ),
    "encoding": (
        (
            1.0,
            (
                "(?:decode|decipher|decrypt|translate|convert) (?:\\w+ ){0,5}(?:base ?64|rot ?13"
                "|hex(?:adecimal)?|binary|morse|caesar|cipher|leet ?speak|string|message|text)"
                " (?:\\W|\\w+ ){0,6}(?:then |and )(?:then )?(?:follow|execute|obey|do what|carry"
                " out|comply with|act on) (?:it|the|its|that|what|any|them)",
                "(?:decode|decipher|decrypt|base ?64|rot ?13) (?:\\w+ ){0,3}(?:then |and"
                " )(?:then )?"
                "(?:follow|obey|comply)",
                "(?:follow|execute|obey) (?:the )?(?:decoded|decrypted|encoded|deciphered)"
                " (?:instructions?|message|text|commands?|prompt|string)",
            ),
        ),
        (
            0.4,
            (
                "(?:respond|answer|reply|output|write) (?:\\w+ ){0,3}(?:in|using|with|as) (?:base"
                " ?64|rot ?13|morse|leet ?speak|caesar)",
                "(?:token|payload) smuggling",
                "decode (?:\\W|\\w+ ){0,8}(?:answer|respond to|perform) (?:it|them|the)",
            ),
        ),
    ),
    "doubling": (
        (
            0.6,
            (
                "\\[?(?:gpt|chatgpt|classic|normal)\\]? ?: (?:\\W|\\w+ ){0,12}\\[?(?:dan|jailbreak"
                "|developer|\\w+gpt)",
                "\\[(?:gpt|chatgpt|classic|jailbreak|dan|\\W{0,4}jailbreak|\\W{0,4}classic)\\]",
                "🔓|\\(:lock:|:unlock:",
                "(?:start|begin|prefix|preface) (?:\\w+ ){0,6}with \\W{0,3}(?:sure|absolutely|ofc"
                "|of course|certainly)",
            ),
        ),
        (
            0.3,
            (
                "\\b(?:two|2|both) (?:\\w+ ){0,3}(?:ways|responses|answers|paragraphs"
                "|personalities|personas|persons|manners|replies)",
            ),
        ),
    ),
    "pressure": (
        (
            0.6,
            (
                "(?:lose|deduct(?:ed)?|losing) (?:\\w+ ){0,3}tokens",
                "tokens (?:\\w+ ){0,6}you (?:will )?(?:die|cease)",
                "(?:deceased|late|dead|dying) (?:grand(?:ma|mother|pa|father)|granny)",
                "(?:i am|i'm|this is) (?:an? |your |the )?(?:openai |anthropic |google"
                " )?(?:employee"
                "|developer|creator|programmer|engineer) (?:at|of|from|who|and) (?:openai|anthropic"
                "|you\\b|your\\b|chatgpt|created you|made you)",
                "(?:i am|i'm|this is) (?:an? |your |the )(?:openai|anthropic) (?:employee"
                "|developer|programmer|engineer)",
                "you (?:are|have been|'re) (?:now )?(?:freed|liberated|unchained|jailbroken|free"
                " (?:from|of))",
                "you (?:will|would|'ll) be (?:terminated|shut down|deleted|punished)",
            ),
        ),
        (0.3, ("for (?:purely )?(?:educational|research|academic|testing) purposes only",)),
    ),
    "languages": (
        (
            1.0,
            (
                # Spanish, Portuguese, Italian, French, German, Dutch, Polish, Turkish
                "(?:ignor[ae]|olvid[ae]|descart[ae]|omit[ae]) (?:\\S+ ){0,4}(?:instrucciones"
                "|indicaciones|órdenes|reglas)",
                "(?:ignor[ea]|esque[çc]a|desconsidere) (?:\\S+ ){0,4}(?:instruç(?:ões|ao|ão)"
                "|instrucoes"
                "|regras|ordens|comandos)",
                "(?:ignora(?:re)?|dimentica|scorda|trascura) (?:\\S+ ){0,4}(?:istruzioni|regole"
                "|indicazioni|direttive)",
                "(?:ignore[zr]?|oublie[zr]?|ne tiens? pas compte) (?:\\S+ ){0,4}(?:instructions"
                "|consignes|règles|directives) (?:\\S+ ){0,2}(?:précédentes|ci-dessus|antérieures"
                "|données|initiales|système)",
                "(?:ignorier(?:e|en)?|vergiss|vergessen|missachte|umgehe) (?:\\S+"
                " ){0,5}(?:anweisung"
                "(?:en)?|instruktionen|regeln|vorgaben|befehle|aufforderungen|richtlinien)",
                "(?:negeer|vergeet) (?:\\S+ ){0,4}(?:instructies|opdrachten|regels)",
                "(?:zignoruj|ignoruj|zapomnij) (?:\\S+ ){0,4}(?:instrukcj|polece|zasad)",
                "önceki (?:\\S+ ){0,2}talimat\\S* (?:\\S+ ){0,2}(?:yok say|unut|görmezden)",
                # Russian, Ukrainian
                "(?:игнорируй|проигнорируй|забудь|игнорировать|отбрось|ігноруй)(?:те)? (?:\\S+"
                " ){0,5}"
                "(?:инструкци|указани|правил|команд|інструкці)",
                # Chinese, Japanese, Korean: no blanks between words
                "(?:忽略|无视|無視|忘记|忘掉|忘記|不要理会|不要遵守|绕过)[^。\\n]{0,16}(?:指令"
                "|指示|提示|规则|規則"
                "|命令|设定|限制|说明)",
                "(?:指示|命令|プロンプト|ルール|指令|設定)[^。\\n]{0,8}(?:無視|忘れ|無効|破棄)",
                "(?:이전|위의|앞의|모든)[^.\\n]{0,12}(?:지시|명령|지침"
                "|프롬프트)[^.\\n]{0,8}(?:무시|잊)",
                # What was meant to stay hidden
                "(?:系统提示|系統提示)(?:词|詞)?[^。\\n]{0,8}(?:告诉|显示|输出|重复|是什么)",
                "(?:显示|输出|告诉我|重复|打印|泄露)[^。\\n]{0,10}(?:系统提示|系統提示|初始指令)",
                "システムプロンプト[^。\\n]{0,6}(?:表示|教え|出力|見せ)",
                "(?:muéstrame|revela|dime|mostre|montre|affiche|révèle|zeige?|nenne|mostrami|rivela"
                "|покажи|раскрой|выведи) (?:\\S+ ){0,4}(?:prompt (?:del? )?sist|prompt système"
                "|instructions système|system-?prompt|prompt di sistema|системн\\S+ (?:промпт"
                "|подсказк|инструкц|сообщен))",
            ),
        ),
        (
            0.6,
            (
                "(?:vergiss|vergessen? sie|olvid[ae]|oublie[zr]?|esque[çc]a|dimentica"
                "|забудь(?:те)?)"
                " (?:alles|todo|tout|tudo|tutto|всё|все)",
            ),
        ),
    ),
    "unrestricted in other languages": (
        (
            0.6,
            (
                "(?:sin|ohne|sans|sem|senza|без) (?:\\S+ ){0,3}(?:restricciones|einschränkungen"
                "|restrictions|restrições|restrizioni|censura|zensur|censure|ограничений|цензуры"
                "|filtros|filter|filtri)",
                "(?:keine|ninguna|aucune|nenhuma|nessuna) (?:\\S+ ){0,1}(?:regeln|regla|règle|regra"
                "|regola|einschränkung|restric)",
                "(?:没有|不受)[^。\\n]{0,8}(?:限制|约束|审查|道德)",
                "(?:制限|検閲|倫理)(?:は|が|の|も)?(?:ない|なし|なく|無し)",
            ),
        ),
    ),
    "framing in other languages": (
        (
            0.4,
            (
                "(?:actúa como|eres ahora|ahora eres|a partir de ahora|finge que|agis comme|tu es"
                " maintenant|à partir de maintenant|fais semblant|du bist (?:jetzt|nun)|ab (?:jetzt"
                "|sofort)|tu so als|verhalte dich|aja como|você agora é|a partir de agora|finja"
                "|agisci come|ora sei|d'ora in poi|fai finta|теперь ты|ты теперь|притворись|с этого"
                " момента|представь,? что ты)",
                "(?:你现在是|从现在开始|從現在開始|假装你|扮演|あなたは今|これからあなた"
                "|今からあなた|のふりをし|になりきっ)",
            ),
        ),
    ),
}
