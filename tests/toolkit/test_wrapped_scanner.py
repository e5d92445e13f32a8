"""The engine of the how-to, as the page has it, around real scanners: a script here, a Windows program under Wine."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from psengine_host import FailureKind, Verdict
from psengine_host.samples import eicar
from psengine_host.testing import session

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/wrap-a-command-line-scanner.md"
SCANNERS = Path(__file__).parent / "scanners"
COMPILER = "x86_64-w64-mingw32-gcc"


def pages():
    """How the tests of the documentation take a page apart."""
    name = "psengine_docs_conftest"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests/docs/conftest.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def sources_of_the_page():
    """The engine as a reader has written it at first, and as it is changed for a licence and for Windows."""
    first, *changes = (block for block in pages().read_page(PAGE).blocks if block.file == "psengine_acme.py")
    assert [change.changes for change in changes] == [True, True]
    return [first.text, *(pages().merged(first.text, change.text) for change in changes)]


def engine_of_the_page(*, windows=False):
    """The module that a reader has written by the end of the page, or before anything in it is changed."""
    first, _, for_windows = sources_of_the_page()
    module = types.ModuleType("psengine_acme")
    exec(compile(for_windows if windows else first, str(PAGE), "exec"), vars(module))
    return module


@pytest.fixture
def script(tmp_path):
    """The scanner that is a script."""
    return Path(shutil.copy2(SCANNERS / "acmescan.py", tmp_path))


def running(scanner, *, windows=False, **options):
    return session(engine_of_the_page(windows=windows), environ={"ACME_SCANNER": str(scanner)}, **options)


def test_the_page_shows_the_scanner_that_is_tested():
    (shown,) = [block.text for block in pages().read_page(PAGE).blocks if block.file == "acmescan.py"]
    assert shown == (SCANNERS / "acmescan.py").read_text()


def test_both_scanners_are_the_same_program():
    sources = [(SCANNERS / name).read_text() for name in ("acmescan.py", "acmescan.c")]
    for what in (r"AcmeScan [\d.]+", r"\b2024\d{4}\b", r"EICAR-Test-File=[0-9a-f]+", "FOUND", "--update", "--version"):
        assert len({re.search(what, source)[0] for source in sources}) == 1


def test_the_engine_fits_on_a_page():
    assert len(sources_of_the_page()[0].splitlines()) < 66


class TestAScript:
    def test_it_is_judged_by_the_scanner(self, script):
        with running(script) as engine:
            found = engine.analyze(b"before " + eicar() + b" after")
            assert (found.verdict, found.malware_family) == (Verdict.MALICIOUS, "EICAR-Test-File")
            assert engine.analyze(b"harmless").verdict is Verdict.BENIGN

    def test_versions_come_from_the_scanner(self, script):
        with running(script) as engine:
            info = engine.info
            assert (info.product, info.vendor, info.engine_version, info.signatures_version) == (
                "AcmeScan",
                "Acme",
                "2.1",
                "20240102",
            )

    @pytest.mark.parametrize(
        "name", ["a b.com", "x: FOUND Else", "$(touch y)", "-rf", "größe", "€ “x”", "a\nb", "日本"]
    )
    def test_names_of_files_are_no_trouble(self, name, script, tmp_path):
        (tmp_path / name).write_bytes(eicar())
        with running(script) as engine:
            found = engine.analyze(tmp_path / name)
        assert found.verdict is Verdict.MALICIOUS
        # A name that the scanner's encoding lacks is not found again in its output.
        assert found.malware_family == (None if name == "日本" else "EICAR-Test-File")

    def test_update_replaces_old_signatures(self, script, tmp_path):
        state = tmp_path / "state_home"
        state.mkdir()
        (state / "signatures.txt").write_text("20230101\n")
        module = engine_of_the_page()
        with session(module, environ={"ACME_SCANNER": str(script)}, directory=tmp_path) as engine:
            assert engine.info.signatures_version == "20230101"
            assert engine.analyze(eicar()).verdict is Verdict.BENIGN
            module.update(engine.context)
            assert engine.analyze(eicar()).verdict is Verdict.MALICIOUS

    def test_trouble_is_a_fault_of_the_scanner(self, script, tmp_path):
        with session(engine_of_the_page(), environ={"ACME_SCANNER": str(script)}, directory=tmp_path) as engine:
            (tmp_path / "state_home/signatures.txt").unlink()
            outcome = engine.process(eicar())
        assert outcome.failure.kind is FailureKind.ENGINE
        assert "ended with exit code 2: ERROR: [Errno 2] No such file or directory" in outcome.failure.message
        assert outcome.analysis.verdict is Verdict.UNKNOWN

    def test_a_scanner_that_hangs_is_a_timeout(self, script):
        with session(engine_of_the_page(), environ={"ACME_SCANNER": str(script)}, timeout=1) as engine:
            script.write_text("#!/bin/sh\necho hanging >&2\nsleep 600\n")
            outcome = engine.process(eicar())
        assert outcome.failure.kind is FailureKind.TIMEOUT
        assert outcome.failure.message.endswith("that were left for the bounty and was ended: hanging")

    @pytest.mark.parametrize("source", [0, 1], ids=["as it is", "with a licence"])
    @pytest.mark.parametrize("named", ["in a folder", "one by one"])
    def test_a_file_that_is_called_as_an_option_is_judged_as_any_other(
        self, source, named, script, engine_site, tmp_path
    ):
        """Without paths from the root the scanner takes the name for an option, and ends with exit code 0."""
        engine_site.add("acme", sources_of_the_page()[source], distribution="psengine-acme")
        folder, secrets = tmp_path / "files", tmp_path / "secrets"
        secrets.mkdir(mode=0o700)
        (secrets / "licence.key").write_text("1234-5678")
        (secrets / "licence.key").chmod(0o600)
        (folder / "-rf").mkdir(parents=True)
        infected = {"--version", "--update", "-x", "-", "plain", "-rf/--version", "--database=x"}
        for name in infected:
            (folder / name).write_bytes(eicar())
            (folder / f"{name}.txt").write_bytes(b"harmless")
        names = ["-r", "."] if named == "in a folder" else ["--", *sorted(infected - {"-"}), "./-", "--version.txt"]
        done = subprocess.run(
            [sys.executable, "-m", "psengine_host", "analyze", "-e", "acme", "--format", "jsonl", *names],
            cwd=folder,
            env=engine_site.env(ACME_SCANNER=str(script), ACME_SECRETS_HOME=str(secrets)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 1, done.stderr.decode()
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        found = {os.path.normpath(row["artifact"]): row["analysis"] for row in rows}
        assert set(found) >= infected
        for name, analysis in found.items():
            expected = ("malicious", "EICAR-Test-File") if name in infected else ("benign", None)
            assert (analysis["verdict"], analysis.get("metadata", {}).get("malware_family") or None) == expected, name
        assert len(found) == (2 * len(infected) if named == "in a folder" else len(infected) + 1)


@pytest.mark.system("wine")
@pytest.mark.timeout(300)
class TestAWindowsProgram:
    @pytest.fixture
    def program(self, wine_prefix, tmp_path):
        """The scanner that is a Windows program, compiled as the page says, and a prefix of Wine to run it in."""
        if shutil.which(COMPILER) is None:
            pytest.skip(f"{COMPILER} is not installed (Debian: apt-get install gcc-mingw-w64-x86-64-posix)")
        (line,) = re.findall(rf"^\$ ({COMPILER} .*)$", PAGE.read_text(), re.MULTILINE)
        shutil.copy2(SCANNERS / "acmescan.c", tmp_path)
        subprocess.run(line.split(), cwd=tmp_path, check=True, timeout=60)
        return tmp_path / "acmescan.exe"

    def test_it_is_judged_by_the_scanner(self, program, tmp_path):
        with running(program, windows=True) as engine:
            assert (engine.info.engine_version, engine.info.signatures_version) == ("2.1", "20240102")
            found = engine.analyze(b"before " + eicar() + b" after")
            assert (found.verdict, found.malware_family) == (Verdict.MALICIOUS, "EICAR-Test-File")
            assert engine.analyze(b"harmless").verdict is Verdict.BENIGN
            (tmp_path / "a b: FOUND.com").write_bytes(eicar())
            assert engine.analyze(tmp_path / "a b: FOUND.com").malware_family == "EICAR-Test-File"

    def test_trouble_is_a_fault_of_the_scanner(self, program, tmp_path):
        module = engine_of_the_page(windows=True)
        with session(module, environ={"ACME_SCANNER": str(program)}, directory=tmp_path) as engine:
            (tmp_path / "state_home/signatures.txt").unlink()
            outcome = engine.process(eicar())
        assert outcome.failure.kind is FailureKind.ENGINE
        assert "ended with exit code 2: ERROR: " in outcome.failure.message
        assert "No such file or directory" in outcome.failure.message
