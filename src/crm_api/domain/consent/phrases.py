"""The wordings by which people ask not to be texted, English and Spanish, as patterns.

They are matched against one clause: lower case, accents and apostrophes away, words apart by one
space. ``CLEAR`` ones opt out by themselves, ``DOUBTFUL`` ones are put to a person.
"""

import re

EXACT = frozenset(
    (
        *("stop", "stopall", "stop all", "unsubscribe", "unsub", "cancel", "end", "quit", "revoke"),
        *("optout", "opt out", "opt me out", "remove", "remove me", "delete", "delete me"),
        "no more",
        *("stop it", "stop this", "stop that", "stop these", "stop everything"),
        *("go away", "quit it"),
        *("alto", "pare", "paren", "parar", "detener", "detengan", "detenganse", "cancelar"),
        *("cancele", "cancelen", "baja", "dar de baja", "darme de baja", "basta", "no mas"),
        *("quitar", "quitarme", "eliminar", "eliminarme", "salir", "terminar", "ya no", "borrar"),
        *("cancela", "cancelar suscripcion", "cancelar mensajes", "detente", "detenga"),
        *("do not call", "do not contact", "dnc", "desist", "get lost"),
    )
)
"""The whole text is this, apart from courtesies."""

SURE = frozenset(
    (
        *("stop", "stopall", "stop all", "unsubscribe", "unsub", "optout", "opt out", "opt me out"),
        *("remove me", "delete me", "stop it", "stop this", "stop that", "stop these"),
        *("dar de baja", "darme de baja", "go away", "get lost", "desist"),
    )
)
"""Clear also as one clause among several: "not interested, stop"."""

UNSURE = frozenset(
    (
        *(
            "cancel",
            "end",
            "quit",
            "remove",
            "revoke",
            "no more",
            "cancel this",
            "end this",
            "end it",
        ),
        *("cancel it", "cancel everything", "quit it", "stp", "sotp", "stpo", "stopp", "st0p"),
        *(
            "alto",
            "pare",
            "parar",
            "cancelar",
            "basta",
            "no mas",
            "quitar",
            "eliminar",
            "terminar",
            "ya no",
        ),
    )
)
"""As one clause among several these may mean something else."""

COURTESIES = frozenset(
    (
        *(
            "please",
            "pls",
            "plz",
            "plse",
            "thanks",
            "thank",
            "thx",
            "ty",
            "you",
            "ok",
            "okay",
            "hi",
        ),
        *(
            "hey",
            "hello",
            "yes",
            "no",
            "nope",
            "sorry",
            "now",
            "asap",
            "immediately",
            "just",
            "all",
        ),
        *("kindly", "sir", "maam", "guys", "already", "today", "dude", "bro", "man", "so"),
        *("por", "favor", "porfavor", "porfa", "gracias", "ya", "hola", "senor", "much", "omg"),
    )
)

