"""Every block of code in the pages: what is Python compiles, and runs where it is complete; what is a command is run.

The rules, for who writes a page:

- A ``python`` block that defines or imports every name it uses is complete, and is run, in a folder that holds
  ``samples/``. One that does not is compiled only; in a page of cells, as of a notebook, that is what is wanted.
- A block whose line before it ends in the name of a file and a colon, "Write `psengine.toml`:", is that file. It is
  there for the commands that follow. "Change `engine.py`:" replaces what has the same name in it and adds the rest.
- The commands of a ``console`` block are run in the order of the page, in one folder and as in one shell, and what they
  print is compared. ``…`` stands for any text, alone in a line for any number of lines, and the width of columns does
  not count. The engines ``eicar`` and ``yara`` are installed.
- ``<!-- not run: why -->`` in the line before a block keeps it from being run, and a reader from seeing that.
"""

import ast
import builtins
import json
import tomllib

import pytest


def unknown_names(tree):
    """Names that a module uses and that nothing in it, nor Python, defines."""
    used, known = set(), {*dir(builtins), "__file__", "__name__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else known).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
        elif isinstance(node, ast.alias):
            known.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            known.add(node.name)
    return used - known


@pytest.fixture
def engines(terminal, root):
    """A terminal with the engines of this repository, and a folder of samples."""
    from psengine_host.samples import write_samples

    for plugin in sorted((root / "plugins").iterdir()):
        terminal.install(plugin)
    write_samples(terminal.folder / "samples")
    return terminal


def test_python_compiles_and_runs_where_it_is_complete(python_block, engines):
    tree = ast.parse(python_block.text, python_block.where)
    compile(tree, python_block.where, "exec", dont_inherit=True)
    if not python_block.runs or python_block.file or unknown_names(tree):
        return
    (engines.folder / "block.py").write_text(python_block.text)
    code, output = engines.shell("python block.py")
    assert code == 0, f"{python_block.where}\n{output}"


def test_toml_and_json_parse(page):
    parse = {"toml": tomllib.loads, "json": json.loads}
    for block in page.blocks:
        if block.language in parse:
            try:
                parse[block.language](block.text)
            except ValueError as error:
                raise AssertionError(f"{block.where}: {error}") from error


def test_commands_print_what_the_page_shows(console_page, engines, run_page):
    run_page(console_page)


def test_every_command_in_a_console_block_is_under_a_prompt(page):
    for block in page.blocks:
        if block.language == "console":
            assert block.text.startswith("$ "), f"{block.where}: begin with '$ ' and a command"


def test_no_name_of_a_block_is_mistaken_for_known():
    assert unknown_names(ast.parse("import a.b\nfor x in a: print(x, y)")) == {"y"}
    assert unknown_names(ast.parse("def f(p):\n    return p + q")) == {"q"}


@pytest.mark.parametrize(
    ("shown", "got", "same"),
    [
        (["a  b"], "a      b  \n", True),
        (["a b"], "a  b\n", False),
        (["took … s"], "took 0.1 s\n", True),
        (["…", "end"], "one\ntwo\nend\n", True),
        (["…", "end"], "end\n", True),
        (["end"], "one\nend\n", False),
        (["a", "…"], "a\nb\nc\n", True),
        (["a"], "a\nb\n", False),
        ([], "", True),
        ([], "a\n", False),
        (["a.c"], "abc\n", False),
    ],
)
def test_output_is_compared_by_the_rules(shown, got, same, matches):
    assert matches(shown, got) is same


def test_a_changed_module_keeps_what_is_not_named(change):
    before = "import a\n\nX = 1\n\n\n# why\ndef f():\n    return 1\n\n\ndef g():\n    return 2\n"
    after = change(before, "from b import c\n\n\n@c\ndef f():\n    return 3\n\n\nY = 4\n")
    assert after == (
        "import a\nfrom b import c\n\nX = 1\n\n\n@c\ndef f():\n    return 3\n\n\ndef g():\n    return 2\n\n\nY = 4\n"
    )
