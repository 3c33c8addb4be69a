"""What single words stand for when people write about being texted, English and Spanish.

A text is read as a row of signs, one a word: "please stop texting me" is STOP TEXTING ME. Words
without a sign are OTHER; courtesies, curses and what else changes nothing have none and are left
out. Words are lower case without accents and apostrophes.
"""

from crm_api.domain.consent.spelling import plain_forms, with_slips

_SIGNED_WORDS = """
STOP stop sopt stopall cease discontinue desist halt refrain detener detenga detengan detengase
  detenganse detente
STOPPED stopped
HALT pare paren parenle parar para
QUIT quit
END end edn revoke revoking revoked withdraw rescind alto basta terminar salir salgo
CANCEL cancel cancelar cancela cancele cancelen
UNSUBSCRIBE unsubscribe unsubscribed unsubscribing unsub unenroll optout dnc stop2quit stop2end
  desuscribir desuscribirme desuscribanme desuscribame
OPT opt opting opted
REMOVE remove removed removing delete deleted erase erased scratch strike quit|e|en|a|ar
  sac|e|en|a|ar saqu|e|en|a|ar borr|e|en|a|ar elimin|e|en|a|ar remuev|e|en|a|ar
REMOVE_ME removeme deleteme quite|me|nos quiten|me|nos quita|me|nos quitar|me|nos saque|me|nos
  saquen|me|nos saca|me|nos sacar|me|nos borre|me|nos borren|me|nos borra|me|nos borrar|me|nos
  kite|me|nos kiten|me|nos elimineme eliminenme eliminarme
LOSE lose
RID rid
TURN turn shut
KNOCK knock cut
HOLD hold pause
TAKE take taken taking get getting pull drop
BLOCK block blocking blocked
LEAVE leave dejan dejenme dejeme dejame dejennos dejenos
CEASE deje dejen deja dejar
GIVE dar darme deme denme dame darnos
BAJA baja
GO go
TEXT text texts txt txts texted bothered disturb disturbed harassed msj msjs mailings
  message messages messaged msg msgs sms mms contact contacts
  contacted communication communications tex massage mensaje mensajes mensajito mensajitos texto
  textos subscription suscripcion contact|e|en|es|arme|arnos molest|e|en|es|arme|arnos
  fastidi|e|en|es|arme|arnos text|e|en|es|ar|arme|ear|earme|een|eo
  texte|e|en|es|ar|arme|ear|earme|een|eo escrib|a|an|as|irme|irnos contactado
WRITE write bother harass solicit solicitation solicitations solicitors communicate
  escribir contactar molestar fastidiar
TEXTING texting txting messaging massaging msging contacting calling writing emailing mailing
  spamming bothering harassing bugging annoying pestering soliciting reaching hitting blowing
  textin txtn textn mandando enviando escribiendo molestando textear textiando
REPLY reply replied replying
CALL call calls reach email emails llamadas llam|e|en|es|ar|arme|eme|enme
  habl|e|en|es|ar|arme busqu|e|en|es|ar|arme
SEND send sending sent receive receiving receives recibir mand|e|en|es|ar|arme
  envi|e|en|es|ar|arme llegu|e|en
ME me us myself nos
MY my our this mi mis nuestro nuestros este esta
NUMBER # number numbers num phone phones cell name names info information details data numero
  numeros contacto telefono telefonos celular nombre datos
PERSON person guy lady persona
THESE these those them it its that thats thing things stuff anything nothing everything all here
  esto estos eso esos nada todo todos
THE the an your yours yur ur her his their any such su sus tu tus el la los las lo un una unos unas
  every other
MORE more another again anymore further longer mas nunca mor vuelva vuelvan vuelvas sigan siga
OFF off out of fuera
FROM from frm fro form de del
LIST list lists listing database system systems records record roster file files campaign
  campaigns thread registry lista listas sistema base registro registros
YOU you u yall ustedes usted yourself yourselves
I i im ive ill id we weve they he she
OR or and nor ni y o
NOT dont not never dnt nto dotn donot nomore
ISNT isnt wasnt arent aint
CANNOT wont cant cannot didnt doesnt nobody shouldnt wouldnt couldnt havent neither
NO no zero
IF if happens did had does whether will si
WHY why
MIND mind forget hesitate worry
SERVICE service services offer offers
HOW how where way como
TELL told tell said say asked ask asking begged telling request requested
  requesting demand demanding
WANT want wants wanna wanted wish need prefer rather desire quiero deseo prefiero queremos autorizo
LIKE like
CARE care
INTEREST interested interest interes interesa interesado interesada interesados
WHEN when before after until till during unless at on tonight tomorrow morning night evening
  noon noche manana weekends sunday sundays domingo domingos late early temprano tarde
NOW now
BY by in over for up into en
BE be being been is are am was were es son estoy estamos estar
HAVE have has tengo tenemos
BENIGN bus pit truck rest full next train door non one last first short quick water rain raining
  leak leaks leaking sign signs work working payment digging doing drip dripping light loss
  watch
WRONG wrong equivocado equivocada equivoco equivocaron incorrecto incorrect
SPAM spam spammer spammers scam scammer scammers junk estafa estafadores
REPORT report reporting reported
LAW fcc ftc tcpa lawsuit sue harassment police cops
LAWYER lawyer attorney abogado complaint
FED_UP enough annoying annoyed fewer less
TOO too
MANY many much often
CONSENT consent permission authorization consentimiento permiso
SIGNED sign signed subscribe subscribed
HEAR hear saber
ALONE alone paz tranquilo tranquila
SWEAR fuck piss screw f eff bugger buzz
AWAY away lost hell
NEARLY_STOP stoop spot shop step top sop stow stomp strop
"""
"""A sign and its words a line; ``mand|e|en`` is mande and manden."""

