"""The passwords that guessers try first, as rules over a short list of words.

Lists of leaked passwords are mostly a few hundred words, names and keyboard walks, each with digits
and signs around it and letters replaced by digits. The rules take those away and look at what is
left, in English and Spanish.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Someone who adds more than this to a common word has made something else of it.
_MOST_ADDED: Final = 6
_SHORT_NUMBER: Final = 12
_FEW_LETTERS: Final = 3
_WALK: Final = 4

_LEET: Final = str.maketrans("0134578@$!", "oieastbasi")
_ENDS: Final = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_WALKS: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertyuiopasdfghjklñzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "qazwsxedcrfvtgbyhnujm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "zaq12wsxcde34rfvbgt56yhnmju78ik",
    "poiuytrewqlkjhgfdsamnbvcxz",
    "zyxwvutsrqponmlkjihgfedcba",
    "98765432109876543210",
)
_LIST: Final = """
    abc access account admin administrador administrator adobe adriana alejandra alejandro alex
    alexander alexis alicia almendra amanda amazonas america amigo amigos amistad amor amorcito
    amores andrea andres andrew angel angela angelica angelito anthony antonio apple argentina
    arsenal ashley austin babygirl banana bandit barcelona baseball basketball batman beautiful
    bebe bebita bienvenida bienvenido bigdog blahblah bogota bolivia booboo boomer brandon
    brasil bubbles buster butterfly cambiame camila camilo campeon canada candy carlos carolina
    catalina caterina changeme charlie cheese chelsea chester chicago chicken chile chocolate
    clave colombia computador computadora computer contrasena cookie corazon corona corvette
    cowboy cristiano cristina cruzazul dallas daniel daniela david debian default demo diamante
    diamond diana diego dinero dios dragon eagles eduardo elephant elizabeth enter espana
    esperanza estrella eterno familia fatima felicidad felipe fernanda fernando ferrari fiesta
    florida flower football forever francisco freedom friend friends futbol gabriel gabriela
    gandalf garfield gatito george ginger gloria god google guadalupe guest guillermo guitar
    hacker hammer hannah harley heaven hector hello hermosa hockey hola hunter iceman iloveyou
    inicio internet invitado isabel isabella jackson jaguar jasmine javier jennifer jessica
    jesucristo jesus jesuscristo jordan jorge jose joshua juan juventus karina killer kitten
    laptop laura leonardo letmein linux lizard llave login london lorena lovely loveme loveyou
    lucas lucia lucky luis madison madrid maestro maggie maloca manager manchester manuel
    margarita maria mariana marina mario marlboro martin martina marvin master matrix matthew
    maverick maximus medellin mercedes merlin messi mexico michael michelle miguel milagros
    millonarios mobile monica monkey monster morgan mustang mypass mypassword nacional naruto
    natalia natasha nathan newyork nicolas nicole ninja nothing oliver operador oracle orange
    orlando owner pablo paloma pamela paola papito paris pass passcode passw password passwort
    patricia patrick peanut pepito pepper perfect peru phoenix pikachu pokemon porsche postgres
    president princesa princess prueba purple qwerty rafael raiders rainbow ranger realmadrid
    rebecca redsox ricardo richard river riverplate robert rodrigo ronaldo root samantha samsung
    samuel sandra santiago scooter sebastian secret secreta secreto security segura seguro selva
    senha server service shadow shadows shakira shannon silver simple snoopy soccer sofia
    soledad solo sophie spiderman startrek starwars steven stupid summer sunflower sunshine
    superman supersecret superuser supervisor susana sweet system taylor teamo tequiero teresa
    test tester testing thomas thunder tiger tinkerbell travis trinity trustno tucker
    ubuntu unknown user usuario valentina valeria vanessa venezuela veronica victor victoria
    viking virginia welcome whatever william winner winston winter wizard xavier yamaha yankees
    yellow zapato
"""
_WORDS: Final = frozenset(_LIST.split())


def is_common(password: str, *context: str) -> bool:
    """Return whether a password would be guessed early.

    Args:
        password: As it was given.
        context: What everybody knows, such as the name of the account.
    """
    plain = _fold(password)
    known = _WORDS | {_fold(word) for word in context}
    return (
        (plain.isdigit() and len(plain) < _SHORT_NUMBER)
        or len(set(plain)) <= _FEW_LETTERS
        or any(
            (form in known or (len(form) >= _WALK and any(form in walk for walk in _WALKS)))
            for form, length in _forms(plain)
            if len(plain) - length <= _MOST_ADDED
        )
    )


def _forms(plain: str) -> set[tuple[str, int]]:
    """Return what may be the word in a password, and how many characters it accounts for."""
    bare = _ENDS.sub("", plain)
    read = plain.translate(_LEET)
    forms = {plain, bare, bare.translate(_LEET), read, _ENDS.sub("", read)} - {""}
    # A word that is written twice or more is no better than the word.
    return {(form[: _period(form)], len(form)) for form in forms} | {(f, len(f)) for f in forms}


def _period(text: str) -> int:
    """Return the length of the shortest piece that repeats to the whole text."""
    return (text + text).find(text, 1)


def _fold(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))
