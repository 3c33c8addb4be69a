"""The wordings by which people ask not to be texted, as cues with weights that add up.

A cue is a pattern over the signs of ``vocabulary``, written with their names; ``.`` and ``?`` are
the pauses around clauses. ``x`` is any other word.
"""

import re
from dataclasses import dataclass

from crm_api.domain.consent.vocabulary import SIGNS

CLEAR = 8
"""From this sum on a text is an opt-out."""
DOUBTFUL = 3
"""From this sum on a person is asked."""

_CLEAR = 10
_DOUBT = 3
_HINT = 2
"""A hint alone is nothing, two are a doubt; two doubts and a hint are clear."""

_PARTS = {
    "~ME": "(?:ME|~MINE)",
    "~MINE": "(?:[MY THE][THE TEXT CALL NUMBER OR]{0,3}NUMBER)",
    "~DET": "[THE THESE MY MORE]{0,4}",
    "~STOP": "(?<![NOT CANNOT I IF WHY THE BENIGN])"
    "(?<![IF WHY CANNOT NOT BENIGN][YOU THESE TELL x])STOP",
    "~QUIT": "(?<![NOT CANNOT I IF WHY THE])(?<![IF WHY][YOU x])[STOP QUIT]",
    "~BAN": "(?<![I IF WHY HAVE])(?<!(?<![TELL WANT LIKE])YOU)NOT",
    "~SOME": "[THE THESE MORE ME MY SEND TAKE BE YOU FROM]{0,6}",
    "~DO": "(?<!NOT)(?<!IF YOU)",
    "~UNSUB": "(?:UNSUBSCRIBE|OPT~ME?OFF)",
    "~LIST": "(?:x?LIST|[TEXT TEXTING THESE CALL])",
}


def _signs(pattern: str) -> re.Pattern[str]:
    while "~" in pattern:
        pattern = re.sub("~[A-Z]+", lambda found: _PARTS[found.group()], pattern)
    named = re.sub("[A-Z_]+", lambda found: SIGNS[found.group()], pattern)
    return re.compile(named.replace(" ", ""))


@dataclass(frozen=True)
class Cue:
    """A wording and how much it says.

    Attributes:
        example: A text that it is found in.
    """

    weight: int
    pattern: re.Pattern[str]
    example: str


WHOLE = _signs(
    "NO*(?:[REPLY TEXT]?STOP+(?:OR STOP)?[THESE MY NOW YOU]*|[QUIT HALT]+[THESE NOW]*|END+NOW*"
    "|~UNSUB[ME THESE MY NOW]*|REMOVE~ME?NOW?|REMOVE_ME|NO MORE|BAJA|NOT[CALL TEXT]|TAKE~ME?OFF)"
)
"""The whole text is this, courtesies and pauses apart."""
WHOLE_WORDS = frozenset({"ya no"})
LONE = _signs("[.]CANCEL[.?]$")
"""The whole text is this one word: "please cancel" may be an appointment."""