_TEXTS = r"(?:texts?|txts?|text messages?|messages?|msgs?|sms|spam|calls|emails|communications?)"
_DOING = (
    r"(?:texting|txting|messaging|msging|contacting|calling|spamming|writing|emailing|mailing"
    r"|bothering|harassing|soliciting|bugging|annoying|pestering|reaching out(?: to)?|blowing up)"
)
_BEFORE_NOUN = (
    r"(?:(?:with|all|of|the|these|this|those|your|any|further|future|more|unwanted|unsolicited"
    r"|marketing|spam|automated|sending|getting|receiving|me|us|my phone|fucking|damn|stupid) )"
    r"{0,5}"
)
_AFTER_DOING = (
    r"(?= (?:me|us|my|this|here|again|now|please|pls|and|all|so|thank|thanks|i|im|or|already|every"
    r"|immediately|asap|anymore|everyone|people|the same|these)\b|$)"
)
_ME = r"(?:me|us|my (?:cell|phone|number)|this (?:number|phone|cell|line)|here)"
_MINE = (
    r"(?:me|us|(?:my|our) (?:number|cell|phone(?: number)?|contact(?: info(?:rmation)?)?"
    r"|info(?:rmation)?|name(?: and (?:phone )?number)?|details|data)"
    r"|this (?:number|phone|contact))"
)
_LIST = (
    r"(?:off|from|out)(?: of)?(?: (?:of|your|the|this|these|that|all|any|ur|future|further|every"
    r"|mailing|contact|marketing|text|texting|call|calling|sms|phone|email|group|spam|stupid|damn"
    r"|fucking|company))* (?:lists?|listing|database|data base|systems?|texts?|texting|messages?"
    r"|messaging|msgs?|thread|campaigns?|contacts?|records?|calls?|mailings?|distribution|here|it"
    r"|this|these|everything|subscription|roster|chat|files?|emails?|communications?)\b"
)
_GOES_ON = r"(?: (?:now|please|pls|asap|immediately|thanks|thank|i|im|and|or|we|as|today)\b|$)"
_WANT = r"(?:want|wish|care|like|need)"
_THINGS = r"(?= (?:these|this|stuff|anything|so many|it|any|your|please|i|im|and)\b|$)"
_THEN = (
    r"(?:i|im|ive|youre|wrong|not|no|dont|do|already|we|were|now|please|pls|who|asap|immediately"
    r"|thanks|thank|all|unsubscribe|remove|quit|cancel|end|stop)"
)
_CALL = r"(?:call|contact|text)"
_GETTING = (
    r"(?: (?:get|getting|receive|receiving|be|being|have|having|any|more|your|these|anymore|from"
    r"|you|other|further|to|keep|hear|unwanted|the|such|marketing))* "
)
_DONE = r"(?:contacted|texted|messaged|called|bothered|solicited)"
_BE_OFF = (
    r"(?:you )?(?:to )?(?:be |get |have (?:my|this) number )?(?:removed|taken off|deleted"
    r"|unsubscribed|opted out|off (?:this|your|the) (?:list|text))\b"
)
_HACER = r"(?:mandar|enviar|escribir|llamar|molestar|textear|contactar)[a-z]*"
_HAGAN = r"(?:escrib|mand|envi|contact|molest|texte|text|mensaje|marqu|busqu)[a-z]*"
_QUIERO = (
    r"(?:mas|quiero(?: recibir)?(?: mas)?|deseo(?: recibir)?(?: mas)?|manden(?: mas)?"
    r"|envien(?: mas)?)"
)
_ELSEWHERE = (
    r"(?:by|in|at|over|on|and|the|leak\w*|water|signs?|payment|work|working|digging|back|around|off"
    r"|out|light|for|until|after|when|before|near|to|there|it from|sending|calling|loss|gap)"
)

CLEAR = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:stop|quit|cease|discontinue) (?:all |with |with all )?{_DOING}{_AFTER_DOING}",
        rf"\b(?:stop|quit|cease|discontinue|end|cancel) {_BEFORE_NOUN}{_TEXTS}\b",
        rf"\b(?:stop|quit) (?:sending|getting|receiving)(?: (?:me|us|to this number))?{_THINGS}",
        rf"\b(?:remove|delete|erase|scratch|strike|take|get|pull|drop) {_MINE} {_LIST}",
        rf"\b(?:remove|delete|erase) {_MINE}{_GOES_ON}",
        rf"^(?:please |pls )?(?:remove|delete|take|get)(?: number)? {_LIST}",
        rf"\bdesist from {_DOING}",
        rf"\b(?:take|get) {_MINE} off{_GOES_ON}",
        r"\bleave (?:me|us) (?:alone|be)\b",
        r"\blose (?:my|this) number\b",
        r"\b(?:fuck|piss|bugger|f|eff|buzz|screw) off\b",
        r"\bcease and desist\b",
        r"\b(?:cancel|end) (?:my |this |the |your )?(?:subscription|sms|text alerts?|alerts)\b",
        rf"^stop {_THEN}\b",
        (
            r"\b(?:please|pls|plz|just|number|interested|person|guy|thanks|no|sir|guys|already|sorry)"
            r" stop(?: (?:it|this|that|these|all|now|already|please|thanks|thank you))*$"
        ),
        rf"\b(?:dejen|deje|deja|dejar|paren|pare|para) (?:ya )?de {_HACER}",
        r"\b(?:quit|saqu|sac|borr|elimin|remuev)(?:e|en|a|an|ar)?(?:me|nos)(?: d?el?\b|$)",
        r"\b(?:borren?|borrar|eliminen?|quiten?) (?:mi|este) (?:numero|telefono|contacto)\b",
        r"\b(?:dar(?:me)?|denme|deme) de baja\b",
        r"\b(?:dejenme|dejeme|dejame) en paz\b",
    )
)
"""Requests; a negation right before takes the sense away."""

