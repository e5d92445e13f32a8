"""``list-engines``, ``info``, ``commands``, ``debug``, ``update``, ``create-bounty``, ``categories``, ``samples``."""

import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta

import platformdirs
import pytest

from psengine_host.environment import VARIABLES
from psengine_host.samples import eicar

RICH = """
    import ctypes, pathlib, sys
    from typing import Literal
    from psengine_host import Analysis, ArtifactType, EngineInfo, EngineError, hookimpl

    libc = ctypes.CDLL(None)
    print("a print at import")
    libc.printf(b"a C print at import\\n")

    @hookimpl
    def setup():
        print("a print in setup")
        yield {"rules": 2}
        pathlib.Path("torn-down").touch()

    @hookimpl
    def info():
        return EngineInfo(product="Rich", vendor="Tests", engine_version="1.2", signatures_version="77",
                          artifact_types=frozenset(ArtifactType), max_artifact_size=1000)

    @hookimpl
    def analyze(artifact):
        value = len(artifact.read_bytes())
        if value == 4:
            raise EngineError("four bytes are too much")
        return Analysis.malicious("Test") if value > 4 else Analysis.benign()

    @hookimpl
    def update(context):
        if context.config.get("offline"):
            raise EngineError("the signatures' server does not answer")
        pathlib.Path("updated").touch()

    @hookimpl
    def commands(context):
        def scan_file(path: pathlib.Path, *, depth: int = 1, mode: Literal["fast", "full"] = "fast") -> dict:
            '''Scan one file.'''
            libc.fflush(None)
            print("an output of the function")
            return {"path": str(path), "depth": depth, "mode": mode, "rules": context.shared["rules"]}

        def fail() -> None:
            '''Raise.'''
            raise OSError("the scanner is gone")

        def stop(code: int) -> int:
            import click
            if code:
                click.get_current_context().exit(code)
            return 7

        return [scan_file, fail, stop]
"""


@pytest.fixture
def rich(engine_site) -> str:
    engine_site.add("rich", RICH, version="3.4")
    return "rich"


class TestListEngines:
    def test_nothing_is_imported_to_list(self, psengine, engine_site):
        engine_site.add("deadly", "import os; os._exit(77)")
        engine_site.add("mild")
        ended = psengine("list-engines")
        assert (ended.code, ended.err) == (0, "")
        assert json.loads(ended.out) == [
            {
                "name": name,
                "distribution": f"psengine-test-{name}",
                "version": "1.0",
                "status": "found",
                "reason": None,
                "artifact_types": None,
            }
            for name in ("deadly", "mild")
        ]

    def test_with_info_each_is_loaded_and_says_what_it_is_or_why_not(self, psengine, engine_site, rich):
        engine_site.add("broken", "raise SystemExit(4)")
        engine_site.add(
            "ill",
            """
            from psengine_host import Analysis, EngineError, hookimpl
            @hookimpl
            def open_session():
                raise EngineError("no licence")
            @hookimpl
            def analyze():
                return Analysis.benign()
            """,
        )
        ended = psengine("list-engines", "--info", "--format", "JSON")
        assert ended.code == 0
        broken, ill, good = json.loads(ended.out)
        assert (broken["status"], broken["reason"]) == ("broken", "called sys.exit(4) when it was imported")
        assert (ill["status"], ill["reason"]) == ("unavailable", "engine ill: open_session: no licence")
        assert good == {
            "name": "rich",
            "distribution": "psengine-test-rich",
            "version": "3.4",
            "status": "ok",
            "reason": None,
            "artifact_types": ["file", "url"],
            "product": "Rich",
            "vendor": "Tests",
            "engine_version": "1.2",
            "signatures_version": "77",
            "max_artifact_size": 1000,
        }
        assert "a print at import" in ended.err

    def test_two_distributions_with_one_name_are_broken_and_both_named(self, psengine, engine_site):
        engine_site.add("twin", distribution="psengine-one")
        engine_site.add("twin", distribution="psengine-two", version="2.0")
        (twin,) = json.loads(psengine("list-engines").out)
        assert twin["status"] == "broken"
        assert twin["reason"] == (
            "two distributions register the name 'twin': psengine-one 1.0 and psengine-two 2.0; uninstall one"
        )

    def test_the_settings_choose(self, psengine, engine_site, rich):
        engine_site.add("mild")
        names = [one["name"] for one in json.loads(psengine("list-engines").out)]
        assert names == ["mild", "rich"]
        ended = psengine("list-engines", env={"PSENGINE_DISABLED_ENGINES": "rich"})
        assert [one["name"] for one in json.loads(ended.out)] == ["mild"]
        assert json.loads(psengine("list-engines", env={"PSENGINE_ENGINES": "other"}).out) == []


