"""What `maloca doctor` says, in English and Spanish."""

from __future__ import annotations

from typing import Final, Literal

TEXTS: Final[dict[str, dict[Literal["en", "es"], str]]] = {
    "doctor.python": {"en": "Python {version}, {bits} bits", "es": "Python {version}, {bits} bits"},
    "doctor.python.bits": {
        "en": "Install a 64-bit Python: the inference libraries have no 32-bit build.",
        "es": "Instala un Python de 64 bits: las bibliotecas de inferencia no existen para 32.",
    },
    "doctor.settings": {"en": "every value can be used", "es": "todos los valores sirven"},
    "doctor.settings.fix": {
        "en": "Correct or unset that variable, in the environment or in .env.",
        "es": "Corrige o quita esa variable, en el entorno o en .env.",
    },
    "doctor.home": {
        "en": "{path} can be written, {free} free",
        "es": "se puede escribir en {path}, {free} libres",
    },
    "doctor.home.unwritable": {
        "en": "{path} cannot be written: {reason}",
        "es": "no se puede escribir en {path}: {reason}",
    },
    "doctor.home.unwritable.fix": {
        "en": "Give your user that folder, or set MALOCA_HOME to another one.",
        "es": "Dale esa carpeta a tu usuario, o pon otra en MALOCA_HOME.",
    },
    "doctor.home.open": {
        "en": "{path} can be written by other users (mode {mode})",
        "es": "otros usuarios pueden escribir en {path} (modo {mode})",
    },
    "doctor.disk.low": {
        "en": "only {free} free at {path}",
        "es": "solo {free} libres en {path}",
    },
    "doctor.disk.fix": {
        "en": "Free some space, or set MALOCA_MODELS_DIR to a folder on another disk.",
        "es": "Libera espacio, o pon en MALOCA_MODELS_DIR una carpeta de otro disco.",
    },
    "doctor.disk": {"en": "{free} free at {path}", "es": "{free} libres en {path}"},
    "doctor.memory": {
        "en": "{available} available of {total}",
        "es": "{available} disponibles de {total}",
    },
    "doctor.memory.fix": {
        "en": "Close other programs: the small models together want about 1 GiB.",
        "es": "Cierra otros programas: los modelos pequeños juntos piden cerca de 1 GiB.",
    },
    "doctor.cpu.avx512": {
        "en": "{cores} cores, AVX-512: the fastest kernels are used",
        "es": "{cores} núcleos, AVX-512: se usan los cálculos más rápidos",
    },
    "doctor.cpu.avx2": {
        "en": "{cores} cores, AVX2: good speed, prompts are read somewhat slower than with AVX-512",
        "es": "{cores} núcleos, AVX2: buena velocidad, algo menos que con AVX-512 al leer",
    },
    "doctor.cpu.neon": {
        "en": "{cores} cores, ARM with NEON: good speed",
        "es": "{cores} núcleos, ARM con NEON: buena velocidad",
    },
    "doctor.cpu.slow": {
        "en": "{cores} cores without AVX2: answers will be several times slower",
        "es": "{cores} núcleos sin AVX2: las respuestas serán varias veces más lentas",
    },
    "doctor.cpu.slow.fix": {
        "en": "Use a machine whose CPU has AVX2 (2013 or newer), or pass it on to the guest.",
        "es": "Usa una máquina cuya CPU tenga AVX2 (2013 o posterior), o pásala al huésped.",
    },
    "doctor.cpu.unknown": {
        "en": "{cores} cores; this system does not tell what the CPU can do",
        "es": "{cores} núcleos; este sistema no dice qué sabe hacer la CPU",
    },
    "doctor.engine": {"en": "{versions}", "es": "{versions}"},
    "doctor.engine.missing": {
        "en": "not installed: {packages}",
        "es": "sin instalar: {packages}",
    },
    "doctor.engine.fix": {
        "en": "pip install 'maloca[engine]'",
        "es": "pip install 'maloca[engine]'",
    },
    "doctor.engine.broken": {
        "en": "{package} {version} cannot be loaded: {reason}",
        "es": "{package} {version} no se puede cargar: {reason}",
    },
    "doctor.engine.broken.fix": {
        "en": "pip install --force-reinstall {package}",
        "es": "pip install --force-reinstall {package}",
    },
    "doctor.model": {
        "en": "{alias} is {name}, {size}, whole",
        "es": "{alias} es {name}, {size}, completo",
    },
    "doctor.model.missing": {
        "en": "there is no {alias} model yet",
        "es": "todavía no hay un modelo {alias}",
    },
    "doctor.model.missing.fix": {
        "en": "`maloca up` fetches it, or `maloca models pull {name}`.",
        "es": "`maloca up` lo trae, o `maloca models pull {name}`.",
    },
    "doctor.page": {"en": "built", "es": "construida"},
    "doctor.page.missing": {
        "en": "not built; the API works without it",
        "es": "sin construir; la API funciona sin ella",
    },
    "doctor.page.fix": {
        "en": "In a clone of the repository, `make up` builds it.",
        "es": "En un clon del repositorio, `make up` la construye.",
    },
    "doctor.node": {"en": "Node {version}", "es": "Node {version}"},
    "doctor.node.old": {
        "en": "Node {version} is too old to build the page",
        "es": "Node {version} es muy viejo para construir la página",
    },
    "doctor.node.missing": {
        "en": "not found; only needed to build the page",
        "es": "no se encuentra; solo hace falta para construir la página",
    },
    "doctor.node.fix": {
        "en": "Install Node 20 or newer: https://nodejs.org/en/download",
        "es": "Instala Node 20 o más nuevo: https://nodejs.org/es/download",
    },
    "doctor.port.free": {"en": "{port} is free", "es": "{port} está libre"},
    "doctor.port.ours": {"en": "{port} is used by {who}", "es": "{port} lo usa {who}"},
    "doctor.port.taken": {"en": "{message}", "es": "{message}"},
    "doctor.service.stopped": {"en": "not running", "es": "no está en marcha"},
    "doctor.service.healthy": {"en": "{status} at {url}", "es": "{status} en {url}"},
    "doctor.service.silent": {
        "en": "runs at {url} (pid {pid}), but does not answer: {reason}",
        "es": "está en {url} (pid {pid}), pero no responde: {reason}",
    },
    "doctor.service.silent.fix": {
        "en": "Read {log}, then stop it with Ctrl-C and run `maloca up` again.",
        "es": "Lee {log}, luego detenlo con Ctrl-C y ejecuta `maloca up` otra vez.",
    },
    "doctor.service.version": {
        "en": "version {theirs} runs at {url}, but {ours} is installed",
        "es": "en {url} está la versión {theirs}, pero está instalada la {ours}",
    },
    "doctor.service.version.fix": {
        "en": "Stop it with Ctrl-C and run `maloca up` again.",
        "es": "Detenlo con Ctrl-C y ejecuta `maloca up` otra vez.",
    },
    "doctor.all_well": {"en": "All is well.", "es": "Todo está bien."},
    "doctor.summary": {
        "en": "{fail} failed, {warn} to look at.",
        "es": "{fail} con fallos, {warn} por revisar.",
    },
}
