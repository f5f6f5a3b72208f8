"""Sentences of many lengths in English and Spanish, with accents and emoji.

Those in Bora letters (ɨ, tones on vowels) are made up: they only try the tokenizer.
"""

from __future__ import annotations

import itertools

_SUBJECTS = [
    "The grandmother",
    "A young teacher from the river",
    "Nobody in the village",
    "La abuela",
    "El maestro bilingüe",
    "Ningún pescador de Brillo Nuevo",
    "Mɨamúnaa",
    "Tsáijyu bóóráa",
    "Ɨ́ɨtsɨ́ɨ́mɨva",
    "🛶 Our canoe",
]
_ACTIONS = [
    "told the story of the jaguar",
    "forgot 3 of the 12 words, didn't she?",
    "contó cómo nació la maloca",
    "preguntó: «¿quién enciende el fuego?»",
    "ɨ́htsutu wañéhjɨ́ u ɨ́jtsaméi",
    "úmɨhe-tu dííbye péé lliiñájaa",
    "sang 🎶 until dawn 🔥🔥",
    "wrote to info@example.org about COVID-19",
    "says: 'x² + y² = r²' — naïve, isn't it?",
    "vio 10.000 peces; compró 2,5 kg de fariña",
]
_RAIN = (
    " while the rain fell on the palm roof and the children, who had been swimming since noon,"
    " came back one by one to sit near the fire."
)
_MEMORY = (
    " porque la lengua se aprende escuchando, y quien escucha con paciencia a los mayores"
    " guarda en la memoria los nombres de los árboles, de los peces y de los caminos."
)
_LETTERS = " Aabyé ɨ́ɨnéjɨ́ɨ́vane dibye wájpi, tsá dííbye ímíllétú diityé ihjyúva; áánéllii mɨ́amúnáa."
_EMOJI = " 👩🏽‍🌾🌱 → 🍍🥭 = ❤️"

_ENDINGS = ["", _RAIN, _MEMORY, _EMOJI, _LETTERS + _RAIN + _MEMORY + _EMOJI]


def sentences() -> list[str]:
    """Return 500 sentences, of 9 to some 190 tokens."""
    combined = itertools.product(_SUBJECTS, _ACTIONS, _ENDINGS)
    return [f"{subject} {action}{ending}".strip() for subject, action, ending in combined]
