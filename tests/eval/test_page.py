"""Pages isolate text that would turn what stands beside it."""

from markupsafe import Markup

from eval.page import environment

RLO, FSI, PDI = "\u202e", "\u2068", "\u2069"


def render(template, **values):
    return environment().from_string(template).render(**values)


def test_a_prompt_turns_nothing_beside_it():
    page = render("<b title='{{ a }}'>{{ a }}</b>: {{ n }}", a=f"a <{RLO}man", n=3)
    shown = f"{FSI}a &lt;{RLO}man{PDI}"
    assert page == f"<b title='{shown}'>{shown}</b>: 3"


def test_plain_text_and_markup_stay():
    assert render("{{ a }}{{ b }}", a="a man", b=Markup("<i>")) == "a man<i>"
