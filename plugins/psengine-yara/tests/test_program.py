"""The engine's own program."""

import subprocess
import sys

PROGRAM = "import sys; from psengine_yara.program import main; main()"


def run(*arguments):
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60)


def test_it_analyzes_without_being_told_the_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("YARA_STATE_HOME", str(tmp_path))
    (tmp_path / "harmless.txt").write_text("nothing to see\n")
    done = run("analyze", "-v", str(tmp_path / "harmless.txt"))
    assert done.returncode == 0
    assert '"engine":"yara"' in done.stdout
    assert "Analysis: {" in done.stderr


def test_its_commands_need_no_name(tmp_path, monkeypatch):
    monkeypatch.setenv("YARA_STATE_HOME", str(tmp_path))
    done = run("commands", "rules", "--help")
    assert done.returncode == 0, done.stderr
    assert "commands rules" in done.stdout
