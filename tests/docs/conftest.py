"""The pages as tests see them: their headings, links and code blocks, and a terminal to run their commands in."""

import ast
import dataclasses
import os
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial" / "write-an-engine.md"

_FENCE = re.compile(r"(?P<indent> *)(?P<marks>`{3,}|~{3,})(?P<language>[\w+-]*)[^`]*\Z")
_NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
_FILE = re.compile(r"`(?P<name>[\w./-]+\.(?:py|toml|txt|json|yar))`:\Z")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    ``lead`` is the last line of text before it, ``number`` the line it begins in.
    """

    page: str
    number: int
    language: str
    text: str
    lead: str

    @property
    def where(self):
        return f"{self.page}:{self.number}"

    @property
    def runs(self):
        return not _NOT_RUN.fullmatch(self.lead)

    @property
    def file(self):
        """The file that the block is, where the line before it ends in its name and a colon."""
        match = _FILE.search(self.lead)
        return match["name"] if match else None

    @property
    def changes(self):
        """Whether the block only changes that file."""
        return self.lead.startswith("Change ") or " change " in self.lead


@dataclasses.dataclass(frozen=True)
class Page:
    """A page: its blocks, and its text without them."""

    path: Path
    blocks: tuple[Block, ...]
    prose: str

    @property
    def name(self):
        return self.path.relative_to(ROOT).as_posix()

    @property
    def headings(self):
        return [match[1].strip() for match in re.finditer(r"^#{1,6}\s+(.+?)\s*#*$", self.prose, re.MULTILINE)]

    @property
    def anchors(self):
        """The anchors of the headings, by GitHub's rule, and those set by hand."""
        seen: dict[str, int] = {}
        anchors = set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", self.prose))
        for heading in self.headings:
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            count = seen.get(slug, 0)
            seen[slug] = count + 1
            anchors.add(f"{slug}-{count}" if count else slug)
        return anchors

    @property
    def links(self):
        text = re.sub(r"(`+)(?:(?!\1).)+?\1", "", self.prose)
        found = re.findall(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", text)
        return found + re.findall(r"^\[[^\]]+\]:\s*<?([^\s>]+)>?", text, re.MULTILINE)

    @property
    def code_words(self):
        """What stands in backquotes."""
        return [match[2].strip() for match in re.finditer(r"(`+)((?:(?!\1).)+?)\1", self.prose)]


def read_page(path):
    """Take a page apart."""
    name = path.relative_to(ROOT).as_posix()
    blocks, prose, lead = [], [], ""
    lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            prose.append(line)
            lead = line.strip() or lead
            continue
        body = []
        for _, inner in lines:
            if inner.strip() == fence["marks"]:
                break
            body.append(inner)
        else:
            raise AssertionError(f"{name}:{number}: the block that begins here has no end")
        text = "\n".join(body) + "\n"
        blocks.append(Block(name, number, fence["language"], dedent(text) if fence["indent"] else text, lead))
        prose.append("")
        lead = ""
    return Page(path, tuple(blocks), "\n".join(prose))


def all_pages():
    paths = [ROOT / "README.md", *DOCS.rglob("*.md"), *ROOT.glob("plugins/*/README.md")]
    return [read_page(path) for path in sorted(paths)]


def pytest_generate_tests(metafunc):
    pages = all_pages()
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages, ids=[page.name for page in pages])
    if "console_page" in metafunc.fixturenames:
        chosen = [page for page in pages if page.path != TUTORIAL and commands_of(page)]
        metafunc.parametrize("console_page", chosen, ids=[page.name for page in chosen])
    if "python_block" in metafunc.fixturenames:
        blocks = [block for page in pages for block in page.blocks if block.language == "python"]
        metafunc.parametrize("python_block", blocks, ids=[block.where for block in blocks])


@pytest.fixture
def pages():
    """All pages, by path from the root."""
    return {page.name: page for page in all_pages()}


@pytest.fixture
def tutorial():
    """The page of the tutorial."""
    return read_page(TUTORIAL)


@pytest.fixture
def make_page(tmp_path, monkeypatch):
    """Makes a page of a text."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)

    def make(text):
        (tmp_path / "page.md").write_text(text)
        return read_page(tmp_path / "page.md")

    return make


@pytest.fixture
def root():
    """The root of the project."""
    return ROOT


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Command:
    """A line that begins with ``$``, its continuations, and the lines of output under it."""

    where: str
    line: str
    output: tuple[str, ...]


def commands_of(page):
    """The commands of a page's console blocks."""
    return [command for block in page.blocks if block.language == "console" and block.runs for command in split(block)]


