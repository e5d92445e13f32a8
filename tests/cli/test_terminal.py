"""What a person in front of a terminal sees of ``psengine analyze``."""

import json
import re
import signal

import pytest

BUSY = """
    import os, time
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def analyze(artifact, context):
        name = os.path.basename(artifact.name)
        time.sleep(0.12)
        if name.endswith("3"):
            context.logger.warning("looked twice at %s", artifact.name)
        if name.endswith("7"):
            print("an engine's print")
        return Analysis.malicious("Test.Family") if name.endswith("5") else Analysis.benign()
"""
"""An engine that takes its time, logs and prints."""


@pytest.fixture
def on_terminal(psengine, terminal):
    """Runs ``psengine`` on a terminal of its own."""

    def run(*arguments, columns=100, numbers=(), ready=None, stdout=None, **env):
        screen = terminal(columns)
        process = psengine.start(
            *arguments,
            stdin=screen.slave, stdout=stdout or screen.slave, stderr=screen.slave,
            env={"TERM": "xterm-256color", "NO_COLOR": "", "COLUMNS": "", "LINES": "", **env},
        )  # fmt: skip
        if ready is not None:
            psengine.interrupted(process, ready, *numbers)
        code = process.wait(60)
        screen.close()
        return code, screen

    return run


def test_a_short_run_is_a_coloured_table_and_a_summary_without_a_bar(on_terminal, judge, work):
    code, screen = on_terminal("analyze", "data:,MALICIOUS", "data:,SUSPICIOUS", "data:,x", "data:,ENCRYPTED", "gone")
    assert code == 1
    for style, verdict in (
        ("1;31", "malicious"),
        ("33", "suspicious"),
        ("32", "benign"),
        ("2", "unknown"),
        ("35", "error"),
    ):
        assert f"\x1b[{style}m{verdict}".encode() in screen.raw
    header, bad, doubt, good, encrypted, gone, summary, end = screen.screen
    assert header.split() == ["Verdict", "Engine", "Found", "Artifact"]
    assert bad.split() == ["malicious", "judge", "Test.Family", "data:,MALICIOUS"]
    assert doubt.split() == ["suspicious", "judge", "Test.Doubt", "data:,SUSPICIOUS"]
    assert good.split() == ["benign", "judge", "data:,x"]
    assert encrypted.split() == ["unknown", "judge", "SKIPPED:ENCRYPTED", "data:,ENCRYPTED"]
    assert gone.split() == ["error", "judge", "no", "such", "file", "gone"]
    assert bad.index("data:") == good.index("data:") == header.index("Artifact")
    counts, _, rates = summary.partition(" (")
    assert counts == "5 artifacts, 1 engine: 1 malicious, 1 suspicious, 1 benign, 2 unknown, 1 error"
    assert re.fullmatch(r"[\d,]+ files/s, [\d,.]+ MB/s\)", rates)
    assert end == ""
    assert "\x1b[?25l" not in screen.text


def test_a_long_run_has_a_bar_with_rate_and_time_left_that_leaves_no_trace(on_terminal, engine_site, work):
    engine_site.add("busy", BUSY)
    for number in range(20):
        (work / f"file{number:02}").touch()
    # In this process, since the rate is that of one at a time, and since the engine's own prints come through.
    code, screen = on_terminal("analyze", "--backend", "local", "-r", ".")
    assert code == 1
    bars = re.findall(r"━\s+(\d+)/(\d+)\s+(\d+(?:\.\d)?)/s\s+([\d:-]+)\s+(\S+)", screen.text)
    assert bars, screen.text
    assert max(int(done) for done, *_ in bars) >= 14, "it did not come back after the table was printed"
    assert {total for _, total, *_ in bars if total != "?"} == {"20"}
    assert all(0 < float(rate) < 9 for _, _, rate, _, _ in bars)
    assert any(re.fullmatch(r"00:0\d", left) for *_, left, _ in bars)
    assert any(current.startswith("./file") for *_, current in bars)
    lines = [line for line in screen.screen if line]
    table = [line for line in lines if line.startswith(("benign", "malicious"))]
    assert [line.split()[-1] for line in table] == [f"./file{number:02}" for number in range(20)]
    others = [line for line in lines if line not in table]
    (header,) = [line for line in others if line.startswith("Verdict")]
    assert header.split() == ["Verdict", "Engine", "Found", "Artifact"]
    assert sorted(re.sub(r"bounty \d+", "bounty N", line) for line in others[:-1] if line != header) == [
        "an engine's print",
        "an engine's print",
        "psengine: WARNING: looked twice at ./file03 [engine busy, bounty N]",
        "psengine: WARNING: looked twice at ./file13 [engine busy, bounty N]",
    ]
    assert others[-1].startswith("20 artifacts, 1 engine: 2 malicious, 0 suspicious, 18 benign, 0 unknown, 0 errors (")
    assert screen.text.count("\x1b[?25l") == screen.text.count("\x1b[?25h")