class TestInfo:
    def test_versions_what_it_takes_hooks_and_directories(self, psengine, rich, work):
        ended = psengine("info", "rich", "--format", "json")
        assert ended.code == 0
        info = json.loads(ended.out)
        assert info["status"] == "ok"
        assert info["signatures_version"] == "77"
        assert info["hooks"] == ["setup", "analyze", "info", "update", "commands"]
        state_home = info["environment"]["RICH_STATE_HOME"]
        assert state_home.pop("path").endswith("/psengine/engines/rich")
        assert state_home == {"origin": "default", "exists": False, "problems": []}
        assert list(info["environment"]) == [f"RICH_{name}" for name in VARIABLES]
        assert (work / "torn-down").exists()

    def test_as_text(self, psengine, rich):
        ended = psengine("info", "rich", env={"RICH_SCANNER": "/opt/x\x1b[2J", "RICH_SDK_HOME": "/"})
        assert ended.out.startswith("Name: rich\nDistribution: psengine-test-rich\nVersion: 3.4\nStatus: ok\n")
        assert "\nArtifact types: file, url\n" in ended.out
        assert "\n  RICH_SCANNER=/opt/x\\x1b[2J (set): does not exist\n  RICH_UPDATER (unset)\n" in ended.out
        assert "\n  RICH_SDK_HOME=/ (set)\n" in ended.out
        assert re.search(r"\n  RICH_STATE_HOME=/.+/rich \(default, not made yet\)\n", ended.out)

    def test_a_directory_that_is_not_fit_is_shown_with_what_is_wrong(self, psengine, rich, work):
        (work / "run").mkdir()
        (work / "run").chmod(0o755)
        (work / "secrets").mkdir()
        (work / "secrets").chmod(0o701)
        unfit = {"RICH_RUNTIME_DIR": "run", "RICH_SECRETS_HOME": "secrets", "RICH_PATH": "a\nb", "RICH_SCANNER": "scan"}
        ended = psengine("info", "rich", env=unfit)
        assert ended.code == 0
        assert ("\n  RICH_PATH (set): 'a\\nb' is no path: it has a line end or a NUL in it\n") in ended.out
        assert (
            f"\n  RICH_RUNTIME_DIR={work}/run (set): is open to others (mode 0755); close it: chmod 700 {work}/run\n"
        ) in ended.out
        environment = json.loads(psengine("info", "rich", "--format", "json", env=unfit).out)["environment"]
        assert environment["RICH_SECRETS_HOME"] == {
            "path": f"{work}/secrets",
            "origin": "set",
            "exists": True,
            "problems": [f"is open to all users (mode 0701); close it: chmod 700 {work}/secrets"],
        }
        assert environment["RICH_SCANNER"]["path"] is None
        assert environment["RICH_UPDATER"] == {"path": None, "origin": "unset", "exists": False, "problems": []}

    def test_one_that_the_engine_needs_is_named_where_it_cannot_start(self, psengine, engine_site, work):
        engine_site.add(
            "needy",
            """
                from psengine_host import Analysis, hookimpl

                @hookimpl
                def setup(context):
                    return {"run": str(context.environment.runtime_dir)}

                @hookimpl
                def analyze(artifact):
                    return Analysis.benign()
            """,
        )
        (work / "run").mkdir()
        (work / "run").chmod(0o755)
        ended = psengine("info", "needy", env={"NEEDY_RUNTIME_DIR": "run"})
        assert ended == (
            3,
            "",
            (
                f"psengine: engine needy: setup: NEEDY_RUNTIME_DIR: {work}/run is open to others (mode 0755); "
                f"close it: chmod 700 {work}/run\n"
            ),
        )

    def test_a_stand_in_for_the_runtime_directory_is_warned_of_once(self, within, engine_site, work, monkeypatch):
        engine_site.add(
            "needy",
            """
                from psengine_host import Analysis, hookimpl

                @hookimpl
                def setup(context):
                    assert context.environment.runtime_dir == context.environment.runtime_dir

                @hookimpl
                def open_session(context):
                    return context.environment.runtime_dir

                @hookimpl
                def analyze(artifact):
                    return Analysis.benign()
            """,
        )
        stand_in = work / f"runtime-{os.geteuid()}"
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.setattr(platformdirs, "user_runtime_dir", lambda name: str(stand_in / name))
        ended = within("info", "needy")
        assert ended.code == 0
        assert ended.err.count("stands in for a better folder") == 1
        assert f"NEEDY_RUNTIME_DIR: {stand_in}/psengine/engines/needy stands in for" in " ".join(ended.err.split())
        assert " (default): stands in for a better folder, since NEEDY_RUNTIME_DIR is not set" in ended.out

    def test_of_one_that_cannot_be_loaded(self, psengine, engine_site):
        engine_site.add("broken", "raise SystemExit(4)")
        assert psengine("info", "broken") == (
            3,
            "",
            (
                "psengine: engine broken (psengine-test-broken 1.0) cannot be used: "
                "called sys.exit(4) when it was imported\n"
            ),
        )
        assert psengine("info", "brken").usage_error == (
            "psengine: no engine is called 'brken'; did you mean 'broken'?; 'psengine list-engines' shows all"
        )