def split(block):
    """The commands of one block."""
    commands, line, output = [], None, []
    for text in block.text.rstrip("\n").split("\n"):
        if text.startswith("$ "):
            if line is not None:
                commands.append(Command(block.where, line, tuple(output)))
            line, output = text[2:], []
        elif line is not None and line.endswith("\\") and not output:
            line = f"{line[:-1]}{text.removeprefix('> ').strip()}"
        elif line is not None:
            output.append(text)
    if line is not None:
        commands.append(Command(block.where, line, tuple(output)))
    return commands


def like(shown, got):
    """Whether a page's output is what a command printed.

    ``…`` in a line stands for any text, alone in a line for any number of lines. Two spaces or more stand for two or
    more, since the columns of a table are as wide as the terminal, and spaces at the end of a line do not count.
    """
    pattern = "".join(r"(?:.*\n)*" if line.strip() == "…" else f"{_pattern_of(line)}[ \\t]*\\n" for line in shown)
    return re.fullmatch(pattern, got if got.endswith("\n") or not got else f"{got}\n") is not None


def _pattern_of(line):
    parts = re.split(r"(…| {2,})", line.rstrip())
    return "".join(".*" if part == "…" else " {2,}" if part.startswith("  ") else re.escape(part) for part in parts)


@pytest.fixture
def matches():
    """The comparison of a page's output with a command's."""
    return like