WISHES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\bno (?:more|further) (?:of )?(?:(?:these|your|this|unsolicited) )*{_TEXTS}\b",
        rf"^no (?:{_TEXTS}|soliciting|solicitations?|solicitors|contact)(?: please| thanks)?$",
        rf"\b(?:on|to) (?:the|a|your) (?:\w+ )?(?:do not|dont) {_CALL}(?! me\b)",
        (
            r"\b(?:revok|withdraw|rescind)(?:e|ing|ed)? (?:my |all |any )?(?:prior )?"
            r"(?:consent|permission|authorization)\b"
        ),
        rf"\b(?:dont|do not|no longer|never) {_WANT}(?: to)?{_GETTING}(?:{_TEXTS}|{_DONE})\b",
        rf"\b(?:dont|do not|no longer|never) {_WANT} to hear from\b",
        rf"\bnot interested in{_GETTING}(?:{_TEXTS}|{_DONE})\b",
        rf"\b(?:{_WANT}|ask|asked|asking|request|requesting|requested|demand|demanding) {_BE_OFF}",
        (
            r"\b(?:told|asked|said|begged|asking|telling|want|need|like) "
            r"(?:(?:you|u|yall|guys|people|them|already|before|twice|that|i|to|please|it) ){0,4}"
            r"stop(?: (?:it|this|already|now))?$"
        ),
        (
            rf"\bno me (?:vuelvan? a |vuelvas a )?{_HAGAN}(?: (?:mas|nunca|nada|mensajes|textos|por"
            r"|otra|ya)\b|$)"
        ),
        r"\bno me llam[a-z]* (?:mas|nunca|otra vez)\b",
        rf"\bno {_QUIERO} (?:sus |estos |esos )?(?:mensajes?|textos?|sms|llamadas)\b",
        rf"\bno (?:quiero|deseo) que me (?:llam[a-z]*|{_HAGAN})",
    )
)
"""Statements that carry their own negation."""

OPT_OUT_VERB = re.compile(
    r"\b(?:unsub\w*|unsuscri\w*|unscubscri\w*|optout"
    r"|opt(?:ing|ed)? (?:me |us |my number |this number )?out)\b"
)
"""Clear, unless it is only asked about."""
ASKED_ABOUT = re.compile(r"\b(?:if|happens|means?|later|did you|does|never|not)\b")

DO_NOT = re.compile(
    r"\b(?:do not|dont|never|no need to) (?:you |ever |even |you ever )?"
    r"(?P<verb>text|txt|message|msg|contact|call|write|email|bother|sms|send|solicit|spam|harass"
    r"|disturb|reach out)(?: to)?\b(?P<rest>.*)$"
)
OBJECT = re.compile(rf"^ {_ME}\b")
SOMEBODY_ELSE = re.compile(r"^ my (?:wife|husband|mother|mom|father|dad|parents|son|daughter)\b")
NOT_NOW = re.compile(r"^ (?:right )?now$")
FOR_GOOD = re.compile(r"\b(?:again|anymore|any more|ever|any longer|at all)\b")
FOR_A_TIME = re.compile(
    r"\b(?:before|after|until|till|on|during|tomorrow|today|tonight|while|when|unless|if|about"
    r"|right now|so early|so late|in the|at (?!all\b|this\b|my\b))\b"
)
THINGS_SENT = re.compile(rf"\b(?:{_TEXTS}|anything|anymore|any more|more|these|stuff|again)\b")
TEXT_INSTEAD = re.compile(r"\b(?:text|message|email|txt) (?:me|us|instead|only|is)\b|\bjust text\b")

