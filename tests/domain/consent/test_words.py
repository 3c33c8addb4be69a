import pytest

from crm_api.domain.consent.words import PROVIDER_WORDS, Kind, read

OPT_OUTS = [
    "STOP",
    "stop",
    " Stop ",
    "Stop.",
    "STOP!!!",
    '"STOP"',
    "\u201cStop\u201d",
    "*stop*",
    "STOP \U0001f620",
    "\U0001f6d1 STOP \U0001f6d1",
    "S T O P",
    "s.t.o.p",
    "\uff33\uff34\uff2f\uff30",
    "St\u00f3p",
    "stop\u200b",
    "STOP STOP STOP",
    "STOPALL",
    "stop all",
    "UNSUBSCRIBE",
    "Unsubscribe me",
    "please unsubscribe",
    "CANCEL",
    "End",
    "QUIT",
    "REVOKE",
    "OPTOUT",
    "opt out",
    "Opt-out",
    "OPT OUT PLEASE",
    "remove",
    "Remove me",
    "Remove me please.",
    "Please stop",
    "stop please",
    "Stop. Thank you",
    "ok stop",
    "Please stop!",
    "stop it already??",
    "Stop texting me",
    "stop texting",
    "STOP TEXTING ME!!",
    "Please stop messaging me",
    "Stop contacting us",
    "can you stop texting me",
    "You need to stop texting me",
    "stop sending me texts",
    "Stop sending these messages",
    "Quit texting me",
    "quit sending me this stuff",
    "stop with the texts",
    "Stop all messages",
    "stop spamming me",
    "I told you to stop",
    "I already asked you to stop",
    "Take me off your list",
    "take me off this list please",
    "Please take me off of your mailing list",
    "get me off your list",
    "Remove my number",
    "remove me from your list",
    "Delete my number please",
    "Please remove my number from your database",
    "remove us from your contacts",
    "lose my number",
    "No more messages",
    "no more texts please",
    "No more",
    "no texts please",
    "Do not contact me",
    "Don't text me",
    "don\u2019t text me again",
    "dont text this number",
    "Never contact me again",
    "Please do not message me anymore",
    "Don't send me any more texts",
    "do not call or text me again",
    "Do not call me again",
    "Don't contact me at this number",
    "I want to opt out",
    "How do I unsubscribe?",
    "I'd like to be removed from this list",
    "I don't want any more texts",
    "I do not wish to receive these messages",
    "we don't want to be contacted",
    "I no longer want to receive your messages",
    "I don't want to hear from you",
    "Leave me alone",
    "fuck off",
    "I revoke my consent",
    "cease and desist",
    "I am on the do not call list",
    "cancel my subscription",
    "end these messages",
    "Wrong number stop",
    "not interested in receiving these messages",
    "no thank you, quit",
    "how do I stop these texts",
    "I said stop",
    "Wrong number. Stop.",
    "Not interested. STOP",
    "not interested, please stop",
    "No thanks, remove me",
    "Who is this? Stop.",
    "STOP I already have a contractor",
    "stop wrong number",
    "Not interested, don't text me again",
    "Alto",
    "ALTO!",
    "Cancelar",
    "No m\u00e1s",
    "no m\u00e1s mensajes",
    "Basta",
    "Dar de baja",
    "baja",
    "No me escriban m\u00e1s",
    "no me escriban",
    "No me manden m\u00e1s mensajes",
    "Por favor no me manden mensajes",
    "Dejen de mandarme mensajes",
    "deje de escribirme",
    "No quiero m\u00e1s mensajes",
    "no quiero recibir mensajes",
    "Qu\u00edtenme de su lista",
    "borren mi n\u00famero",
    "D\u00e9jenme en paz",
    "no me contacten m\u00e1s",
    "Paren de llamarme",
]

DOUBTFUL = [
    "Please don't call me before 9",
    "Don't text me before noon",
    "don't text me at work",
    "Wrong number",
    "You have the wrong person",
    "Please remove me from the Tuesday visit",
    "Hello, cancel.  I changed my mind",
    "I want to cancel",
    "What happens if I opt out?",
    "I'm blocking you",
    "I will report this number",
    "This is spam",
    "My lawyer says this violates the TCPA",
    "\U0001f6d1",
    "Don't call me",
    "can you stop?",
    "make it stop",
    "stop lol",
    "N\u00famero equivocado",
    "No me llamen ma\u00f1ana",
    "fuck you",
]