class Terminal:
    """A folder, a terminal of 120 columns, and ``psengine``, ``python``, ``pytest`` and ``pip`` as a reader has them.

    Whatever a command exports, and where it goes, holds for the next one, as in one shell. Nothing is installed but the
    host and the libraries of whoever runs the tests. ``pip install -e FOLDER`` writes the metadata that pip would, and
    needs no network; every other use of pip is not run.
    """

    RUN = re.compile(
        r"cat|cd|chmod|cp|echo|export|head|ls|mkdir|mv|pip|printf|psengine|pytest|python|rm|touch|truncate|unset"
    )

    def __init__(self, folder, runtime):
        self.site = folder / "site"
        self.bin = folder / "bin"
        self.folder = folder / "work"
        self._programs = folder / "programs"
        self._libraries = folder / "libraries"
        home = folder / "home"
        for place in (self.site, self.bin, self.folder, self._programs, self._libraries, home):
            place.mkdir()
        _link_libraries(self._libraries)
        self._path_file = folder / "path"
        self._state = folder / "state"
        self._where = folder / "where"
        self._code = 0
        inherited = [Path(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
        self._paths = [self.site, *inherited, ROOT, self._libraries]
        self._write_paths()
        self._program("psengine", "from psengine_host.__main__ import main\nmain()\n")
        self._program("python")
        self._program(
            "pytest", "import sys, pytest\nsys.exit(pytest.main(['-p', 'no:cacheprovider', *sys.argv[1:]]))\n"
        )
        self._environment = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(home),
            "TERM": "dumb",
            "COLUMNS": "120",
            "LINES": "40",
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TMPDIR": str(folder),
            "XDG_RUNTIME_DIR": runtime,
        }

    def install(self, folder):
        """Make what a folder with a ``pyproject.toml`` offers discoverable, as ``pip install -e`` does."""
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        info = self.site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(exist_ok=True)
        metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(metadata)
        lines = []
        for group, entries in project.get("entry-points", {}).items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, target in project.get("scripts", {}).items():
            module, function = target.split(":")
            self._program(name, f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
        if folder not in self._paths:
            self._paths.insert(1, folder)
            self._write_paths()

    def write(self, block):
        """Write, or change, the file that a block is."""
        path = self.current / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(merged(path.read_text(), block.text) if block.changes and path.exists() else block.text)

    @property
    def current(self):
        """The folder that the last command went to."""
        return Path(self._where.read_text().strip()) if self._where.exists() else self.folder

    def runnable(self, command):
        """Whether a command of a page is one that is run."""
        words = shlex.split(command.line, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words.pop(0)
        if not words or (words[0] == "pip" and words[1:3] != ["install", "-e"]):
            return False
        return self.RUN.fullmatch(words[0]) is not None or (self.bin / words[0]).is_file()

    def run(self, command):
        """Run one command; what it wrote to the terminal."""
        words = shlex.split(command.line, comments=True)
        if words[0] == "pip":
            self.install((self.current / words[3]).resolve())
            return None
        self._code, output = self.shell(command.line)
        return output

    def shell(self, line):
        """Run a line of shell, as a reader would after what has been run; its exit code and what it wrote."""
        script = (
            f"cd {shlex.quote(str(self.current))}\n[ -f {self._state} ] && . {self._state}\n"
            f"(exit {self._code})\n{line}\ncode=$?\n"
            f"declare -px > {self._state}\npwd > {self._where}\nexit $code\n"
        )
        return _in_a_terminal(script, self._environment)

    def _write_paths(self):
        self._path_file.write_text(os.pathsep.join(map(str, self._paths)))

    def _program(self, name, source=None):
        """A program as an installation makes it, that finds what is installed here and nothing else."""
        script = ""
        if source is not None:
            script = shlex.quote(str(self._programs / name))
            (self._programs / name).write_text(source)
        # The reader's own PYTHONPATH goes before. -S: nothing of the site-packages of whoever runs the tests.
        path = self.bin / name
        found = f"$(cat {shlex.quote(str(self._path_file))})"
        path.write_text(
            f'#!/bin/bash\nexport PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}{found}"\n'
            f'exec {shlex.quote(sys.executable)} -S {script} "$@"\n'
        )
        path.chmod(0o755)


def _link_libraries(folder):
    """Link what is installed into a folder, but for engines, observers and wrappers, and what acts at start-up."""
    for place in map(Path, sys.path):
        if place.name not in ("site-packages", "dist-packages") or not place.is_dir():
            continue
        for entry in place.iterdir():
            offers = entry / "entry_points.txt"
            ours = offers.is_file() and re.search(
                r"^\[psengine\.(engines|observers|wrappers)\]", offers.read_text(), re.MULTILINE
            )
            if not ours and entry.suffix != ".pth" and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)


def _in_a_terminal(script, environment):
    """Run a script of bash with a terminal as its three streams."""
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    child = subprocess.Popen(
        ["bash", "--norc", "-c", script],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 1 << 16)
        except OSError:  # EIO: the last process with the other end is gone
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    text = b"".join(parts).decode().replace("\r\n", "\n")
    return child.wait(timeout=60), re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def merged(old, new):
    """A module changed by another: imports are added, names that are there are replaced, the rest goes to the end."""
    lines = new.rstrip("\n").split("\n")
    for node in ast.parse(new).body:
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        while first > 1 and lines[first - 2].startswith("#"):
            first -= 1
        text = "\n".join(lines[first - 1 : node.end_lineno])
        tree = ast.parse(old)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            old = _with_import(old, tree, node, text)
            continue
        names = _names(node)
        there = [other for other in tree.body if names and _names(other) == names]
        before = old.rstrip("\n").split("\n")
        if there:
            start = min([there[0].lineno, *(d.lineno for d in getattr(there[0], "decorator_list", []))])
            while start > 1 and before[start - 2].startswith("#"):
                start -= 1
            before[start - 1 : there[0].end_lineno] = text.split("\n")
        else:
            before += ["", "", *text.split("\n")]
        old = "\n".join(before) + "\n"
    return old


def _with_import(old, tree, node, text):
    lines = old.rstrip("\n").split("\n")
    imports = [other for other in tree.body if isinstance(other, (ast.Import, ast.ImportFrom))]
    for other in imports:
        if isinstance(node, ast.ImportFrom) and isinstance(other, ast.ImportFrom) and node.module == other.module:
            lines[other.lineno - 1 : other.end_lineno] = text.split("\n")
            return "\n".join(lines) + "\n"
    at = imports[-1].end_lineno if imports else 0
    lines[at:at] = text.split("\n")
    return "\n".join(lines) + "\n"


def _names(node):
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return (node.name,)
    if isinstance(node, ast.Assign):
        return tuple(target.id for target in node.targets if isinstance(target, ast.Name))
    return ()


@pytest.fixture
def change():
    """The change of a module by a block."""
    return merged


@pytest.fixture
def terminal(tmp_path):
    """An empty :class:`Terminal`."""
    # The path of a Unix socket may have about 100 bytes, and those of pytest are long.
    with tempfile.TemporaryDirectory(prefix="psengine-docs-") as runtime:
        yield Terminal(tmp_path, runtime)


@pytest.fixture
def run_page(terminal, matches):
    """Runs a page's commands in order, its files written before them; complains of output that is not the page's."""

    def run(page):
        ran = 0
        for block in page.blocks:
            if not block.runs:
                continue
            if block.file:
                terminal.write(block)
            if block.language != "console":
                continue
            for command in split(block):
                if not terminal.runnable(command):
                    continue
                got = terminal.run(command)
                ran += 1
                if got is not None and not matches(command.output, got):
                    shown = "\n".join(command.output)
                    raise AssertionError(f"{command.where}: $ {command.line}\nthe page shows:\n{shown}\n\ngot:\n{got}")
        return ran

    return run
