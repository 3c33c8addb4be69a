"""The keywords that opt out, opt in or ask for help if a reply consists only of a keyword.

Most keywords in languages other than English are everyday translations of the English keywords.

Source: 47 CFR 64.1200(a)(10) (stop, quit, end, revoke, opt out, cancel, unsubscribe); Quo,
"Opt-out" (the six words that the provider confirms); Twilio, "Opt-out keywords" (ARRET, ARRETE,
STOPALL, REVOKE, OPTOUT); AWS, "Required opt-out keywords" (ARRET, OPT-OUT, REMOVE, TD); read
2026-11-28.
"""

import re
from collections.abc import Iterator, Sequence

from crm_api.domain.consent.reply_reader.analysis import COURTESIES

PROVIDER_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
"""If the reply is exactly one of these words, the provider itself confirms the opt-out to the
person."""

OPT_IN = frozenset({"start", "unstop"})
HELP = frozenset({"help", "info", "ayuda", "ajuda", "aide", "ed"})

_PHRASES = """
stop | stopall | stop all | stop it | stop this | stop now | stop stop | stop texting | stop texts
stop messages | stop messaging | unsubscribe | unsubscribe me | unsub | unsuscribe | cancel | end
quit | revoke | optout | opt out | opt me out | remove | remove me | delete me | td | dnc
do not contact | do not text | no more | no more texts | no more messages | take me off
leave me alone | revoke consent | end texts | cancel texts | arret | arrete | arretez | arretez tout
stop svp | desabonner | desabonnez moi | desinscrire | desinscription | desabonnement | alto | pare
paren | parar | basta | baja | dar de baja | darme de baja | no mas | ya no | no mas mensajes
no mas textos | detener | detenganse | cancelar | cancelar suscripcion | desuscribir
desuscribirme | eliminar | borrenme | quitenme | saquenme | salir | remover | removerme | pare ja
parem | sair | cancela | descadastrar | descadastre | me descadastre | me tira da lista
nao quero mais | nao mande mais | chega | encerrar | excluir | sispann | sispan | rete | kanpe
bast | stope | retire m | retire non m | retire nimewo m | efase m | anile | pa voye anko
sispann voye | mwen pa vle anko
"""
OPT_OUT = frozenset(
    phrase.strip() for line in _PHRASES.strip().splitlines() for phrase in line.split("|")
)

_WORD = re.compile(r"[a-z0-9]+")
_ONLY_WORD = re.compile(r"[^a-z0-9]*([a-z0-9]+)[^a-z0-9]*")
_SPELLED = re.compile(r"(?<![a-z0-9])(?:[a-z][ .\-_*]{1,3}){2,}[a-z](?![a-z0-9])")
_LETTERS_OF_DIGITS = str.maketrans("0134578$@", "oieastbsa")
_DRAWN_OUT = re.compile(r"(.)\1+")


def only_words(folded: str) -> str:
    """Return the words of a folded text, separated by one space; omit all other characters.

    A folded text is in lower case and has no accents.
    """
    return " ".join(_WORD.findall(folded))


def only_word(folded: str) -> str | None:
    """Return the word of a folded text that has exactly one word; None for any other text.

    A folded text is in lower case and has no accents.
    """
    found = _ONLY_WORD.fullmatch(folded)
    return found.group(1) if found else None


def keyword_in(folded: str) -> str | None:
    """Return the opt-out keyword of a reply; None if the reply is not just an opt-out keyword.

    Courtesies (such as "please") may surround the keyword. Other spellings of a keyword are also
    recognised, such as ``stop stop``, ``s.t.o.p``, ``stoooop``, ``st op`` and ``st0p``.

    Args:
        folded: The reply in lower case, without accents.
    """
    return next((one for one in _candidates(folded) if one in OPT_OUT), None)


def _candidates(folded: str) -> Iterator[str]:
    together = _SPELLED.sub(lambda found: re.sub(r"[^a-z]", "", found.group()), folded)
    for text in {folded, together, folded.translate(_LETTERS_OF_DIGITS)}:
        words = _WORD.findall(text)
        if len(words) > _MOST_WORDS:
            continue
        yield from _forms(words)
        asked = [word for word in words if word not in COURTESIES]
        if asked:
            yield from _forms(asked)


_MOST_WORDS = 10
_LONGEST_PHRASE = max(len(phrase.split()) for phrase in OPT_OUT)


def _forms(words: Sequence[str]) -> Iterator[str]:
    if len(words) > _LONGEST_PHRASE and len({word[0] for word in words}) > 1:
        # There are too many words for a keyword, and the words are not repetitions of one word.
        return
    yield " ".join(words)
    if len(set(words)) == 1:
        yield words[0]
    if len(words) <= _MOST_GAPS:
        yield "".join(words)
    drawn_in = [_DRAWN_OUT.sub(r"\1", word) for word in words]
    yield " ".join(drawn_in)
    if len(set(drawn_in)) == 1:
        yield drawn_in[0]


_MOST_GAPS = 3
