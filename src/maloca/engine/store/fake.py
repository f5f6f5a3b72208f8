"""The model of the fake runtime: no weights, a byte-level tokenizer, a ChatML template."""

from __future__ import annotations

import time
from functools import cache
from typing import Any, Final

from maloca.engine.store.atomic import disk_errors, staging_folder
from maloca.engine.store.byte_level import byte_alphabet
from maloca.engine.store.integrity import sha256_of
from maloca.engine.store.manifest import (
    CHAT_TEMPLATE,
    TOKENIZER,
    Manifest,
    ModelKind,
    StoredFile,
    StoredModel,
)
from maloca.engine.store.store import ModelStore

IM_START: Final = 256
IM_END: Final = 257
END_OF_TEXT: Final = 258

_CHATML: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def install_fake(
    store: ModelStore,
    name: str = "fake",
    *,
    kind: ModelKind = "chat",
    context_length: int = 4096,
    dim: int = 384,
    **options: Any,
) -> StoredModel:
    """Install a model for the fake runtime, replacing one of the same name.

    Token ids 0 to 255 are the bytes of the text; 256 to 258 are `<|im_start|>`, `<|im_end|>` and
    `<|endoftext|>`.

    Args:
        store: Where to.
        name: A valid model name.
        kind: "chat", or "embedding" for a fake embedder.
        context_length: Tokens, prompt and answer together.
        dim: Length of a fake embedding; a chat model has none.
        options: Settings of the fake runtime; they land in the manifest's `options`.
    """
    with (
        disk_errors(store.path),
        store.lock(name),
        staging_folder(store.path, name) as staging,
    ):
        content = staging / "model"
        content.mkdir()
        (content / TOKENIZER).write_bytes(_tokenizer_json().encode())
        if kind == "chat":
            (content / CHAT_TEMPLATE).write_bytes(_CHATML.encode())
        manifest = Manifest(
            name=name,
            kind=kind,
            format="fake",
            weights=TOKENIZER,
            files=[
                StoredFile(path.name, path.stat().st_size, sha256_of(path))
                for path in sorted(content.iterdir())
            ],
            context_length=context_length,
            source="builtin:fake",
            licence="Apache-2.0",
            installed=int(time.time()),
            runtime="fake",
            architecture="fake",
            stop_token_ids=[IM_END, END_OF_TEXT] if kind == "chat" else [],
            dim=dim if kind == "embedding" else 0,
            options=options,
        )
        return store.install(content, manifest, trash=staging)


@cache
def _tokenizer_json() -> str:
    """Return a tokenizer whose tokens are bytes."""
    from tokenizers import (  # noqa: PLC0415 - a library that only this function needs.
        AddedToken,
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
    )

    vocabulary = {char: byte for byte, char in enumerate(byte_alphabet())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(text, special=True, normalized=False)
            for text in ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
        ]
    )
    return str(tokenizer.to_str(pretty=True))
