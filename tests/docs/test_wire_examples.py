"""Every JSON example and every form in the tables of docs/reference/wire.md is taken, or refused with that message."""

import json
import re
from pathlib import Path

import pytest

from psengine_host.analysis import Analysis, Comment
from psengine_host.bounty import Bounty
from psengine_host.errors import InvalidBounty

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "wire.md").read_text(encoding="utf-8")
LEAST = {"id": 1, "artifact_type": "file", "artifact_uri": "https://x.example/a"}


def section(title: str) -> str:
    """What stands under a heading, up to the next of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, without their heads."""
    lines = [re.split(r"(?<!\\)\|", line.strip("|")) for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def fragment(cell: str) -> dict[str, object]:
    (found,) = code(cell)
    return json.loads("{" + found + "}")


EXAMPLES = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]
BOUNTIES = [example for example in EXAMPLES if "verdict" not in example]
ANSWERS = [example for example in EXAMPLES if "verdict" in example]
TAKEN = [fragment(form) for _, form, _ in rows(section("Forms that are taken"))]
REFUSED = [(fragment(form), code(message)[0]) for form, message in rows(section("Forms that are refused"))]
ANSWERED = [fragment(form) for _, form, _ in rows(section("Answer"))]


def test_there_are_examples_of_everything():
    assert (len(BOUNTIES), len(ANSWERS)) == (4, 3)
    assert len(TAKEN) > 30
    assert len(REFUSED) > 10
    assert len(ANSWERED) > 10


@pytest.mark.parametrize("example", BOUNTIES)
def test_a_bounty_decodes(example):
    bounty = Bounty.decode(json.dumps(example))
    assert bounty.to_wire().items() >= {name: example[name] for name in example if name != "metadata"}.items()


def test_what_is_said_to_be_sent_is_sent():
    (example,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", section("What is sent"), re.DOTALL))
    assert Bounty.decode(json.dumps(example)).to_wire() == example


@pytest.mark.parametrize("example", ANSWERS)
def test_an_answer_is_what_would_be_sent(example):
    assert Analysis.decode(json.dumps(example)).to_wire() == example


@pytest.mark.parametrize("form", TAKEN, ids=json.dumps)
def test_a_form_is_taken(form):
    bounty = Bounty.decode(json.dumps({**LEAST, **form}))
    assert Bounty.decode(bounty.encode()) == bounty


@pytest.mark.parametrize(("form", "message"), REFUSED, ids=json.dumps)
def test_a_form_is_refused_with_the_message_on_the_page(form, message):
    with pytest.raises(InvalidBounty) as caught:
        Bounty.decode(json.dumps({**LEAST, **form}))
    assert str(caught.value) == message


@pytest.mark.parametrize("form", ANSWERED, ids=json.dumps)
def test_a_form_of_an_answer_is_taken(form):
    analysis = Analysis.decode(json.dumps({"verdict": "malicious", **form}))
    assert Analysis.decode(analysis.encode()) == analysis


def test_every_field_that_is_sent_has_its_row():
    named = {name for cells in rows(section("Forms that are taken")) for name in code(cells[0])}
    assert named == set(Bounty.__struct_fields__) - {"file_allowed"}
    answered = {name for cells in rows(section("Answer")) for name in code(cells[0])}
    assert answered == {*Analysis.__struct_fields__, *type(Analysis.benign().metadata).__struct_fields__} - {"metadata"}


def test_every_comment_has_its_constructor():
    listed = {}
    for comment, verdict, constructor, _ in rows(section("Answers that are no judgement")):
        name = re.fullmatch(r"`Analysis\.(\w+)\(\)`", constructor)[1]
        listed[code(comment)[0]] = getattr(Analysis, name)()
        assert listed[code(comment)[0]].verdict == code(verdict)[0]
    assert {comment: analysis.comments for comment, analysis in listed.items()} == {
        comment.value: (comment.value,) for comment in Comment
    }
