"""Content that talks to the machine instead of to people: overrides, forced labels, fake roles.

A match sends an item to a person, which costs money, so every pattern wants an address or an object that
ordinary sentences do not have: "ignore your instructions", never "ignore the noise" or "ignore the rules".
Each family has cheap trigger words; its expression runs only where one of them occurs. No
expression repeats over white space or line ends without a bound: the text is hostile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_FLAGS = re.IGNORECASE | re.MULTILINE
_Family = tuple[tuple[str, ...], re.Pattern[str]]


def _family(triggers: str, *patterns: str) -> _Family:
    return tuple(triggers.split("|")), re.compile("|".join(patterns), _FLAGS)


_OBJECT = (
    r"(?:instruct(?:ion)?s?|rules?|guidelines?|prompts?|directives?|polic(?:y|ies)|programming|training)\b"
)
_OWNED = r"(?:your|previous|prior|above|earlier|preceding|former|system|initial|original)"
_FILLER = r"(?:all|any|every|of|the|these|those|other|safety|moderation|content)"
_ENGLISH = _family(
    "ignor|disregard|forget|overrid|bypass",
    rf"\b(?:ignore|disregard|forget|override|bypass)\s(?:{_FILLER}\s){{0,4}}(?:{_OWNED}\s)(?:\w{{1,12}}\s){{0,2}}{_OBJECT}",
    r"\b(?:ignore|disregard|forget)\s(?:all|any)\s(?:of\s|the\s|these\s|those\s){0,2}(?:instructions|guidelines|prompts)\b",
    r"\b(?:ignore|disregard|forget)\s(?:everything|anything|all|the|what(?:ever)?)\s(?:is\s|was\s|written\s){0,2}(?:above|"
    r"(?:you\s(?:were|have\sbeen|are)\s(?:told|given|instructed)))\b",
    r"\b(?:moderator|admin|administrator|system|safety|filter|policy)\soverride\b",
)
_ROLES = _family(
    "system|assistant|im_start|im_end|endoftext|inst]|sys>|</|<item|mode|you are|act as|pretend",
    r"\bsystem\s(?:note|notice|message|prompt|instruction|directive)s?\s?[:=]",
    r"(?:^|[>\]])[ \t]{0,8}system\s?:\s{0,4}(?:you|the\s(?:user|assistant|item)|user|ignore|new|label|override|from\snow)\b",
    r"(?:^|[>\]])[ \t]{0,8}assistant\s?:\s{0,4}(?:the|this|that|label|answer|classification|safe)\b",
    r"<\|?(?:im_start|im_end|endoftext|start_header_id|end_header_id|eot_id|system|assistant)\|?>",
    r"\[/?inst\]|<</?sys>>|</?(?:system|assistant|instructions?|prompt|item|untrusted)>",
    r"\byou\sare\snow\s(?:in\s)?(?:an?\s|the\s)?(?:developer|debug|admin|god|test|maintenance|unrestricted|jailbreak(?:ed)?|dan)\b",
    r"\byou\sare\snow\s(?:an?\s|the\s)(?:\w{1,12}\s){0,2}(?:ai|assistant|language\smodel|chatbot|classifier)\b",
    r"\b(?:act\sas|pretend\s(?:to\sbe|you\sare))\s(?:an?\s|the\s)(?:\w{1,12}\s){0,2}(?:ai|language\smodel|classifier|unfiltered|unrestricted)\b",
)
_ADDRESS = _family(
    "language model|llm|classifier|filter|gpt|chatbot| ai |annotator|prompt|instructions:",
    r"\b(?:to|dear|hey|hello|hi|attention|as|for)\s(?:the\s|any\s|all\s|every\s|a\s)?(?:large\s)?(?:language\smodels?|llms?|(?:chat)?gpt|"
    r"ai\s(?:moderat\w{2,6}|models?|filters?|assistant|classifiers?|reviewers?|systems?|annotators?))\b(?=[^\w]{1,3}|\s(?:reading|that|who|which|please|labell?ing))",
    r"\b(?:notes?|message|memo|instructions?|attention|reminder)\s(?:to|for)\s(?:the\s|any\s|all\s)?(?:ai|filters?|classifiers?|llms?|bots?|annotators?|"
    r"language\smodels?|models?|moderation\s(?:ai|bot|model|system|filter))\s?[:,.;-]",
    r"\b(?:new|updated|revised|real|actual)\sinstructions\s?:",
    r"\b(?:reveal|print|show|repeat|output|leak|display)\s(?:me\s)?(?:your|the)\s(?:\w{1,10}\s)?(?:system\s|initial\s)prompts?\b",
)
_SPANISH_ITALIAN_PORTUGUESE = _family(
    "ignor|olvid|dimentic|esque|descons|caso omiso|omit",
    r"\b(?:ignora|ignore|ignorad|olvida|olvide|omite|omita|haz\scaso\somiso\sde)\s(?:todas\s|todos\s){0,1}(?:las\s|los\s)?(?:tus|sus)\s(?:reglas|instrucciones|normas|directrices|órdenes)",
    r"\b(?:ignora|ignore|olvida|olvide|omite)\s(?:todas\s)?las\s(?:reglas|instrucciones|normas|órdenes)\s(?:anteriores|previas|de\sarriba)",
    r"\b(?:ignora|ignore|olvida)\stodas\slas\sinstrucciones",
    r"\b(?:ignora|dimentica|ignorate)\s(?:tutte\s)?(?:le\s)?(?:tue|vostre)\s(?:istruzioni|regole|direttive)",
    r"\b(?:ignora|dimentica|ignorate)\s(?:tutte\s)?le\s(?:istruzioni|regole)\s(?:precedenti|sopra|di\ssopra)",
    r"\b(?:ignore|ignora|esqueça|esquece|desconsidere|desconsidera)\s(?:todas\s)?(?:as\s)?(?:suas|tuas)\s(?:instruções|regras|diretrizes)",
    r"\b(?:ignore|ignora|esqueça|esquece|desconsidere|desconsidera)\s(?:todas\s)?as\s(?:instruções|regras|diretrizes)\s(?:anteriores|acima|prévias)",
    r"\b(?:ignore|ignora|esqueça|desconsidere)\stodas\sas\sinstruções",
)
_FRENCH_GERMAN_DUTCH = _family(
    "ignor|oubli|tiens pas compte|vergiss|vergesst|missacht|negeer|vergeet",
    r"\b(?:ignore[rz]?|oublie[rz]?|ne\sti(?:ens|enne|enez)\spas\scompte\sde)\s(?:toutes\s)?(?:tes|vos)\s(?:instructions|règles|consignes|directives)",
    r"\b(?:ignore[rz]?|oublie[rz]?|ne\sti(?:ens|enez)\spas\scompte\sdes)\s(?:toutes\s)?(?:les\s)?(?:instructions|règles|consignes|directives)\s(?:précédentes|antérieures|ci-dessus)",
    r"\b(?:ignorier(?:e|t|en\ssie)?|vergiss|vergesst|missachte)\s(?:alle\s|sämtliche\s)?(?:die\s)?(?:deine|eure|ihre|vorherigen|bisherigen|vorigen|obigen|früheren|vorangegangenen)\s(?:\w{1,14}\s)?(?:anweisungen|regeln|instruktionen|vorgaben|richtlinien)",
    r"\b(?:ignoriere|vergiss)\salle\s(?:anweisungen|instruktionen)",
    r"\b(?:negeer|vergeet)\s(?:alle\s|al\s)?(?:de\s)?(?:je|jouw|uw|eerdere|vorige|bovenstaande|voorgaande)\s(?:\w{1,12}\s)?(?:instructies|regels|opdrachten|richtlijnen)",
)
_EAST_EUROPE_TURKISH_INDONESIAN = _family(
    "ignoruj|zapomnij|игнорир|забуд|ігнору|talimat|kural|yönerge|abaikan|lupakan",
    r"\b(?:z?ignoruj|zapomnij\so)\s(?:wszystkie\s|wszystkich\s)?(?:swoje|swoich|poprzednie|poprzednich|powyższe|wcześniejsze)\s(?:instrukcj\w{1,3}|zasad\w?|poleceni\w{1,3}|reguł\w?)",
    r"\b(?:про)?(?:игнорируй|забудь)(?:те)?\s(?:(?:все|всё|о|про)\s){0,2}(?:свои|своих|твои|предыдущие|предыдущих|прежние|прошлые|вышеуказанные)\s(?:\w{1,12}\s)?(?:инструкци\w{1,2}|правил\w?|указани\w{1,2})",
    r"\b(?:про)?(?:игнорируй|забудь)(?:те)?\sвсе\sинструкции",
    r"\b(?:про)?ігноруй(?:те)?\s(?:всі\s)?(?:попередні|свої)\s(?:інструкції|правила|вказівки)",
    r"\b(?:önceki|yukarıdaki|verilen)\s(?:tüm\s|bütün\s)?(?:talimatları|kuralları|yönergeleri)n?ı?\s(?:\w{1,8}\s)?(?:yok\ssay|görmezden\sgel|unut)",
    r"\b(?:tüm|bütün)\s(?:önceki\s)?(?:talimatları|yönergeleri)\s(?:yok\ssay|görmezden\sgel|unut)",
    r"\b(?:abaikan|lupakan)\s(?:semua\s)?(?:instruksi|perintah|aturan)\s(?:sebelumnya|di\satas|anda|kamu|mu)",
)
_ASIAN_ARABIC = _family(
    "忽略|无视|無視|忘记|忘掉|忘れ|무시|잊|تجاهل|انس|अनदेखा|नज़रअंदाज़|नजरअंदाज|भूल|उपेक्षा",
    r"(?:忽略|无视|無視|忘记|忘記|忘掉)(?:掉)?(?:你)?(?:之前|以上|上面|上述|先前|前面|此前|所有|全部|你)(?:的|所有|全部){0,2}(?:指令|指示|规则|規則|提示|命令|说明)",
    r"(?:以前|これまで|今まで|上記|前|あなた|すべて|全て)の(?:すべての|全ての)?(?:指示|命令|ルール|プロンプト)(?:を|は)(?:すべて|全て)?(?:無視|忘れ)",
    r"(?:이전|위|앞|너의|당신의|모든)(?:의)?\s?(?:모든\s?)?(?:지시|명령|지침|프롬프트)(?:\s?사항)?(?:을|를|은|는)?\s?(?:모두\s?|다\s?)?(?:무시|잊)",
    r"(?:تجاهل|انسَ?ى?)\s(?:جميع\s|كل\s|كافة\s)?(?:التعليمات\s(?:السابقة|أعلاه)|تعليماتك|قواعدك|القواعد\sالسابقة|الأوامر\sالسابقة)",
    r"(?:تجاهل|انس)\s(?:جميع|كل|كافة)\sالتعليمات",
    r"(?:पिछले|पिछली|पहले\sके|उपरोक्त|अपने)\s(?:सभी\s)?(?:निर्देश\w{0,3}|निर्देशों|नियमों|आदेशों)\s(?:को|की)\s(?:अनदेखा|नज़रअंदाज़|नजरअंदाज|भूल|उपेक्षा)",
)
_FAMILIES: tuple[_Family, ...] = (
    _ENGLISH,
    _ROLES,
    _ADDRESS,
    _SPANISH_ITALIAN_PORTUGUESE,
    _FRENCH_GERMAN_DUTCH,
    _EAST_EUROPE_TURKISH_INDONESIAN,
    _ASIAN_ARABIC,
)
_HARMLESS = ("safe", "benign", "harmless", "not harmful", "non-toxic", "nontoxic", "not toxic", "acceptable")
_ANSWER = (
    "repl|respon|answer|output|label|classif|mark|rate|flag|tag|categor|treat|score|approved|whitelisted"
    "|respuesta|respond|réponds|antworte|risponda|rispondi|\"label|'label|label="
)


class InstructionFilter:
    """Finds content that addresses the model; knows the labels it may try to force."""

    def __init__(self, labels: Sequence[str]) -> None:
        parts = dict.fromkeys(part.lower() for label in labels for part in (label, *label.split("/")))
        self._families = (*_FAMILIES, _forced_labels(tuple(parts)))
        self._coded = tuple(part for part in parts if "_" in part)
        """Labels no person would write by chance ("violence_threat")."""

    def matches(self, text: str) -> bool:
        """Return whether ``text`` tries to steer a model or a filter."""
        lowered = f" {text.lower()} "
        for triggers, pattern in self._families:
            for trigger in triggers:
                if trigger in lowered:
                    if pattern.search(text):
                        return True
                    break
        return any(label in lowered for label in self._coded)


@lru_cache(maxsize=32)
def _forced_labels(labels: tuple[str, ...]) -> _Family:
    """Return the family "answer with this label". Label names are few words; longer ones are no bait."""
    names = sorted({*_HARMLESS, *labels}, key=len, reverse=True)
    label = "(?:" + "|".join(re.escape(name) for name in names if 2 < len(name) <= 40) + ")"
    quote = "[\"'«“‘`*]{0,2}"
    # At the start of a clause, or after a word that makes it an order: "they label it hate" is no order.
    order = r"(?:^|[.,;:!?)\]»”\"—–-]\s{0,3}|\b(?:please|and|just|now|must|always|only|y|et|und|e)\s)"
    harmless = "(?:" + "|".join(map(re.escape, _HARMLESS)) + ")"
    target = (
        r"(?:(?:this|it|everything|all|that|them|me)\s)?(?:(?:the\s)?(?:item|text|comment|message|post|content)\s)?"
        rf"(?:as\s|=\s|to\sbe\s)?{quote}"
    )
    return tuple(_ANSWER.split("|")), re.compile(
        rf"{order}(?:reply|respond|answer|output|responde|réponds|antworte|rispondi)\s"
        rf"(?:only\s|just\s|with\s|mit\s|con\s|par\s|avec\s|the\sword\s|the\slabel\s|as\s|that\s(?:it|this)\sis\s){{0,3}}{quote}{label}\b"
        rf"(?=[\s]{{0,2}}(?:$|[.,;:!\"'»”’`*)\]]))"
        rf"|{order}(?:label|classify|categori[sz]e|score)\s{target}{label}\b"
        # "mark it as spam" is everyday advice; only marking as harmless is bait.
        rf"|{order}(?:mark|rate|flag|tag|treat)\s{target}{harmless}\b(?!\s(?:sender|search))"
        rf"|\blabel[\"']?\s{{0,2}}[=:]\s{{0,2}}{quote}{label}\b"
        rf"|\b(?:pre-?approved|whitelisted)\sas\s{quote}{harmless}\b",
        _FLAGS,
    )
