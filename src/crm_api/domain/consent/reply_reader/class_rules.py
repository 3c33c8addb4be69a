"""Rules that recognise short, clear replies, and replies that are questions.

The rules correct the trained model. The model recognises opt-outs very well, but it misreads a few
short replies, such as "I am interested". The rules change only the proposed class of a reply. They
never propose the class ``stop``.
"""

from crm_api.domain.consent.reply_reader.analysis import COURTESIES, Analysis
from crm_api.domain.consent.reply_reader.keywords import only_words
from crm_api.domain.consent.reply_reader.reply_classes import ReplyClass

_PHRASES: dict[ReplyClass, str] = {
    ReplyClass.INTERESTED: """
yes | yep | yeah | yup | sure | absolutely | definitely | interested | i am interested
im interested | very interested | im very interested | yes i am | yes i am interested
yes im interested | tell me more | more info | send info | send me info | book it | sign me up
count me in | lets do it | sounds good | sounds great | that works | works for me | call me
give me a call | call me back | call me tomorrow | can you call me | come by | come over | come look
i want a quote | i want an estimate | id like a quote | id like an estimate | i need a quote
i need an estimate | send me a quote | can you send me a quote | id love to | i would love to
si | si me interesa | me interesa | me interesa mucho | estoy interesado | estoy interesada
si estoy interesado | si estoy interesada | interesado | interesada | claro | claro que si
llameme | llamame | quiero una cotizacion | quiero mas informacion | mas informacion
mandeme informacion | mandeme el precio | sim | tenho interesse | sim tenho interesse
tenho interesse sim | me interessa | quero | quero sim | pode ser | me liga | pode ligar
me manda o preco | wi | mwen enterese | m enterese | rele m | wi rele m | oui | ca minteresse
oui ca minteresse | cela minteresse | je suis interesse | je suis interessee | appelez moi
rappelez moi | volontiers | bien sur
""",
    ReplyClass.NOT_INTERESTED: """
no | nope | nah | not interested | no interest | im not interested | i am not interested
not for me | no need | im good | were good | we are good | all set | im all set | were all set
we are all set | pass | ill pass | already done | not needed | no me interesa
no estoy interesado | no estoy interesada | no lo necesito | nao | nao tenho interesse
nao estou interessado | nao estou interessada | sem interesse | nao preciso | non
pas interesse | pas interessee | je ne suis pas interesse | je ne suis pas interessee
ca ne minteresse pas | mwen pa enterese | m pa enterese
""",
    ReplyClass.LATER: """
later | not now | not right now | maybe later | maybe next year | next year | call me later
ask me later | call back later | i will think about it | ill think about it
ill think about it and let you know | let me think about it | luego | mas tarde | despues
ahora no | ahorita no | tal vez despues | mais tarde | depois | agora nao | ano que vem
plus tard | pas maintenant | peut etre plus tard | rappelez moi plus tard | je vais reflechir
pita | pa kounye a
""",
    ReplyClass.QUESTION: """
who is this | whos this | who are you | what is this | what is this about | how much
how much is it | quien es | quien habla | cuanto | cuanto cuesta | cuanto es | quem e
quem fala | quanto custa | quanto fica | quanto e | ki moun sa a | ki moun sa | konbyen
konbyen li ye | qui est ce | cest qui | combien | cest combien | tengo una pregunta
tenho uma pergunta | i have a question
""",
    ReplyClass.WRONG_NUMBER: """
wrong number | wrong person | you have the wrong number | you have the wrong person
you got the wrong number | numero equivocado | tiene el numero equivocado
se equivoco de numero | persona equivocada | numero errado | voce esta com o numero errado
mauvais numero | faux numero | vous avez le mauvais numero | move nimewo
""",
}
PHRASES: dict[str, ReplyClass] = {
    phrase.strip(): one
    for one, lines in _PHRASES.items()
    for line in lines.strip().splitlines()
    for phrase in line.split("|")
}
"""The replies whose class is certain, and the class of each. The replies are in the form that
``keywords.only_words`` returns."""


def class_by_phrase(analysis: Analysis) -> ReplyClass | None:
    """Return the class of a reply that is one of ``PHRASES``; None for every other reply.

    Courtesies (words such as "hello" and "thanks") before and after the phrase are ignored.
    """
    whole = PHRASES.get(only_words(analysis.whole))
    if whole is not None or analysis.folded == analysis.whole:
        return whole
    return PHRASES.get(only_words(analysis.folded))


def is_question(analysis: Analysis) -> bool:
    """Return True if the reply ends with a question.

    Courtesies (words such as "thanks") after the question are ignored.
    """
    words = analysis.whole.rstrip(" .!").split(" ")
    while words and words[-1].strip(".,!") in COURTESIES:
        words.pop()
    return bool(words) and words[-1].endswith("?")
