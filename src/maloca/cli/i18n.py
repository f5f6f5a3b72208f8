"""What commands say to people, in English and Spanish.

Errors of the services, `--help` and everything for programs stay English.
"""

from __future__ import annotations

import locale
import os
from typing import Any, Final, Literal

from maloca.cli import doctor_texts

Language = Literal["en", "es"]

_VARIABLES: Final = ("MALOCA_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def language() -> Language:
    """Return the language to speak: MALOCA_LANG, else the locale's, else English."""
    chosen = next(filter(None, map(os.environ.get, _VARIABLES)), None)
    if chosen is None:
        chosen = locale.getlocale()[0] or ""
    # Windows calls it "Spanish_Colombia".
    return "es" if chosen.lower().startswith(("es", "spanish")) else "en"


def t(key: str, /, **values: Any) -> str:
    """Return the text of that key in the language in force, its placeholders filled."""
    return TEXTS[key][language()].format(**values)


TEXTS: Final[dict[str, dict[Language, str]]] = {
    "up.running": {
        "en": "Maloca already runs at {url} (pid {pid}).",
        "es": "Maloca ya está en marcha en {url} (pid {pid}).",
    },
    "up.models": {
        "en": "Fetching the small models that come with Maloca ({size}), only this once.",
        "es": "Se traen los modelos pequeños de Maloca ({size}), solo esta vez.",
    },
    "up.no_page": {
        "en": "The web page is not built, so {url} will not show it. The API works.",
        "es": "La página web no está construida y {url} no la mostrará. La API funciona.",
    },
    "up.no_page.hint": {
        "en": "In a clone of the repository, `make up` builds it (Node 20 or newer).",
        "es": "En un clon del repositorio, `make up` la construye (Node 20 o más nuevo).",
    },
    "up.starting": {"en": "Starting {services} …", "es": "Arrancando {services} …"},
    "up.waiting.start": {"en": "{service} is starting …", "es": "{service} está arrancando …"},
    "up.waiting.load": {
        "en": "{service} loads its model …",
        "es": "{service} carga su modelo …",
    },
    "up.waiting.message": {"en": "{service}: {message}", "es": "{service}: {message}"},
    "up.ready": {"en": "Maloca is ready: {url}", "es": "Maloca está lista: {url}"},
    "up.try": {
        "en": "Try it from another terminal:",
        "es": "Pruébala desde otra terminal:",
    },
    "up.openai": {
        "en": "Clients of OpenAI's API use {url}/v1 as their base URL.",
        "es": "Los clientes de la API de OpenAI usan {url}/v1 como URL base.",
    },
    "up.owner": {
        "en": "Nobody owns this house yet, so it answers on this machine only. This makes an "
        "owner, once and within 24 hours; from then on everybody needs an account (the page "
        "cannot sign in yet):",
        "es": "Esta casa todavía no tiene dueño, así que solo responde en esta máquina. Esto crea "
        "la cuenta del dueño, una sola vez y dentro de 24 horas; desde entonces todos necesitan "
        "una cuenta (la página todavía no permite iniciar sesión):",
    },
    "up.logs": {
        "en": "Logs are in {folder}. Ctrl-C stops everything.",
        "es": "Los registros están en {folder}. Ctrl-C detiene todo.",
    },
    "up.prompt": {
        "en": "What is the capital of France?",
        "es": "¿Cuál es la capital de Francia?",
    },
    "up.restarting": {
        "en": "{service} {how}; it starts again in {delay} s.",
        "es": "{service} {how}; vuelve a arrancar en {delay} s.",
    },
    "up.ended": {
        "en": "ended with exit code {code}",
        "es": "terminó con el código de salida {code}",
    },
    "up.killed": {
        "en": "was killed by signal {signal}",
        "es": "fue terminado por la señal {signal}",
    },
    "up.back": {"en": "{service} is back.", "es": "{service} ha vuelto."},
    "up.stopping": {"en": "Stopping …", "es": "Deteniendo …"},
    "up.last_lines": {
        "en": "The last lines of {service}:",
        "es": "Las últimas líneas de {service}:",
    },
    "up.backup": {
        "en": "The database before the migration is kept in {path}.",
        "es": "La base de datos de antes de la migración se guarda en {path}.",
    },
    "up.migrated": {
        "en": "The database was migrated: {steps}.",
        "es": "La base de datos fue migrada: {steps}.",
    },
    "pull.waiting": {
        "en": "Waiting for another process that fetches {name}",
        "es": "Se espera a otro proceso que trae {name}",
    },
    "pull.resolving": {
        "en": "Looking for {name} in the package indexes",
        "es": "Se busca {name} en los índices de paquetes",
    },
    "pull.downloading": {"en": "Downloading {name}", "es": "Descargando {name}"},
    "pull.verifying": {"en": "Checking {name}", "es": "Comprobando {name}"},
    "pull.extracting": {"en": "Unpacking {name}", "es": "Desempacando {name}"},
    "pull.converting": {"en": "Preparing {name}", "es": "Preparando {name}"},
    "chat.welcome": {
        "en": "Talking with {model}. /help shows the commands, Ctrl-D leaves.",
        "es": "Conversas con {model}. /help muestra los comandos, Ctrl-D sale.",
    },
    "chat.help": {
        "en": (
            "/clear   forget the conversation\n"
            "/exit    leave (or Ctrl-D)\n"
            "/help    show this\n"
            "Ctrl-C   stop the answer\n"
            'A line of """ begins and ends a text of several lines.'
        ),
        "es": (
            "/clear   olvida la conversación\n"
            "/exit    sale (o Ctrl-D)\n"
            "/help    muestra esto\n"
            "Ctrl-C   detiene la respuesta\n"
            'Una línea con """ empieza y termina un texto de varias líneas.'
        ),
    },
    "chat.cleared": {
        "en": "The conversation is forgotten.",
        "es": "La conversación quedó olvidada.",
    },
    "chat.unknown": {
        "en": "There is no command {command}. /help shows those there are.",
        "es": "No hay un comando {command}. /help muestra los que hay.",
    },
    "chat.stopped": {"en": "(stopped)", "es": "(detenida)"},
    "chat.cut": {
        "en": "(cut at {tokens} tokens; --max-tokens allows more)",
        "es": "(cortada a los {tokens} tokens; --max-tokens permite más)",
    },
    "chat.timings": {
        "en": "{tokens} tokens · {speed} tokens/s · first after {ttft} ms",
        "es": "{tokens} tokens · {speed} tokens/s · el primero a los {ttft} ms",
    },
    "admin.nobody": {
        "en": "There are no accounts. `maloca admin users add NAME --role owner` makes the owner.",
        "es": "No hay cuentas. `maloca admin users add NOMBRE --role owner` crea la del dueño.",
    },
    "admin.password": {"en": "Password", "es": "Contraseña"},
    "admin.added": {
        "en": "The account {name} was made ({role}).",
        "es": "La cuenta {name} fue creada ({role}).",
    },
    "admin.disabled": {
        "en": "The account {name} is disabled and signed out.",
        "es": "La cuenta {name} está desactivada y su sesión cerrada.",
    },
    "admin.enabled": {
        "en": "The account {name} is enabled.",
        "es": "La cuenta {name} está activada.",
    },
    "admin.role": {
        "en": "The account {name} is now: {role}.",
        "es": "La cuenta {name} ahora es: {role}.",
    },
    "admin.confirm": {
        "en": "Remove the account {name} with everything in it?",
        "es": "¿Eliminar la cuenta {name} con todo lo que contiene?",
    },
    "admin.removed": {
        "en": "The account {name} was removed.",
        "es": "La cuenta {name} fue eliminada.",
    },
    "admin.invite": {
        "en": "As a link: {link}",
        "es": "Como enlace: {link}",
    },
    "admin.reset": {
        "en": "The account {name} has a new password and is signed out everywhere.",
        "es": "La cuenta {name} tiene contraseña nueva y todas sus sesiones cerradas.",
    },
    "admin.no_events": {"en": "Nothing has happened yet.", "es": "Aún no ha pasado nada."},
    **doctor_texts.TEXTS,
}
