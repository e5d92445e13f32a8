"""Every link of a page that points into the project leads somewhere: the file is there, and the heading in it."""

from urllib.parse import unquote, urlsplit

import pytest


def test_relative_links_resolve(page, pages, root):
    broken = []
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        if not target.exists():
            broken.append(f"{link}: no such file")
        elif not target.is_relative_to(root):
            broken.append(f"{link}: leads out of the project")
        elif parts.fragment:
            there = pages.get(target.relative_to(root).as_posix())
            if there is None or unquote(parts.fragment) not in there.anchors:
                broken.append(f"{link}: no such heading")
    assert not broken, f"{page.name}:\n" + "\n".join(broken)


def test_links_elsewhere_are_https(page):
    """Nothing is asked of the network; only the spelling is looked at."""
    elsewhere = [link for link in page.links if urlsplit(link).scheme]
    assert [link for link in elsewhere if not link.startswith(("https://", "mailto:"))] == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Test it", "test-it"),
        ("Say that something is wrong: EngineError", "say-that-something-is-wrong-engineerror"),
        ("`on_success` & co.", "on_success--co"),
        ("[Bids](bids.md) in wei", "bids-in-wei"),
    ],
)
def test_anchors_are_githubs(heading, anchor, make_page):
    page = make_page(f"# {heading}\n")
    assert page.anchors == {anchor}


def test_of_two_headings_alike_the_second_is_numbered(make_page):
    assert make_page("# A\n\n## Same\n\n## Same\n").anchors == {"a", "same", "same-1"}


def test_links_in_code_are_none(make_page):
    page = make_page("[a](b.md) `[c](d.md)`\n\n```text\n[e](f.md)\n```\n\n[g]: <h.md>\n")
    assert page.links == ["b.md", "h.md"]