class TestCommands:
    def test_they_are_listed_with_their_help(self, psengine, rich):
        for arguments in (["commands", "rich"], ["commands", "rich", "--help"]):
            ended = psengine(*arguments)
            assert ended.code == 0
            assert f"{' '.join(arguments[:2])} [OPTIONS] COMMAND [ARGS]..." in ended.out
            assert "scan-file  Scan one file." in ended.out
            assert "a print" not in ended.out

    def test_one_is_run_and_only_its_own_output_is_output(self, psengine, rich, work):
        ended = psengine("commands", "rich", "scan-file", "x", "--depth", "3", "--mode", "full")
        first, _, rest = ended.out.partition("\n")
        assert first == "an output of the function"
        assert json.loads(rest) == {"path": "x", "depth": 3, "mode": "full", "rules": 2}
        assert {"a print at import", "a print in setup", "a C print at import"} <= {*ended.err.splitlines()}
        assert (ended.code, (work / "torn-down").exists()) == (0, True)

    def test_one_that_fails_is_one_line_and_exit_code_1(self, psengine, rich, work):
        ended = psengine("commands", "rich", "fail")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.splitlines()[-1] == "Error: fail: OSError: the scanner is gone"
        assert "Traceback" not in ended.err
        assert (work / "torn-down").exists()

    def test_one_may_end_with_an_exit_code_and_what_it_returns_is_none(self, psengine, rich):
        assert psengine("commands", "rich", "stop", "4").code == 4
        returned = psengine("commands", "rich", "stop", "0")
        assert (returned.code, returned.out) == (0, "7\n")

    def test_wrong_arguments_are_usage_errors(self, psengine, rich):
        assert "No such command 'scan'" in psengine("commands", "rich", "scan").usage_error
        assert (
            "'three' is not a valid integer"
            in psengine("commands", "rich", "scan-file", "x", "--depth", "three").usage_error
        )
        assert "Usage: " in psengine("commands", "rich", "scan-file", "--help").out

    def test_an_engine_without_any(self, psengine, judge):
        assert psengine("commands", "judge") == (0, "", "engine judge offers no commands\n")
        assert psengine("commands", "judge", "scan").usage_error == "psengine: engine judge offers no commands"

    def test_help_without_an_engine(self, psengine, rich):
        assert psengine("commands", "--help").out.splitlines()[0].endswith("commands NAME [COMMAND [ARGS]...]")
        assert psengine("commands").usage_error == "Error: Missing argument 'NAME'."