def test_the_bar_comes_also_while_a_single_artifact_takes_long(on_terminal, engine_site, work):
    engine_site.add("busy", BUSY.replace("0.12", "1.6"))
    _, screen = on_terminal("analyze", "data:,x")
    assert "0/1" in screen.text
    assert "data:,x" in screen.text.split("0/1")[1]


def test_a_terminal_that_cannot_erase_has_no_bar(on_terminal, engine_site):
    engine_site.add("busy", BUSY.replace("0.12", "1.6"))
    _, screen = on_terminal("analyze", "--backend", "local", "data:,x", TERM="dumb")
    header, row, summary, end = screen.raw.decode().split("\r\n")
    assert header.split() == ["Verdict", "Engine", "Found", "Artifact"]
    assert row.split() == ["benign", "busy", "data:,x"]
    assert (summary[:20], end) == ("1 artifact, 1 engine", "")


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_no_line_is_wider_than_the_terminal_but_the_summary(on_terminal, judge, work, columns):
    deep = "/".join(["deep"] * 12)
    (work / deep).mkdir(parents=True)
    (work / deep / "bad").write_text("MALICIOUS")
    _, screen = on_terminal("analyze", f"{deep}/bad", columns=columns)
    header, *table, summary, _ = screen.screen
    assert all(len(line) <= columns for line in [header, *table])
    start = header.index("Artifact")
    assert "".join(line[start:].strip() for line in table) == f"{deep}/bad"
    assert table[0].split()[:2] == ["malicious", "judge"]
    assert summary.startswith("1 artifact, 1 engine: 1 malicious")


def test_without_colours_where_nobody_wants_them(on_terminal, judge):
    _, screen = on_terminal("analyze", "data:,MALICIOUS", NO_COLOR="1")
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", screen.raw)


def test_ctrl_c_shows_what_was_done_and_leaves_the_terminal_as_it_was(on_terminal, engine_site, work):
    engine_site.add(
        "halting",
        """
        import pathlib, time
        from psengine_host import Analysis, hookimpl
        @hookimpl
        def analyze(artifact):
            if artifact.name == "b":
                time.sleep(1.4)
                pathlib.Path("ready").touch()
                time.sleep(60)
            return Analysis.benign()
        """,
    )
    for name in "ab":
        (work / name).touch()
    # In this process, which the interrupt reaches in the middle of the engine.
    code, screen = on_terminal("analyze", "--backend", "local", "a", "b", ready=work / "ready", numbers=[signal.SIGINT])
    assert code == 130
    assert "1/2" in screen.text
    lines = [line for line in screen.screen if line]
    assert lines[1].split() == ["benign", "halting", "a"]
    assert lines[-2].startswith("1 artifact, 1 engine: 0 malicious, 0 suspicious, 1 benign")
    assert lines[-1] == "interrupted"
    assert len(lines) == 4
    assert screen.text.rindex("\x1b[?25h") > screen.text.rindex("\x1b[?25l")


def test_engines_are_listed_as_a_table(on_terminal, engine_site):
    engine_site.add("mild")
    engine_site.add("ill", "raise SystemExit(1)")
    _, screen = on_terminal("list-engines")
    assert [line.split() for line in screen.screen if line] == [
        ["Name", "Distribution", "Version", "Status", "Artifact", "types"],
        ["ill", "psengine-test-ill", "1.0", "found", "-"],
        ["mild", "psengine-test-mild", "1.0", "found", "-"],
    ]
    _, screen = on_terminal("list-engines", "--info", columns=160)
    assert "called sys.exit(1) when it was imported" in screen.text
    _, screen = on_terminal("list-engines", PSENGINE_ENGINES="nothing")
    assert "no engine to list" in screen.text


def test_json_on_a_terminal_has_no_bar_in_between(on_terminal, engine_site, work):
    engine_site.add(
        "slow",
        """
        import time
        from psengine_host import Analysis, hookimpl

        @hookimpl
        def analyze():
            time.sleep(0.7)
            return Analysis.benign()
        """,
    )
    for name in "abc":
        (work / name).touch()
    code, screen = on_terminal("analyze", "--format", "jsonl", "a", "b", "c")
    assert code == 0
    assert [json.loads(line)["artifact"] for line in screen.text.splitlines() if line] == ["a", "b", "c"]


def test_the_bar_counts_only_what_is_left_to_do_and_rows_of_others_count_for_nothing(
    on_terminal, psengine, engine_site, work
):
    engine_site.add("busy", BUSY)
    names = [f"n{number}" for number in range(30)]
    for name in [*names, "other"]:
        (work / name).touch()
    with open(work / "out", "wb") as out:
        psengine("analyze", "other", *names[:10], stdout=out)
    with open(work / "out", "ab") as out:
        _, screen = on_terminal("analyze", *names, "--resume", "out", stdout=out)
    assert "/20 " in screen.text
    assert "/19 " not in screen.text
    assert "/30 " not in screen.text