NEGATED = re.compile(
    r"(?:\b(?:dont|do not|never|didnt|did not|wont|wouldnt|cant|cannot|not|shouldnt|doesnt|ill|they"
    r"|he|she|we|did|why did you|when did you|did you|if you|no me|when i|until i|i will|i wont)) $"
)
"""What stands right before a request and takes its sense away."""
REFUSED = re.compile(r"\b(?:dont|do not|never|didnt|did not|wont|not) $")
"""The same for what is doubtful at most."""

BENIGN_STOP = re.compile(
    r"\b(?:full|bus|pit|next|truck|rest|train|non|one|last|first|short|quick|a|the|door"
    r"|(?<!make )it|rain|water|leak|leaking|leaks|wont|will|does|did|dont|not|never|cant|doesnt"
    r"|didnt|drip|dripping|could|going to|ever) stop$"
)

DOUBTFUL = tuple(
    re.compile(pattern)
    for pattern in (
        r"\bwrong (?:number|person|guy|phone|contact)\b",
        r"\bstop$",
        rf"^stop (?!{_ELSEWHERE}\b)",
        r"\b(?:make it|make this|make them) stop\b",
        r"\byou (?:can|may|should) stop(?: now)?$",
        r"\bblock (?:me|us|my number)\b",
        r"\b(?:want|like|need|have|wish) to (?:cancel|quit|end)$",
        r"\b(?:remove|delete|erase) (?:me|us|my number|this number|my name)\b",
        r"\bdo not (?:call|contact|text) (?:list|registry)\b",
        r"\bblock(?:ing|ed)? (?:you|this number|your number|your)\b",
        r"\breport(?:ing|ed)? (?:you|this|as|number|your)\b",
        r"^(?:this is |you are |youre )?(?:spam|spammers?|spamming(?: me)?)$",
        r"\b(?:tcpa|fcc|ftc|lawsuit|harass\w*)\b",
        r"\b(?:fuck|screw) (?:you|u|yourself)\b",
        r"\bgo to hell\b",
        r"\bnumero equivocado\b",
        r"\bno me (?:llam|escrib|mand|envi|contact|molest)[a-z]*",
        r"\bno (?:moleste|molesten|molestar)\b",
    )
)

INSTRUCTION = re.compile(
    r"\b(?:reply|text|txt|send|respond|type|answer|responda|envie)(?: with| back)? "
    r"(?:stop|end|quit|cancel|unsubscribe|start|help|alto)"
    r"(?: or (?:stop|end|quit|cancel|unsubscribe))? (?:to|for|para) "
    r"(?:opt out|optout|unsubscribe|stop|end|cancel|quit|be removed|help|info|cancelar)"
    r"(?: (?:at any time|anytime|texts?|messages?))?"
)
"""Somebody quotes the sentence that every campaign carries."""

REACTION = re.compile(
    r"^\s*(?:(?:liked|loved|disliked|laughed at|emphasi[sz]ed|questioned|reacted .{1,40} to"
    r"|removed an? .{1,40} from|le gusto|le encanto|no le gusto|a .{1,40} le gusto|\S{1,12} to)"
    r"\s+[\"\u201c\u00ab\u2018'])",
    re.IGNORECASE,
)
"""How telephones write a reaction to a text: the quoted words are ours, not the person's."""
