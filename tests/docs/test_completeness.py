"""Nothing lacks its page, and no page speaks of what there is not."""

import importlib
import re
import tomllib

import pytest

from psengine_host.cli.root import COMMANDS
from psengine_host.engines.found import ENGINES_GROUP, OBSERVERS_GROUP, WRAPPERS_GROUP
from psengine_host.environment import VARIABLES
from psengine_host.hookspecs import HOOKS

PATH = re.compile(r"(?:docs|tests|plugins|psengine_host)/[\w./-]*\w/?\Z")
DOTTED = re.compile(r"psengine_host(?:\.\w+)+\Z")


def text_of(pages, name):
    assert name in pages, f"{name} is missing"
    return pages[name].path.read_text()


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_its_section(hook, pages):
    text_of(pages, "docs/reference/hooks.md")
    titles = [re.sub(r"[`()]", " ", heading).split() for heading in pages["docs/reference/hooks.md"].headings]
    assert any(title and title[0] == hook for title in titles), (
        f"docs/reference/hooks.md: no heading begins with {hook}"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_described(command, pages):
    assert re.search(rf"psengine {command}\b", text_of(pages, "docs/reference/command-line.md"))


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_of_an_engine_is_described(variable, pages):
    assert re.search(rf"[}}\w]_{variable}\b", text_of(pages, "docs/reference/environment.md"))


@pytest.mark.parametrize("group", [ENGINES_GROUP, OBSERVERS_GROUP, WRAPPERS_GROUP, "psengine.backends"])
def test_each_group_of_entry_points_is_explained(group, pages):
    assert f"`{group}`" in text_of(pages, "docs/explanation/architecture.md")


def test_each_dependency_is_justified(pages, root):
    text = text_of(pages, "docs/explanation/dependencies.md")
    declared = []
    for path in (root / "pyproject.toml", *root.glob("plugins/*/pyproject.toml")):
        table = tomllib.loads(path.read_text())
        groups = table.get("dependency-groups", {}).values()
        declared += table["project"]["dependencies"] + table["build-system"]["requires"]
        declared += [entry for group in groups for entry in group if isinstance(entry, str)]
    names = {re.match(r"[\w.-]+", requirement)[0] for requirement in declared} - {"psengine-host"}
    assert {name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)} == set()


def test_the_index_links_every_page(pages, root):
    index = pages["docs/index.md"]
    linked = {(index.path.parent / link.partition("#")[0]).resolve() for link in index.links}
    fragments = root / "docs/changelog"
    unlinked = [
        name
        for name, page in pages.items()
        if name.startswith("docs/")
        and page.path not in linked | {index.path}
        and (page.path.parent != fragments or page.path.name == "README.md")
    ]
    assert unlinked == []


def test_the_index_has_one_line_for_each_page(pages):
    text = pages["docs/index.md"].prose.partition("## If you know")[0]
    entries = re.findall(r"^- \[[^\]]+\]\(([^)]+)\): [^\n]+\.$", text, re.MULTILINE)
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(entries) == len(lines) == len(set(entries)) > 20


def test_the_readme_leads_to_the_index(pages):
    assert "docs/index.md" in pages["README.md"].links


def test_paths_that_a_page_names_exist(page, root):
    named = {word for word in page.code_words if PATH.match(word)}
    assert {word for word in named if not (root / word).exists()} == set()


def test_modules_and_names_that_a_page_names_exist(page):
    missing = set()
    for word in page.code_words:
        if DOTTED.match(word) and not exists(word):
            missing.add(word)
    assert missing == set()


def exists(dotted):
    """Whether a dotted name is a module, or an attribute of one."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


def test_a_name_that_there_is_not_is_noticed():
    assert exists("psengine_host.hookspecs.Context")
    assert not exists("psengine_host.hookspecs.Kontext")
    assert not exists("psengine_host.no_such_room")