NOTHING = [
    "Can you stop by tomorrow?",
    "Please stop by after 5",
    "stop by anytime",
    "Could you stop in on Friday",
    "We'll stop at the office",
    "don't quit on me",
    "can you end the quote with a total",
    "Is there a bus stop near you?",
    "will the leak stop?",
    "Don't stop",
    "please don't stop texting me",
    "Why did you stop texting me?",
    "Can you stop the water from coming in?",
    "stop the leak",
    "How do I stop water in my basement?",
    "Cancel my appointment on Tuesday",
    "Can we cancel Thursday?",
    "At the end of the week works",
    "the end of the driveway",
    "Remove the old sump pump",
    "How much to remove the wall?",
    "He quit his job",
    "I quit smoking",
    "Yes",
    "yes please",
    "No",
    "No thanks",
    "Not interested",
    "Not now, maybe in spring",
    "Don't call, text me",
    "don't call me, just text",
    "I don't text and drive",
    "Don't send me the invoice yet",
    "What does the quote include?",
    "Help me with my basement",
    "more info please",
    "Can you start on Monday?",
    "start the job please",
    "Can you start?",
    "Take me off speaker",
    "What is your address?",
    "",
    "   ",
    "\U0001f44d",
    "?",
    'Liked "Hi Ada, this is Granite. Reply STOP to opt out."',
    "Loved \u201cReply STOP to unsubscribe\u201d",
    "\U0001f44d to \u201cReply STOP to opt out\u201d",
    "Thanks for contacting Acme! Reply STOP to unsubscribe.",
    "He is very tall (alto en espanol)",
    "Hasta el fin de la semana",
    "Is this spam?",
    "not interested in getting a quote right now",
    "let me be clear, I want the quote",
    "did you unsubscribe me?",
    "I need you to stop by",
    "just stop by",
    "please stop the leak",
    "Quiero dos puertas y dos ventanas",
    "para llamar a ustedes",
    "please get me a quote off the drawing",
    "no more questions",
    "Don't unsubscribe me",
    "I'll stop sending pictures",
    "If you don't call I will",
    "full stop",
    "stop sign on the corner",
]


@pytest.mark.parametrize("text", OPT_OUTS)
def test_clear_wording_opts_out(text: str) -> None:
    assert read(text).kind is Kind.OPT_OUT


@pytest.mark.parametrize("text", DOUBTFUL)
def test_doubtful_wording_is_put_to_a_person(text: str) -> None:
    assert read(text).kind is Kind.DOUBTFUL


@pytest.mark.parametrize("text", NOTHING)
def test_other_texts_change_no_consent(text: str) -> None:
    assert read(text).kind is Kind.NONE


@pytest.mark.parametrize("text", ["START", "start", " Start. ", "UNSTOP", '"unstop"'])
def test_start_opts_in(text: str) -> None:
    assert read(text).kind is Kind.OPT_IN


@pytest.mark.parametrize("text", ["HELP", "help!", "Info", "INFO?", "Ayuda"])
def test_help_is_asked_for(text: str) -> None:
    assert read(text).kind is Kind.HELP


@pytest.mark.parametrize("word", sorted(PROVIDER_WORDS))
def test_provider_confirms_its_own_words(word: str) -> None:
    assert read(f" {word.lower()}\n").provider_confirms


@pytest.mark.parametrize(
    "text",
    ["stop please", "STOP.", "stop all", "opt out", "REVOKE", "stop texting me", "alto", "START"],
)
def test_provider_confirms_nothing_else(text: str) -> None:
    assert not read(text).provider_confirms


def test_reading_says_which_wording_decided() -> None:
    assert read("Hi. Please STOP texting me!").wording == "stop texting"


def test_very_long_text_is_read_quickly() -> None:
    assert read("stop the " * 100_000).kind is Kind.NONE