class TestDebug:
    def test_every_call_is_shown_and_the_row_is_output(self, psengine, rich, work):
        (work / "a").write_text("12345")
        ended = psengine("debug", "rich", "a")
        assert (ended.code, ended.row["analysis"]["verdict"]) == (1, "malicious")
        for hook in ("setup", "info", "analyze"):
            assert f"hook rich: {hook}(" in ended.err
        assert "a".center(80, "-") in ended.err

    def test_what_the_engine_raises_has_its_traceback(self, psengine, rich):
        ended = psengine("debug", "rich", "-", stdin=b"1234")
        assert (ended.code, ended.row["artifact"]) == (3, "-")
        assert 'raise EngineError("four bytes are too much")' in ended.err
        assert ended.row["error"] == {"kind": "engine", "message": "four bytes are too much"}

    def test_an_engine_that_cannot_start_has_its_traceback_too(self, psengine, engine_site):
        engine_site.add("broken", "import nothing_like_that")
        ended = psengine("debug", "broken", "data:,x")
        assert (ended.code, ended.out) == (3, "")
        assert "ModuleNotFoundError: No module named 'nothing_like_that'" in ended.err
        assert ended.err.splitlines()[-1].startswith(
            "psengine: engine broken (psengine-test-broken 1.0) cannot be used"
        )

    def test_pdb_enters_where_the_engine_raised(self, psengine, rich):
        ended = psengine("debug", "rich", "--pdb", "data:,1234", stdin=b"p 'value is', value\nq\n")
        assert ended.code == 3
        assert "(Pdb) ('value is', 4)" in ended.out

    @pytest.mark.parametrize(
        ("artifact", "message"),
        [
            ("gone", "gone: no such file"),
            (".", ".: is a folder, not a file"),
            ("data:x", "artifact_uri: is no data: URI"),
        ],
    )
    def test_an_artifact_that_cannot_be_had(self, psengine, rich, artifact, message):
        ended = psengine("debug", "rich", artifact)
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.splitlines()[-1].startswith(f"psengine: {message}")

    def test_urls(self, psengine, rich):
        assert psengine("debug", "rich", "-t", "URL", "http://x.test/").row["bounty"]["artifact_type"] == "url"


class TestUpdate:
    def test_all_or_the_named_are_updated(self, psengine, engine_site, rich, work):
        engine_site.add("mild")
        ended = psengine("update")
        assert (ended.code, ended.out) == (0, "mild: has no update hook\nrich: updated\n")
        assert (work / "updated").exists()
        assert psengine("update", "mild").out == "mild: has no update hook\n"
        assert psengine("update", "midl").usage_error.startswith("psengine: no engine is called 'midl'; did you mean")

    def test_a_failure_is_said_and_the_others_go_on(self, psengine, engine_site, rich, work):
        engine_site.add("a-broken", "raise SystemExit(4)")
        engine_site.add("zeta")
        (work / "offline.toml").write_text("[engines.rich]\noffline = true\n")
        ended = psengine("--config", "offline.toml", "update")
        assert (ended.code, ended.out) == (3, "zeta: has no update hook\n")
        assert "psengine: engine rich: update: the signatures' server does not answer\n" in ended.err
        assert "psengine: engine a-broken (psengine-test-a-broken 1.0) cannot be used: called sys.exit(4)" in ended.err