_LEFT_OUT = """
yo please pls plz plse kindly thanks thank thx ty ok okay hi hey hello yes sorry asap
immediately just sir maam guys dude bro bruh man so already today omg really very such fucking
fuckin freaking damn stupid tf do can could would should will to a ever with still also but good
por favor porfavor porfa gracias ya con hola senor buenas buenos tardes dias que se as people
marketing unwanted automated well oh folks finally
"""
"""Words that change nothing."""

_MISTYPED = """
stop stopall quit cancel text again unsubscribe unsubscribed optout remove delete texting messaging
contacting sending texts message messages contact please leave alone number interested anymore
mensaje mensajes escriban escriba molesten quiten quitenme saquenme borrenme lista dejen texteen
manden cancelar
"""
"""Words whose slips are read as the word."""

_REAL = """
top test next tent teat ext gain step shop stops atop stomp stoop stow sop slop quite suit quiet
quiz quits quid quilt quito quip quint quita quie cancer chancel carcel remote removes testing
sexting massaging contracting spending ending pending lending bending sensing vending tending
seeding mending sanding fending texas tests tents massages imessage contract contracts contacta
pleased lease pleas pleases leaves weave heave cleave llave lave along lone clone aloe atone
lumber dumber escriben escribe escrita escribo escribi escribia describa estriba molestan
molested quien quitan quites vista listo pista lisa dista alista listar deben tejen mandan
anden maiden madden manten cancelan cancelo deleite deplete remover feels
"""
"""Words of their own that are one slip away from one of these."""

OTHER = "x"
PAUSE = "."
QUESTION = "?"


def _words_of(line: str) -> tuple[str, list[str]]:
    name, *entries = line.split()
    parts = [entry.split("|") for entry in entries]
    words = [stem + ending for stem, *endings in parts for ending in endings or [""]]
    return name, words


_WORDS = dict(map(_words_of, _SIGNED_WORDS.replace("\n ", " ").strip().splitlines()))
SIGNS = {name: chr(0xC0 + at) for at, name in enumerate(_WORDS)}
_LEFT_OUT_SIGN = ""

_KNOWN = {word: SIGNS[name] for name, words in _WORDS.items() for word in words}
_KNOWN |= dict.fromkeys(_LEFT_OUT.split(), _LEFT_OUT_SIGN)
_SIGN_OF = with_slips(_KNOWN, words=_MISTYPED.split(), real=frozenset(_REAL.split()))


def sign_of(word: str) -> str:
    """Return the sign of a word; empty when the word changes nothing."""
    sign = _SIGN_OF.get(word)
    if sign is not None:
        return sign
    if "*" in word:
        return _LEFT_OUT_SIGN
    if word.startswith("unsub"):
        return SIGNS["UNSUBSCRIBE"]
    return next((_SIGN_OF[form] for form in plain_forms(word) if form in _SIGN_OF), OTHER)


def is_request(word: str) -> bool:
    """Say whether a word asks for an end by itself; a long one also when it is mistyped."""
    sign = _SIGN_OF.get(word)
    return sign == SIGNS["UNSUBSCRIBE"] or (word in _KNOWN and sign in _REQUESTS)


_REQUESTS = {SIGNS[name] for name in ("STOP", "QUIT", "END", "CANCEL", "REMOVE")}
