"""What can be run on this project: ``nox -l`` lists it, ``nox -s NAME`` runs it.

Arguments after ``--`` go to the tool: ``nox -s tests -- -k bounty``.
"""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["tests", "lint", "types", "docs"]
nox.options.reuse_existing_virtualenvs = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
PLUGINS = sorted(str(path.parent) for path in Path("plugins").glob("*/pyproject.toml"))
ANCESTOR = "polyswarm_engine==3.2.5"
POOL = "pebble==5.2.3"


def _group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def _install_everything(session: nox.Session, *groups: str) -> None:
    """Install the host and all plugins, editable, and what the groups name, in one resolution."""
    editable = [argument for place in [".", *PLUGINS] for argument in ("-e", place)]
    session.install("-q", *editable, *(requirement for group in groups for requirement in _group(group)))


def _pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest; with PSENGINE_NO_SKIPS set, a skipped test is a failure."""
    report = Path(session.virtualenv.location) / "report.xml"  # not create_tmp(), which moves TMPDIR for the tests too
    session.run("pytest", f"--junitxml={report}", *arguments)
    if not os.environ.get("PSENGINE_NO_SKIPS"):
        return
    skipped = [
        f"{case.get('classname')}.{case.get('name')}: {reason.get('message')}"
        for case in ET.parse(report).iter("testcase")
        for reason in case.iter("skipped")
    ]
    if skipped:
        session.error("\n".join(["tests were skipped, and none may be here:", *skipped]))


@nox.session
def tests(session: nox.Session) -> None:
    """Test the host and all plugins, side by side on all cores."""
    _install_everything(session, "test")
    default = ("-q", "-n", "auto", "--dist", "worksteal", "--ignore=tests/docs", "--ignore=tests/benchmarks")
    _pytest(session, *(session.posargs or default))


@nox.session
def docs(session: nox.Session) -> None:
    """Test the documentation: links, examples, and that nothing lacks its page."""
    _install_everything(session, "test")
    _pytest(session, "-q", "-n", "auto", "tests/docs", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("-q", *_group("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    _install_everything(session, "types")
    session.install("-q", "nox")
    session.run("mypy", *session.posargs)


@nox.session
@nox.parametrize("plugin", PLUGINS)
def plugins(session: nox.Session, plugin: str) -> None:
    """Test each plugin as its users get it: built, and installed with nothing but the host."""
    session.install("-q", ".", plugin, *_group("test"))
    session.run("psengine", "list-engines", "--info", "--format", "json")
    session.run("pytest", "-q", "-o", "testpaths=", f"{plugin}/tests", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed and memory, beside the ancestor in the same run."""
    _install_everything(session, "test")
    session.install("-q", ANCESTOR, POOL, "requests")  # none is a dependency: they are what it is measured beside
    alone = ("-p", "no:xdist", "--timeout=0")  # nothing beside it, and as long as it takes
    session.run("pytest", "-q", "-s", *alone, "-m", "benchmark", "tests/benchmarks", *session.posargs)