class TestCreateBounty:
    def test_of_a_file_that_analyze_takes(self, psengine, judge, work):
        (work / "bad").write_text("MALICIOUS")
        ended = psengine("create-bounty", "--expiration", "90", "--response-url", "http://x.test/y?nonce=1", "bad")
        assert (ended.code, ended.err) == (0, "")
        bounty = json.loads(ended.out)
        assert bounty["artifact_uri"] == (work / "bad").as_uri()
        assert (bounty["artifact_type"], bounty["mimetype"]) == ("file", "text/plain")
        assert (bounty["duration"], bounty["response_url"]) == (90, "http://x.test/y?nonce=1")
        left = datetime.fromisoformat(bounty["expiration"]) - datetime.now(UTC)
        assert timedelta(seconds=30) < left <= timedelta(seconds=90)
        (work / "b.json").write_text(ended.out)
        assert psengine("analyze", "-t", "bounty", "b.json").row["analysis"]["verdict"] == "malicious"

    def test_the_same_artifact_has_the_same_id_and_a_url_another(self, psengine):
        one = json.loads(psengine("create-bounty", "-", stdin=eicar()).out)
        assert one["id"] == 2783463150
        url = json.loads(psengine("create-bounty", "-t", "url", "http://x.test/").out)
        file = json.loads(psengine("create-bounty", "-", stdin=b"http://x.test/").out)
        assert url["sha256"] == file["sha256"]
        assert url["id"] != file["id"]
        assert (url["artifact_type"], url["artifact_uri"], url["mimetype"]) == (
            "url",
            "http://x.test/",
            "text/uri-list",
        )

    def test_a_long_stream_is_in_the_bounty_itself(self, psengine, judge, work):
        ended = psengine("create-bounty", "-", stdin=b"MALICIOUS" + bytes(2 << 20))
        (work / "b").write_text(ended.out)
        assert psengine("analyze", "-t", "bounty", "b").row["analysis"]["verdict"] == "malicious"

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["gone"], 3, "psengine: gone: no such file"),
            (["."], 3, "psengine: .: is a folder, not a file"),
            (["data:,x", "--response-url", "ftp://x/"], 2,
             "psengine: response_url: must be an http or https URL, got 'ftp://x/'"),
            (["-t", "url", "x"], 2, "psengine: artifact_uri: must be an http, https or data URI, got 'x'"),
            (["data:,x", "--expiration", "0"], 2,
             "Error: Invalid value for '--expiration': 0 is not in the range 1<=x<=315360000."),
        ],
    )  # fmt: skip
    def test_what_cannot_be(self, psengine, arguments, code, message):
        ended = psengine("create-bounty", *arguments)
        assert (ended.code, ended.out, ended.err.splitlines()[-1]) == (code, "", message)


def test_categories(psengine):
    categories = json.loads(psengine("categories", "--format", "Json").out)
    assert categories["android"] == ["application/vnd.android.package-archive"]
    text = psengine("categories").out
    assert "android\n  application/vnd.android.package-archive\n" in text
    assert all(f"{name}\n" in text for name in categories)


def test_samples_are_written_and_scanned(psengine, judge, work):
    ended = psengine("samples", "folder")
    assert ended.code == 0
    names = [line.split()[0] for line in ended.out.splitlines()]
    assert sorted(names) == sorted(path.name for path in (work / "folder").iterdir())
    scanned = psengine("analyze", "-r", "folder")
    assert scanned.code == 1
    assert scanned.verdicts["folder/eicar.com"] == "malicious"
    assert psengine("samples", "folder/eicar.com").code == 3


class TestProgramOfAnEngine:
    @pytest.fixture
    def program(self, psengine, engine_site, rich):
        engine_site.add("mild")
        source = (
            "from psengine_host.cli import engine_cli; import sys; sys.argv[0] = 'psengine-rich'; engine_cli('rich')()"
        )

        return lambda *arguments, **options: psengine(*arguments, command=[sys.executable, "-c", source], **options)

    def test_analyze_takes_its_engine_without_asking(self, program):
        ended = program("analyze", "-v", "data:,12345")
        assert (ended.code, ended.row["engine"], ended.row["analysis"]["verdict"]) == (1, "rich", "malicious")
        assert "Analysis: {" in ended.err

    @pytest.mark.parametrize("other", ["mild", "all"])
    def test_analyze_takes_no_other_engine(self, program, other):
        assert program("analyze", "-e", "rich", "data:,").row["engine"] == "rich"
        ended = program("analyze", "-e", other, "data:,")
        assert (ended.code, ended.out) == (2, "")
        assert ended.usage_error == "Error: this is the program of engine rich: use psengine for others"

    def test_other_commands_need_no_name(self, program, work):
        assert program("info").out.startswith("Name: rich\n")
        assert "scan-file" in program("commands").out
        assert "scan-file" in program("commands", "--help").out
        assert '"depth": 2' in program("commands", "scan-file", "x", "--depth", "2").out
        assert program("debug", "data:,").row["engine"] == "rich"
        assert program("update").out == "rich: updated\n"
        assert json.loads(program("create-bounty", "data:,x").out)["artifact_uri"] == "data:,x"

    def test_its_help_shows_no_name_and_no_commands_about_others(self, program):
        help_text = program("--help").out
        assert help_text.startswith("Usage: psengine-rich [OPTIONS] COMMAND [ARGS]...\n")
        assert "list-engines" not in help_text
        assert "NAME" not in program("info", "--help").out
        assert (
            program("update", "mild").usage_error
            == "Error: this is the program of engine rich: use psengine for others"
        )
