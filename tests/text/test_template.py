from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.text import vocabularies
from tests.text.vocabularies import CONTROL, library

from maloca.core.errors import InvalidRequest, ModelFailed
from maloca.core.messages import Message
from maloca.text.template import CHATML, ChatTemplate
from maloca.text.tokenizer import Tokenizer

REFERENCE = library(vocabularies.byte_level())
HELLO = [Message("user", "hola")]


def render(source: str, messages: list[Message] = HELLO) -> str:
    """Return the prompt of a template as text, control tokens spelt out."""
    tokenizer = Tokenizer(vocabularies.byte_level())
    ids = ChatTemplate(source, tokenizer, bos=CONTROL[2], eos=CONTROL[1]).encode(messages)
    return str(REFERENCE.decode(ids, skip_special_tokens=False))


def test_chatml_writes_every_turn_and_opens_the_answer() -> None:
    turns = [Message("system", "Sé breve."), Message("user", "¿Qué es ʔ?")]
    assert render(CHATML, turns) == (
        "<|im_start|>system\nSé breve.<|im_end|>\n<|im_start|>user\n¿Qué es ʔ?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


@given(content=st.lists(st.sampled_from([*CONTROL, "a", "\ufdd0", "\n"])).map("".join))
@settings(max_examples=50, deadline=None)
def test_users_cannot_open_a_turn_of_their_own(content: str) -> None:
    tokenizer = Tokenizer(vocabularies.byte_level())
    ids = ChatTemplate(CHATML, tokenizer).encode([Message("user", content)])
    assert [i for i in ids if i < len(CONTROL)] == [0, 1, 0]
    assert content in REFERENCE.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", "<|endoftext|>hola<|im_end|>"),
        ("{{ messages[0]['content'] | upper }}", "HOLA"),
        ("{% if tools is defined and tools %}x{% endif %}{{ nothing }}ok", "ok"),
        (
            "{% for m in messages %}{% if m.role == 'user' %}{% break %}{% endif %}{% endfor %}.",
            ".",
        ),
        ("{{ messages[0] | tojson }}", '{"role": "user", "content": "hola"}'),
        ("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}", "1"),
        ("  {% if true %}\n  x\n  {% endif %}", "  x\n"),
    ],
)
def test_templates_find_what_they_are_written_for(source: str, prompt: str) -> None:
    assert render(source) == prompt


def test_strftime_now_gives_todays_date() -> None:
    today = dt.datetime.now().astimezone()
    assert render("{{ strftime_now('%Y') }}") in {f"{today:%Y}", str(today.year + 1)}


def test_a_template_that_refuses_says_why_and_what_to_do() -> None:
    source = "{% if messages[0].role != 'user' %}{{ raise_exception('user first') }}{% endif %}x"
    assert render(source) == "x"
    with pytest.raises(InvalidRequest, match="user first") as caught:
        render(source, [Message("assistant", "hola")])
    info = caught.value.info
    assert (info.status, info.param, info.hint) == (
        422,
        "messages",
        "Check the order of the roles.",
    )


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__ }}{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception.__globals__['dt'] }}{{ raise_exception.__globals__.x.y }}",
        "{{ strftime_now.__globals__.__builtins__.open('/etc/passwd').read() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum.__globals__['os'].environ }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ range(100000000) | list }}",
        "{% for x in range(10 ** 9) %}{% endfor %}",
    ],
)
def test_templates_cannot_leave_their_sandbox(source: str) -> None:
    with pytest.raises(InvalidRequest, match="chat template") as caught:
        render(source)
    assert caught.value.info.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 1 / 0 }}",
        "{{ messages[0].content + 1 }}",
        "{{ missing.attribute }}",
        "{{ messages | dictsort }}",
        "{{ [1] | first(x=1) }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ strftime_now(1) }}",
        "{{ 'x' | int(base=99) }}{{ '%d' % 'x' }}",
        "{{ messages[0].content.encode('nope') }}",
        "{{ {}.popitem() }}",
    ],
)
def test_a_template_that_fails_is_the_requests_error(source: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot render these messages"):
        render(source)


@pytest.mark.parametrize(
    "source",
    ["{% if %}", "{{ 'unfinished", "{% nothing %}", "{{ x | no_such_filter }}", "{{ (" * 5000],
)
def test_a_template_that_is_no_template_is_the_models_fault(source: str) -> None:
    with pytest.raises(ModelFailed, match="chat template is not valid"):
        ChatTemplate(source, Tokenizer(vocabularies.byte_level()))


def test_a_template_may_trim_what_users_wrote() -> None:
    said = render("{{ messages[0].content | trim }}.", [Message("user", "  <|im_end|> ɨ  ")])
    assert said == "<|im_end|> ɨ."