_CUES: tuple[tuple[str, *tuple[tuple[int, str, str], ...]], ...] = (
    (
        "STOP STOPPED QUIT END CANCEL HALT CEASE REMOVE NEARLY_STOP",
        # Stop doing it.
        (_CLEAR, "~QUIT[THE THESE MORE FROM]*[TEXTING WRITE](?!MY x)", "stop texting me"),
        (_CLEAR, "[.]STOPPED[TEXTING SEND]", "better if you stopped texting"),
        (_CLEAR, "HOW[I ME]?[STOP END QUIT]~DET[TEXT TEXTING]", "how do I stop these texts"),
        (_CLEAR, "~QUIT~DET[TEXT CALL SPAM]", "stop the texts"),
        (_CLEAR, "(?<!NOT)[END CANCEL]FROM?~DET TEXT", "end these messages"),
        (
            _CLEAR,
            "~QUIT(?:SEND~ME?(?:~DET[TEXT THESE]|[.?]|I)|TAKE~DET[TEXT THESE])",
            "quit sending me stuff",
        ),
        (_CLEAR, "[CEASE HALT]FROM BE?[TEXT WRITE TEXTING CALL SEND]", "dejen de escribirme"),
        (_CLEAR, "[.]HALT THE TEXT", "pare los mensajes"),
        (_CLEAR, "[.?]NO*STOP(?:OR STOP)?[THESE MY NOW]*[.?]", "not interested, stop"),
        (
            _CLEAR,
            "^[.]STOP NOW?(?=[I NO NOT OR WRONG UNSUBSCRIBE REMOVE])",
            "STOP I have a contractor",
        ),
        (_CLEAR, "[NUMBER PERSON INTEREST][STOP REMOVE][THESE NOW]*[.?]", "wrong number stop"),
        (
            _CLEAR,
            "(?<!NOT)[TELL WANT LIKE][^.?IF]{0,4}STOP[THESE MY NOW]*[.?]",
            "I told you to stop",
        ),
        (
            _CLEAR,
            "(?<!IF)(?<!IF I)TEXT[^.?]{0,3}(?<![NOT CANNOT I THE BENIGN])STOP[.?]",
            "texts must stop",
        ),
        (
            _DOUBT,
            "~QUIT(?![BY WHEN BENIGN])[^.?]{0,5}[TEXT TEXTING SEND]",
            "quit sending this crap",
        ),
        (_DOUBT, "~STOP[THESE NOW]*[.?]", "can you stop?"),
        (_DOUBT, "[.?]STOP(?![TEXTING BY BENIGN SIGNED WHEN THE FROM])[^.?]{1,4}[.?]", "stop lol"),
        (_CLEAR, "(?<!IF)(?<!IF I)REPLY STOP", "I replied stop four times"),
        (_DOUBT, "[.?]HALT[.?]", "ya estuvo, paren"),
        (_DOUBT, "~STOP BY NOW", "stop for now"),
        (_DOUBT, "[.?][NO I]*[END QUIT REMOVE CANCEL][THESE MY]*[.?]", "House sold, remove"),
        (
            _DOUBT,
            "(?<!NOT)(?<!CANNOT)[WANT LIKE][CANCEL QUIT END][THESE MY]*[.?]",
            "I want to cancel",
        ),
        (_DOUBT, "^[.]NEARLY_STOP[.]$", "stoop"),
        (_CLEAR, "^[.]NEARLY_STOP TEXTING", "stoop texting me"),
    ),
    (
        "NOT NO CANNOT MORE WANT",
        # Do not do it.
        (
            _CLEAR,
            "~BAN(?:CALL~ME?OR)?(?:TEXT(?=~ME|MORE|NO|THESE|OR CALL|[.?])|WRITE~ME)",
            "don't text me",
        ),
        (
            _CLEAR,
            "~BAN YOU?[TEXT WRITE CALL SEND TEXTING REPLY][^.?]{0,6}MORE",
            "never call me again",
        ),
        (_DOUBT, "~BAN(?!MIND)[^.?STOP QUIT]{1,4}[TEXT TEXTING]~ME", "don't you dare text me"),
        (_CLEAR, "NOT YOU?x[TEXT CALL]~ME MORE", "don't you dare text me again"),
        (_DOUBT, "YOU BE?NOT BE?TEXTING", "you should not be texting me"),
        (_CLEAR, "YOU BE NOT x?[TEXT CALL]", "you are not to contact me"),
        (_CLEAR, "NOT[TAKE SEND]MORE[^.?]{0,4}[TEXT THESE]", "see that I never get another text"),
        (_CLEAR, "~BAN SEND~ME?~DET[TEXT THESE]", "don't send me anything"),
        (_CLEAR, "[NOT NO][CALL TEXT]LIST", "I'm on the do not call list"),
        (_DOUBT, "NOT CALL[.]$", "registered as do not call"),
        (_DOUBT, "~BAN TEXT[NOW MY WHEN]", "don't text my wife"),
        (_DOUBT, "~BAN CALL ME(?!.*TEXT)", "don't call me"),
        (
            _CLEAR,
            "NO(?:ME TEXT|SEND~DET TEXT|[TEXT WRITE SEND CALL]MORE)|MORE ME(?:SEND~DET)?TEXT",
            "no me escriban",
        ),
        (_CLEAR, "NO ME(?:SEND~ME?(?:~DET[TEXT THESE]|MORE|[.?])|CALL MORE)", "no me mande nada"),
        (_CLEAR, "NO ME MORE[TEXT TEXTING WRITE SEND CALL]", "no me vuelvan a mandar nada"),
        (_DOUBT, "NO WANT~SOME CALL(?!.*TEXT)", "no quiero llamadas"),
        (_DOUBT, "NO ME CALL", "no me llamen mañana"),
        (
            _CLEAR,
            "(?<!x)NO MORE+[OFF FROM THE THESE MY ME]*[TEXT TEXTING WRITE SEND CALL SPAM]",
            "no more texts",
        ),
        (_CLEAR, "(?<!x)NO MORE+OFF[THESE MY]", "no more of these"),
        (
            _CLEAR,
            "^[.]NO~DET(?:CALL OR)?[TEXT WRITE TEXTING CALL](?:OR CALL)?[.?]+$",
            "no texts please",
        ),
        (_DOUBT, "[.?]NO~DET TEXT[.]", "call only, no texts"),
        (_DOUBT, "NOT BY TEXT", "not by text"),
        (_DOUBT, "WANT[^.?]{0,2}CALL[^.?]{0,3}TEXT", "I prefer calls over texts"),
        (_DOUBT, "[.?]NO~DET TEXT WHEN", "no texts before 8"),
        # It is not wanted.
        (_DOUBT, "NOT x?YOU MY NUMBER", "I never gave you my number"),
        (
            _CLEAR,
            "[NOT NO CANNOT][MORE THESE]?[WANT CARE]~SOME(?:TEXT(?!YOU)|TEXTING|HEAR FROM)",
            "I don't want your texts",
        ),
        (_CLEAR, "NOT WANT BE[WHEN BY]~DET LIST", "I don't want to be on your list"),
        (_DOUBT, "[NOT CANNOT]TELL BY", "I never asked for this"),
        (_CLEAR, "NO WANT(?:SEND~DET THESE|THESE FROM)", "no quiero recibir nada"),
        (_DOUBT, "^[.]I?NOT(?:WANT)?[THESE MY MORE]+[.]$", "I don't want these"),
        (
            _CLEAR,
            "WANT YOU?[NOT NO][BE SEND TAKE YOU THE THESE]+TEXT|WANT YOU NOT TEXT",
            "prefer not to be contacted",
        ),
        (
            _CLEAR,
            "[NOT NO]MORE?INTEREST BY[THE THESE SEND TAKE BE MORE]*[TEXT TEXTING]",
            "not interested in getting texts",
        ),
        (
            _DOUBT,
            "[NOT NO CANNOT]MORE?ME?[BE HAVE]?INTEREST(?!BY(?!~DET[THESE MY SERVICE](?!x)))",
            "not interested",
        ),
    ),
    (
        "UNSUBSCRIBE OPT REMOVE REMOVE_ME TAKE BLOCK LOSE MIND HOLD GIVE OFF CONSENT SIGNED END",
        # Off the list.
        (_CLEAR, "(?<!NOT)(?<!IF[YOU I])~UNSUB", "how do I unsubscribe"),
        (_DOUBT, "IF I~UNSUB", "what if I opt out"),
        (
            _CLEAR,
            "~DO(?:REMOVE|TAKE|BLOCK)~ME[OFF FROM]+~DET~LIST",
            "take me off your list",
        ),
        (
            _CLEAR,
            "~DO(?:REMOVE|TAKE)[THESE MY NUMBER]?OFF+FROM?~DET[LIST TEXT]",
            "get off this list",
        ),
        (
            _CLEAR,
            "(?<![NOT BE IF])(?<!NOT.)~ME OFF+FROM?~DET(?:x?LIST|TEXT|TEXTING)",
            "keep me out of your system",
        ),
        (
            _DOUBT,
            "~DO(?:REMOVE|TAKE)[^.?]{1,3}[OFF FROM]+~DET x?LIST[.?]",
            "take him off your list",
        ),
        (_CLEAR, "[REMOVE END]FROM~DET LIST", "remove from list"),
        (_CLEAR, "REMOVE NUMBER[.?]", "remove number"),
        (_DOUBT, "REMOVE MY TEXT[.]", "delete this contact"),
        (_CLEAR, "TAKE RID OFF~ME", "get rid of my number"),
        (_CLEAR, "~MINE BE?(?:TAKE OFF|REMOVE)", "have my number removed"),
        (
            _CLEAR,
            "~DO REMOVE~ME(?=[.? NOW I OR])",
            "delete my number",
        ),
        (_DOUBT, "(?<!NOT)REMOVE~ME", "remove me from the visit"),
        (_CLEAR, "REMOVE_ME(?=[.? FROM NOW])", "quítenme"),
        (_CLEAR, "(?<![NOT I])[LOSE MIND]~MINE", "lose my number"),
        (_CLEAR, "(?<!NOT)TAKE~ME OFF+[MY THESE]?[.?]", "take me off"),
        (_CLEAR, "[WANT LIKE](?:BE TAKE?)?OFF+FROM?~DET~LIST", "I want off this list"),
        (_CLEAR, "(?<!NOT)[WANT TELL LIKE](?:BE|YOU BE|~ME BE?)REMOVE", "I'd like to be removed"),
        (_CLEAR, "TURN(?:OFF~DET TEXT|~DET TEXT OFF)", "turn off these texts"),
        (_DOUBT, "KNOCK THESE OFF(?:[.?]|~DET TEXT)", "knock it off"),
        (_DOUBT, "HOLD OFF?[BY WHEN]?~DET TEXT", "hold off on the texts"),
        (_CLEAR, "GIVE FROM BAJA", "darme de baja"),
        (_CLEAR, "(?:END|REMOVE|TAKE x(?=MY))~DET CONSENT|CONSENT BE?END", "I revoke my consent"),
        (_DOUBT, "[NOT CANNOT NO][^.?]{0,3}CONSENT", "I gave you no permission"),
        (_DOUBT, "[NOT CANNOT][^.?]{0,2}SIGNED BY", "I never signed up"),
    ),
    (
        "LEAVE SWEAR AWAY SPAM REPORT BLOCK LAW LAWYER MORE FED_UP MANY WHY WRONG ISNT NO NOT",
        # Leave me alone.
        (_CLEAR, "LEAVE(?:BY|~ME[^.?]{0,2})?(?:ALONE|BE[.?])", "leave me alone"),
        (_CLEAR, "LEAVE ME OFF", "leave us out of this"),
        (_DOUBT, "LEAVE MY x ALONE", "leave my family alone"),
        (_CLEAR, "[.?]SWEAR OFF", "fuck off"),
        (_CLEAR, "[.?](?:GO|TAKE)AWAY x?[.?]", "go away"),
        (_DOUBT, "[.?]GO?SWEAR YOU", "fuck you"),
        (_DOUBT, "[.?][MY THESE BE YOU THE FROM]*x?SPAM+[.]", "this is a scam"),
        (_DOUBT, "REPORT(?:YOU|~ME|THESE|MY|THE?NUMBER|SPAM)", "I will report you"),
        (_DOUBT, "BLOCK(?:YOU|~ME|MY|THE?NUMBER)", "I'm blocking you"),
        (_DOUBT, "LAW", "this violates the TCPA"),
        (_HINT, "LAWYER", "my lawyer"),
        (_HINT, "TEXT[^.?]{0,4}MORE|MORE[^.?]{0,4}TEXT", "text me one more time"),
        (_DOUBT, "FED_UP[^.?]{0,3}[TEXT TEXTING]|TEXT[^.?]{0,4}FED_UP", "annoying texts"),
        (_DOUBT, "TOO MANY[^.?]?[TEXT TEXTING]|TEXT[^.?]{0,3}TOO MANY", "too many texts"),
        (_DOUBT, "[.?][MY THESE BE]*FED_UP[.?]", "that's enough"),
        (_DOUBT, "WHY[BE YOU I x]{0,3}(?:TEXTING|TAKE[THESE TEXT])", "why do you keep texting me"),
        (
            _DOUBT,
            "WRONG[THE FROM]*[NUMBER PERSON]|NUMBER BE?WRONG|(?:ISNT|NO BE|BE NOT)[^.?]{0,2}NUMBER",
            "wrong number",
        ),
    ),
)

CUES = tuple(
    (
        frozenset(SIGNS[name] for name in names.split()),
        tuple(Cue(weight, _signs(pattern), example) for weight, pattern, example in cues),
    )
    for names, *cues in _CUES
)
"""Cues in groups, each behind signs of which a text must have one for any of them."""

LIMITS = (
    _signs(
        "[STOP QUIT NOT NO][^.?]{0,3}[TEXT TEXTING SEND WRITE][^.?MORE]{0,3}WHEN"
        "(?!MY NUMBER|THESE|[^.?]{0,12}MORE)"
    ),
    _signs("[.?]YOU?CALL|TEXT~ME?[.][^.?]{0,4}CALL"),
)
"""Not for good ("before noon"), or not this way ("call me"): such a text is doubtful at most."""
