"""``psengine analyze``, as its users run it."""

import hashlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

RANGE = "must be more than 0 and at most 86400 seconds, got"
JUDGE_URLS = """
    from psengine_host import Analysis, ArtifactType, EngineInfo, hookimpl

    @hookimpl
    def analyze(artifact):
        return Analysis.malicious("Url.Bad") if "wicar" in (artifact.url or "") else Analysis.benign()

    @hookimpl
    def info():
        return EngineInfo(product="Judge", vendor="Tests", engine_version="7", signatures_version="8",
                          artifact_types=frozenset(ArtifactType))
"""

OFTEN_SLOW = """
    import os, pathlib, time
    from psengine_host import Analysis, hookimpl

    @hookimpl
    def setup(context):
        yield {}
        pathlib.Path("torn-down").touch()

    @hookimpl
    def analyze(artifact, context):
        context.scratch
        if "slow" in os.path.basename(artifact.name):
            pathlib.Path("ready").touch()
            time.sleep(60)
        return Analysis.benign()
"""
"""An engine that sleeps over some files, once it has said so by a file."""


def files(work: Path, **contents: str) -> None:
    for name, content in contents.items():
        (work / name).write_text(content)


class TestArtifacts:
    def test_a_file_gives_one_row_with_all_that_the_wire_has(self, psengine, judge, work):
        files(work, bad="MALICIOUS")
        ended = psengine("analyze", "bad")
        assert (ended.code, ended.err) == (1, "")
        row = ended.row
        assert (row["artifact"], row["engine"], row["error"]) == ("bad", "judge", None)
        assert row["bounty"]["artifact_uri"] == (work / "bad").as_uri()
        assert row["bounty"]["mimetype"] == "text/plain"
        assert row["analysis"]["verdict"] == "malicious"
        assert row["analysis"]["metadata"]["malware_family"] == "Test.Family"
        assert row["analysis"]["metadata"]["scanner"]["environment"]["operating_system"] == "Linux"
        assert 0 < row["seconds"] < 30

    def test_bids_are_exact_integers(self, psengine, judge, work):
        files(work, bad="MALICIOUS")
        out = psengine("analyze", "bad").out
        assert '"bid":999900000000000000,' in out
        assert '"min_allowed_bid":62500000000000000,"max_allowed_bid":999900000000000000}' in out

    def test_integers_beyond_64_bits_stay_exact(self, psengine, judge, work):
        bounty = {
            "id": 2**70 + 1,
            "artifact_uri": "data:,MALICIOUS",
            "artifact_type": "file",
            "expiration": "2099-01-01T00:00:00Z",
            "rules": {"min_allowed_bid": 1, "max_allowed_bid": 2**70 + 3},
        }
        (work / "b.json").write_text(json.dumps(bounty))
        row = psengine("analyze", "-t", "bounty", "b.json").row
        assert row["bounty"]["id"] == 2**70 + 1
        assert row["bounty"]["rules"]["max_allowed_bid"] == 2**70 + 3
        assert row["analysis"]["bid"] == 2**70 + 3

    def test_folders_in_order_with_include_and_exclude(self, psengine, judge, work):
        for name in ("tree/b.txt", "tree/a.exe", "tree/sub/c.exe", "tree/skip/d.exe", "outside.txt"):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text("SUSPICIOUS")
        ended = psengine("analyze", "-r", "--include", "*.exe", "--exclude", "skip", "tree", "outside.txt")
        assert ended.code == 0
        assert list(ended.verdicts) == ["tree/a.exe", "tree/sub/c.exe", "outside.txt"]
        assert set(ended.verdicts.values()) == {"suspicious"}
        assert ended.err == "not scanned: 2 excluded\n"

    def test_standard_input_and_a_fifo_are_read_as_streams(self, psengine, judge, work):
        os.mkfifo(work / "fifo")
        writer = threading.Thread(target=lambda: (work / "fifo").write_bytes(b"SUSPICIOUS" + bytes(3 << 20)))
        writer.start()
        ended = psengine("analyze", "--identify", "-", "fifo", stdin=b"MALICIOUS")
        writer.join(20)
        assert ended.code == 1
        assert ended.verdicts == {"-": "malicious", "fifo": "suspicious"}
        assert ended.rows[0]["bounty"]["artifact_uri"] == "data:text/plain;base64,TUFMSUNJT1VT"

    @pytest.mark.parametrize(
        ("uri", "verdict"),
        [("data:,MALICIOUS", "malicious"), ("DATA:text/plain;base64,TUFMSUNJT1VT", "malicious"), ("data:,", "benign")],
    )
    def test_data_uris(self, psengine, judge, uri, verdict):
        row = psengine("analyze", uri).row
        assert (row["artifact"], row["bounty"]["artifact_uri"]) == (uri, uri)
        assert row["analysis"]["verdict"] == verdict

    def test_the_content_of_http_urls_is_judged_where_the_settings_allow_the_address(self, psengine, judge, site):
        site.pages["/bad"] = (200, b"MALICIOUS")
        allowed = psengine(
            "analyze", f"{site.url}/bad", f"{site.url}/gone", env={"PSENGINE_NETWORK_ALLOW": "127.0.0.1"}
        )
        assert allowed.code == 1  # and not 3, although the other failed: malicious wins
        bad, gone = allowed.rows
        assert (bad["bounty"]["artifact_uri"], bad["analysis"]["verdict"]) == (f"{site.url}/bad", "malicious")
        assert (gone["bounty"], gone["error"]["kind"]) == (None, "fetch")
        assert gone["error"]["message"].startswith(f"{site.url}/gone: ")
        assert "404" in gone["error"]["message"]
        seen = len(site.requests)
        refused = psengine("analyze", f"{site.url}/bad")
        assert (refused.code, refused.row["error"]["kind"]) == (3, "fetch")
        assert refused.row["analysis"]["metadata"]["comments"][0] == "SKIPPED:CANNOT-FETCH"
        assert "127.0.0.1" in refused.row["error"]["message"]
        assert len(site.requests) == seen

    def test_urls_themselves_are_artifacts_with_t_url_in_any_case(self, psengine, engine_site):
        engine_site.add("urls", JUDGE_URLS)
        ended = psengine("analyze", "-t", "URL", "http://x.test/wicar", "http://x.test/good", "no url")
        assert ended.code == 1
        assert list(ended.verdicts.values()) == ["malicious", "benign", "unknown"]
        assert ended.rows[0]["bounty"]["artifact_type"] == "url"
        assert ended.rows[2]["error"] == {"kind": "fetch", "message": "no url: must be an http, https or data URI"}

    def test_an_engine_that_takes_no_urls_declines_them_which_is_no_error(self, psengine, judge):
        ended = psengine("analyze", "-t", "Url", "http://x.test/")
        assert (ended.code, ended.row["error"]) == (0, None)
        assert ended.row["analysis"]["metadata"]["comments"][0] == "SKIPPED:TYPE-UNSUPPORTED"

    @pytest.mark.parametrize(("separator", "end"), [(b"\n", b""), (b"\r\n", b"\r\n"), (b"\0", b"\0")])
    def test_files_from_a_list(self, psengine, judge, work, separator, end):
        files(work, a="MALICIOUS", b="fine", c="fine")
        (work / "list").write_bytes(separator.join([b"a", b"b"]) + end)
        assert psengine("analyze", "--files-from", "list", "c").verdicts == {
            "c": "benign", "a": "malicious", "b": "benign",
        }  # fmt: skip

    def test_files_from_standard_input(self, psengine, judge, work):
        files(work, **{"a b": "MALICIOUS"})
        assert psengine("analyze", "--files-from", "-", stdin=b"a b\0").verdicts == {"a b": "malicious"}
        (row,) = psengine("analyze", "--files-from", "-", "-", stdin=b"").rows
        assert row["error"]["message"] == "-: standard input is read only once, and it was already"

    def test_closed_standard_streams_are_no_obstacle(self, psengine, judge, work):
        files(work, bad="MALICIOUS")
        shell = ["/bin/sh", "-c", 'exec "$0" -m psengine_host analyze bad <&-', sys.executable]
        assert psengine(command=shell).verdicts == {"bad": "malicious"}
        shell[2] = 'exec "$0" -m psengine_host analyze bad >&- 2>&-'
        assert psengine(command=shell) == (1, "", "")


class TestEngines:
    def test_several_engines_judge_each_artifact(self, psengine, engine_site, judge, work):
        engine_site.add("mild")
        files(work, a="MALICIOUS", b="fine")
        rows = [("a", "judge", "malicious"), ("a", "mild", "benign"), ("b", "judge", "benign"), ("b", "mild", "benign")]
        for choice in (["-e", "judge", "-e", "mild"], ["-e", "ALL"], ["-e", "mild", "-e", "judge", "-e", "mild"]):
            ended = psengine("analyze", *choice, "a", "b")
            assert ended.code == 1
            found = [(row["artifact"], row["engine"], row["analysis"]["verdict"]) for row in ended.rows]
            assert sorted(found) == rows
            assert [row[1] for row in found[:2]] == (["mild", "judge"] if choice[1] == "mild" else ["judge", "mild"])

    def test_several_and_none_chosen_is_a_usage_error_that_names_them(self, psengine, engine_site, judge, work):
        engine_site.add("mild")
        files(work, a="")
        assert psengine("analyze", "a").usage_error == (
            "psengine: several engines are installed: choose with --engine judge or mild, or --engine all"
        )

    def test_none_installed_says_how_to_install_one(self, psengine, work):
        files(work, a="")
        env = {"PSENGINE_ENGINES": "", "PYTHONPATH": ""}
        isolated = [sys.executable, "-c", NO_ENGINES, "analyze", "a"]
        for choice in ([], ["-e", "all"]):
            assert psengine(*choice, command=isolated, env=env).usage_error == (
                "psengine: no engine is installed; install one, for example: pip install psengine-eicar"
            )

    def test_an_unknown_engine_is_answered_with_the_nearest(self, psengine, judge, work):
        files(work, a="")
        assert psengine("analyze", "-e", "juge", "a").usage_error == (
            "psengine: no engine is called 'juge'; did you mean 'judge'?; 'psengine list-engines' shows all"
        )

    def test_an_excluded_engine_is_said_to_be_excluded(self, psengine, judge, work):
        files(work, a="")
        ended = psengine("analyze", "-e", "judge", "a", env={"PSENGINE_DISABLED_ENGINES": "judge"})
        assert ended.usage_error.startswith(
            "psengine: engine judge is excluded by PSENGINE_ENGINES or PSENGINE_DISABLED"
        )

    def test_a_broken_engine_fails_its_rows_and_no_others(self, psengine, engine_site, judge, work):
        engine_site.add("broken", "import nothing_of_that_name")
        files(work, a="fine")
        ended = psengine("analyze", "-e", "all", "a")
        assert ended.code == 3
        broken, good = ended.rows
        assert (good["analysis"]["verdict"], good["error"]) == ("benign", None)
        assert (broken["analysis"]["verdict"], broken["analysis"]["bid"]) == ("unknown", 0)
        assert broken["error"] == {
            "kind": "unavailable",
            "message": "engine broken (psengine-test-broken 1.0) is broken: ModuleNotFoundError: "
            "No module named 'nothing_of_that_name'",
        }


NO_ENGINES = """
import sys
from importlib import metadata
real = metadata.distributions
metadata.distributions = lambda **k: (d for d in real(**k) if (d.metadata["Name"] or "") == "psengine-host")
from psengine_host.__main__ import main
main()
"""
"""The program on a machine where nothing but the host is installed."""


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "Error: nothing to analyze: name files, folders with -r, '-' or a URL (see --help)"),
            (["--deliver", "a"], "Error: --deliver needs -t bounty: only a bounty has a response_url"),
            (["--resume", "x", "--format", "json", "a"], "Error: --resume needs JSON Lines: --format jsonl"),
            (["--resume", "x", "a"],
             "psengine: --resume x: no such file or directory; name the JSON Lines output of the earlier run"),
            (["--only", "bad", "a"],
             ("Error: Invalid value for '--only': 'bad' is no verdict; "
              "there are malicious, suspicious, benign, unknown")),
            (["--timeout", "0", "a"], f"Error: Invalid value for '--timeout': {RANGE} '0'"),
            (["--timeout", "2d", "a"], f"Error: Invalid value for '--timeout': {RANGE} '2d'"),
            (["--timeout", "nan", "a"],
             ("Error: Invalid value for '--timeout': 'nan' is no duration; "
              "write a number of seconds, or such as '250ms', '30s' or '1h 30m'")),
            (["--backend", "locl", "a"],
             "psengine: no backend is called 'locl'; did you mean 'local'?; there are: local, process"),
            (["--observer", "no_such_module:x", "a"],
             ("psengine: observer no_such_module:x: ModuleNotFoundError: No module named 'no_such_module'; "
              "is its folder on PYTHONPATH?")),
            (["--files-from", "nowhere"],
             ("psengine: --files-from nowhere: cannot be read (No such file or directory): "
              "name a file with one input a line")),
            (["--format", "xml", "a"],
             "Error: Invalid value for '--format': 'xml' is not one of 'auto', 'table', 'json', 'jsonl'."),
        ],
    )  # fmt: skip
    def test_what_cannot_be_ends_with_2_and_one_line_that_says_why(self, psengine, judge, arguments, message):
        assert psengine("analyze", *arguments).usage_error == message

    def test_an_unknown_command_is_answered_with_the_nearest(self, psengine):
        assert psengine("analyse", "x").usage_error == "Error: no command is called 'analyse'; did you mean 'analyze'?"

    def test_settings_that_cannot_be_end_with_2(self, psengine, judge, work):
        (work / "bad.toml").write_text("[host]\ntimout = 3\n")
        ended = psengine("--config", "bad.toml", "analyze", "data:,")
        assert ended.usage_error == "psengine: bad.toml: host.timout: no such setting; did you mean 'timeout'?"


class TestExitCodes:
    @pytest.mark.parametrize(
        ("artifacts", "code"),
        [
            (["data:,fine", "data:,SUSPICIOUS", "data:,ENCRYPTED"], 0),
            (["data:,fine", "data:,MALICIOUS"], 1),
            (["data:,fine", "missing"], 3),
            (["data:,FAULT"], 3),
            (["missing", "data:,MALICIOUS", "data:,FAULT"], 1),
        ],
    )
    def test_malicious_wins_over_failed(self, psengine, judge, artifacts, code):
        ended = psengine("analyze", *artifacts)
        assert ended.code == code
        assert len(ended.rows) == len(artifacts)

    def test_a_declined_answer_is_no_error_and_cannot_fetch_is_one(self, psengine, judge):
        declined, unfetched, fault = psengine("analyze", "data:,ENCRYPTED", "data:,NEVER-FETCHED", "data:,FAULT").rows
        assert declined["error"] is None
        assert declined["analysis"]["metadata"]["comments"] == ["SKIPPED:ENCRYPTED"]
        assert unfetched["error"] == {"kind": "fetch", "message": "a part of it is elsewhere"}
        assert fault["error"] == {"kind": "engine", "message": "the scanner is not running"}
        assert fault["analysis"]["metadata"]["comments"] == ["ERROR:ENGINE", "the scanner is not running"]


class TestFormats:
    def test_json_is_one_array(self, psengine, judge):
        ended = psengine("analyze", "--format", "JSON", "data:,a", "data:,b")
        assert [row["artifact"] for row in json.loads(ended.out)] == ["data:,a", "data:,b"]

    def test_json_of_nothing_is_an_empty_array(self, psengine, judge, work):
        (work / "empty").mkdir()
        assert psengine("analyze", "--format", "json", "-r", "empty") == (
            0,
            "[]\n",
            "nothing was scanned: no file was found that is wanted\n",
        )

    def test_a_table_into_a_pipe_has_no_colours(self, psengine, judge):
        ended = psengine("analyze", "--format", "table", "data:,MALICIOUS", "missing", env={"COLUMNS": "120"})
        header, bad, missing, summary = ended.out.splitlines()
        assert header.split() == ["Verdict", "Engine", "Found", "Artifact"]
        assert bad.split() == ["malicious", "judge", "Test.Family", "data:,MALICIOUS"]
        assert missing.split() == ["error", "judge", "no", "such", "file", "missing"]
        assert summary.startswith("2 artifacts, 1 engine: 1 malicious, 0 suspicious, 0 benign, 1 unknown, 1 error (")
        assert summary.endswith(" MB/s)")

    def test_only_shows_some_verdicts_and_counts_all(self, psengine, judge):
        ended = psengine(
            "analyze", "--only", "Malicious, suspicious", "data:,MALICIOUS", "data:,x", "data:,SUSPICIOUS", "missing"
        )
        assert (ended.code, list(ended.verdicts.values())) == (1, ["malicious", "suspicious"])
        assert ended.err == "missing: judge: no such file\n"
        assert psengine("analyze", "--only", "suspicious", "data:,MALICIOUS") == (1, "", "")

    def test_a_long_data_uri_is_named_by_its_beginning_but_for_machines(self, psengine, judge):
        uri = "data:," + "x" * 500
        ended = psengine("analyze", "-v", uri)
        assert ended.row["artifact"] == uri
        assert ended.err.splitlines()[0].strip("-") == f"{uri[:60]}… (506 characters)"


class TestVerbose:
    def test_bounty_and_analysis_stand_under_a_rule_with_the_name(self, psengine, engine_site, work):
        engine_site.add("urls", JUDGE_URLS)
        files(work, **{"Abel.exe": "x"})
        ended = psengine("analyze", "-v", "--backend", "local", "Abel.exe")
        assert ended.row["analysis"]["verdict"] == "benign"
        lines = ended.err.splitlines()
        assert lines[0] == "Abel.exe".center(80, "-")
        assert lines[1] == "Bounty: {"
        assert lines[2].startswith('  "id": ')
        analysis = lines.index("Analysis: {")
        assert lines[analysis - 1] == "}"
        bounty = json.loads("\n".join(["{", *lines[2:analysis]]))
        assert bounty == ended.row["bounty"]
        end = lines.index("}", analysis)
        assert json.loads("\n".join(["{", *lines[analysis + 1 : end + 1]])) == ended.row["analysis"]
        assert lines[end + 1].startswith("1 artifact, 1 engine: 0 malicious, 0 suspicious, 1 benign")

    def test_an_error_is_shown_too(self, psengine, judge):
        err = psengine("analyze", "-v", "missing", "data:,FAULT").err
        assert "\nError: fetch: no such file\n" in err
        assert "\nError: engine: the scanner is not running\n" in err


class TestChecks:
    def test_expected_answers_end_with_0(self, psengine, engine_site):
        engine_site.add(
            "good",
            """
            from psengine_host import Analysis, ArtifactType, EngineInfo, hookimpl
            @hookimpl
            def info():
                return EngineInfo(artifact_types=frozenset(ArtifactType))
            @hookimpl
            def analyze(artifact):
                if b"X5O!P%@AP" in artifact.read_bytes() or "wicar" in (artifact.url or ""):
                    return Analysis.malicious("Test")
                return Analysis.benign()
            """,
        )
        ended = psengine("analyze", "--check-eicar", "--check-empty", "--check-wicar")
        assert (ended.code, ended.err) == (0, "")
        assert ended.verdicts["--check-eicar"] == "malicious"
        assert ended.verdicts["--check-empty"] == "benign"
        assert ended.verdicts["--check-wicar"] == "malicious"
        assert ended.rows[0]["bounty"]["id"] == 2783463150
        assert psengine("analyze", "--check-eicar", "data:,X5O!P%25@AP").code == 1

    def test_unexpected_answers_end_with_3_and_say_what_is_right(self, psengine, engine_site):
        engine_site.add("mild")
        ended = psengine("analyze", "--check-eicar", "--check-empty", "--check-exploit-url")
        assert ended.code == 3
        assert ended.err.splitlines() == [
            "--check-eicar: mild answers benign; malicious is right",
            "--check-wicar: mild answers unknown (SKIPPED:TYPE-UNSUPPORTED); malicious is right",
        ]

    def test_an_empty_file_must_not_be_malicious(self, psengine, engine_site):
        engine_site.add(
            "wild",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze():
                return Analysis.malicious("All")
            """,
        )
        ended = psengine("analyze", "--check-empty")
        assert (ended.code, ended.err) == (3, "--check-empty: wild answers malicious; benign or unknown is right\n")


class TestTimeout:
    def test_the_local_backend_warns_of_a_slow_engine_and_keeps_its_answer(self, psengine, engine_site):
        engine_site.add(
            "slow",
            """
            import time
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(context):
                while time.monotonic() < context.deadline + 0.05:
                    time.sleep(0.01)
                return Analysis.benign()
            """,
        )
        ended = psengine("analyze", "--backend", "local", "--timeout", "200ms", "data:,x")
        assert (ended.code, ended.row["analysis"]["verdict"]) == (0, "benign")
        assert "psengine: WARNING: engine slow took 0." in ended.err
        assert "longer than its limit" in ended.err

    def test_a_bounty_longer_than_the_settings_take_is_refused(self, psengine, judge, work):
        bounty = json.loads(psengine("create-bounty", "data:,x").out)
        (work / "long").write_text(json.dumps(bounty | {"artifact_uri": f"data:,{'x' * 10_000}"}))
        (work / "short").write_text(json.dumps(bounty))
        message = "a bounty has at most 5 kB; raise the setting host.max_bounty_size"
        limit = {"PSENGINE_HOST_MAX_BOUNTY_SIZE": "5 kB"}
        long, short = psengine("analyze", "-t", "bounty", "long", "short", env=limit).rows
        assert (long["error"], short["error"]) == ({"kind": "fetch", "message": f"long: {message}"}, None)
        stream = psengine("analyze", "-t", "bounty", "-", stdin=(work / "long").read_bytes(), env=limit).row
        assert stream["error"]["message"] == f"-: {message}"

    def test_it_bounds_the_fetch(self, psengine, judge):
        import socket

        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
            ended = psengine("analyze", "--timeout", "0.3", url, env={"PSENGINE_NETWORK_ALLOW": "127.0.0.1"})
        assert (ended.code, ended.row["error"]["kind"]) == (3, "fetch")
        assert 0.2 < ended.row["seconds"] < 5


class TestResume:
    def test_it_goes_on_where_an_interrupted_output_was_cut_off(self, psengine, engine_site, judge, work):
        engine_site.add("mild")
        files(work, a="MALICIOUS", b="fine", c="fine")
        command = ["analyze", "-e", "all", "a", "b", "c", "gone"]
        whole = psengine(*command).out
        lines = whole.splitlines(keepends=True)
        output = work / "out.jsonl"
        output.write_text("".join(lines[:3]) + lines[3][:40])
        with output.open("ab") as appended:
            resumed = psengine(*command, "--resume", "out.jsonl", stdout=appended)
        assert resumed.code == 1  # what is malicious stands in the earlier part
        *first, cut, fourth, fifth, sixth, seventh, eighth = output.read_text().splitlines(keepends=True)
        assert first == lines[:3]
        assert cut == lines[3][:40] + "\n"
        assert [json.loads(line)["artifact"] for line in (fourth, fifth, sixth, seventh, eighth)] == [
            "b", "c", "c", "gone", "gone",
        ]  # fmt: skip
        with output.open("ab") as appended:
            again = psengine(*command, "--resume", "out.jsonl", stdout=appended)
        assert again.code == 1
        assert len(output.read_text().splitlines()) == 9

    def test_errors_and_checks_of_the_earlier_part_count_as_they_did(self, psengine, judge, work):
        (work / "out").write_text(psengine("analyze", "--check-eicar", "gone").out)
        ended = psengine("analyze", "--check-eicar", "gone", "data:,x", "--resume", "out")
        assert list(ended.verdicts) == ["data:,x"]
        assert ended.code == 3  # not 1: that EICAR is malicious was expected

    def test_lines_that_are_no_rows_are_passed_over(self, psengine, judge, work):
        noise = b'\n[1]\nnot json\n{"artifact": "data:,x"}\n\xff\xfe\n' + b"[" * 100_000 + b"\n"
        (work / "out").write_bytes(noise + psengine("analyze", "data:,y").out.encode())
        assert psengine("analyze", "data:,x", "data:,y", "--resume", "out").verdicts == {"data:,x": "benign"}

    def test_a_file_without_a_single_row_is_refused(self, psengine, judge, work):
        (work / "out").write_text("not json\nnor this\n")
        ended = psengine("analyze", "data:,x", "--resume", "out")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == ("psengine: --resume out: holds no row of 'psengine analyze'; name its JSON Lines output\n")

    def test_a_stream_is_judged_anew_since_it_may_hold_anything(self, psengine, judge, work):
        (work / "out").write_text(psengine("analyze", "-", stdin=b"fine").out)
        ended = psengine("analyze", "-", "--resume", "out", stdin=b"MALICIOUS")
        assert (ended.code, ended.verdicts) == (1, {"-": "malicious"})

    def test_standard_input_named_twice_is_still_an_error_of_its_own(self, psengine, judge, work):
        (work / "out").write_text(psengine("analyze", "-", stdin=b"MALICIOUS").out)
        ended = psengine("analyze", "-", "-", "--resume", "out", stdin=b"fine")
        assert (ended.code, [row["error"] is None for row in ended.rows]) == (3, [True, False])

    def test_a_row_stands_for_one_artifact(self, psengine, judge, work):
        (work / "out").write_text(psengine("analyze", "data:,x").out)
        ended = psengine("analyze", "data:,x", "data:,x", "--resume", "out")
        assert (len(ended.rows), ended.err) == (1, "already in out: 1 answer\n")

    def test_rows_of_others_say_nothing_of_this_run(self, psengine, judge, work):
        (work / "out").write_text(psengine("analyze", "data:,MALICIOUS").out)
        assert psengine("analyze", "data:,x", "--resume", "out").code == 0

    def test_an_output_that_shows_only_some_rows_cannot_be_gone_on_with(self, psengine, judge):
        ended = psengine("analyze", "--only", "malicious", "--resume", "out", "data:,x")
        assert ended.code == 2
        assert "Error: --resume needs every row that was made: leave out --only" in ended.err

    def test_names_that_are_not_utf8_are_recognized(self, psengine, judge, work):
        Path(os.fsdecode(os.fsencode(work) + b"/caf\xe9")).write_text("fine")
        first = psengine("analyze", b"caf\xe9")
        assert r'"artifact":"caf\udce9"' in first.out
        (work / "out").write_text(first.out)
        assert psengine("analyze", b"caf\xe9", "--resume", "out") == (0, "", "already in out: 1 answer\n")


class TestBounties:
    def bounty(self, **fields):
        return {
            "id": 7,
            "artifact_uri": "data:,MALICIOUS",
            "artifact_type": "file",
            "expiration": "2099-01-01T00:00:00Z",
        } | fields

    def test_a_bounty_is_judged_as_it_says(self, psengine, judge, work):
        files(work, bad="MALICIOUS")
        (work / "b").write_text(json.dumps(self.bounty(artifact_uri=(work / "bad").as_uri(), phase="arbitration")))
        ended = psengine("analyze", "-t", "BOUNTY", "b", "-", stdin=json.dumps(self.bounty()).encode())
        assert ended.code == 1
        vote, assertion = ended.rows
        assert (vote["artifact"], vote["bounty"]["id"], vote["analysis"]["verdict"]) == ("b", 7, "malicious")
        assert "bid" not in vote["analysis"]
        assert (assertion["artifact"], assertion["analysis"]["bid"]) == ("-", 999900000000000000)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"id": None}, "b: id: is missing"),
            ({"id": 1.5}, "b: id: "),
            ({"artifact_uri": "ftp://x/"}, "b: artifact_uri: must be an http, https or data URI, got 'ftp://x/'"),
            ({"artifact_uri": None}, "b: artifact_uri: is missing"),
            ({"artifact_type": "folder"}, "b: artifact_type: must be 'file' or 'url', got 'folder'"),
            ({"expiration": "soon"}, "b: expiration: "),
            ({"sha256": "abc"}, "b: sha256: must be 64 hexadecimal digits, got 'abc'"),
            ({"rules": {"min_allowed_bid": 2, "max_allowed_bid": 1}}, "b: rules.m"),
            ({"rules": {"max_allowed_bid": 1.5}}, "b: rules.max_allowed_bid: "),
            ({"rules": {"max_allowed_bid": True}}, "b: rules.max_allowed_bid: "),
            ({"response_url": "nowhere"}, "b: response_url: must be an http or https URL, got 'nowhere'"),
            ({"phase": "later"}, "b: phase: "),
            ({"duration": -1, "expiration": None}, "b: duration: "),
            ({"tasked_at": "yesterday"}, "b: tasked_at: "),
            ({"mimetype": 3}, "b: mimetype: "),
        ],
    )
    def test_a_malformed_field_is_named_with_its_value(self, within, judge, work, fields, message):
        (work / "b").write_text(json.dumps(self.bounty(**fields)))
        ended = within("analyze", "-t", "bounty", "b", "missing")
        assert ended.code == 3
        bad, missing = ended.rows
        assert bad["bounty"] is None
        assert bad["error"]["kind"] == "bounty"
        assert bad["error"]["message"].startswith(message)
        if next(iter(fields.values())) is not None:
            assert ", got " in bad["error"]["message"]
        assert missing["error"] == {"kind": "fetch", "message": "missing: no such file"}

    @pytest.mark.parametrize("raw", [b"", b"nonsense", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"id": NaN}'])
    def test_what_is_no_bounty_at_all(self, within, judge, work, raw):
        (work / "b").write_bytes(raw)
        row = within("analyze", "-t", "bounty", "b").row
        assert row["error"]["kind"] == "bounty"
        assert row["error"]["message"].startswith("b: ")

    def test_an_expired_bounty_is_declined(self, psengine, judge, work):
        (work / "b").write_text(json.dumps(self.bounty(expiration="2020-01-01T00:00:00Z")))
        row = psengine("analyze", "-t", "bounty", "b").row
        assert row["error"] is None
        assert row["analysis"]["metadata"]["comments"][0] == "SKIPPED:EXPIRED"

    @pytest.mark.parametrize("uri", ["data:,MALICIOUS", "{site}/a"])
    def test_an_expired_bounty_is_fetched_and_judged_where_the_settings_say_so(self, psengine, judge, work, site, uri):
        site.pages["/a"] = (200, b"MALICIOUS")
        bounty = self.bounty(expiration="2020-01-01T00:00:00Z", artifact_uri=uri.format(site=site.url))
        (work / "b").write_text(json.dumps(bounty))
        env = {"PSENGINE_DISCARD_EXPIRED_BOUNTIES": "no", "PSENGINE_NETWORK_ALLOW": "127.0.0.1"}
        row = psengine("analyze", "-t", "bounty", "b", env=env).row
        assert (row["error"], row["analysis"]["verdict"]) == (None, "malicious")
        assert row["bounty"]["expiration"].startswith("2020-01-01")

    def test_the_artifact_of_a_bounty_is_fetched_and_checked_against_its_hash(self, psengine, judge, work, site):
        site.pages["/a"] = (200, b"MALICIOUS")
        (work / "right").write_text(json.dumps(self.bounty(artifact_uri=f"{site.url}/a")))
        (work / "wrong").write_text(json.dumps(self.bounty(artifact_uri=f"{site.url}/a", sha256="0" * 64)))
        ended = psengine("analyze", "-t", "bounty", "right", "wrong", env={"PSENGINE_NETWORK_ALLOW": "127.0.0.1"})
        right, wrong = ended.rows
        assert right["analysis"]["verdict"] == "malicious"
        assert (wrong["error"]["kind"], wrong["bounty"]["sha256"]) == ("fetch", "0" * 64)
        assert wrong["analysis"]["metadata"]["comments"][0] == "SKIPPED:CANNOT-FETCH"

    def test_answers_are_delivered_refused_or_have_nowhere_to_go(self, psengine, judge, work, site):
        site.pages["/take?nonce=1"] = (202, b"")
        site.pages["/refuse"] = (410, b"too late")
        for name, url in (("taken", "/take?nonce=1"), ("refused", "/refuse"), ("nowhere", None)):
            response = None if url is None else site.url + url
            (work / name).write_text(json.dumps(self.bounty(response_url=response)))
        ended = psengine(
            "analyze", "-t", "bounty", "--deliver", "taken", "refused", "nowhere",
            env={"PSENGINE_NETWORK_ALLOW": "127.0.0.1"},
        )  # fmt: skip
        taken, refused, nowhere = ended.rows
        assert ended.code == 1
        assert taken["error"] is None
        (method, path, headers, body), other = site.requests
        assert (method, path, headers["Content-Type"]) == ("POST", "/take?nonce=1", "application/json")
        assert json.loads(body) == taken["analysis"]
        assert other[1] == "/refuse"
        assert refused["error"]["kind"] == "delivery"
        assert refused["error"]["message"].startswith("not delivered: answered 410")
        assert nowhere["error"] == {
            "kind": "delivery",
            "message": "bounty 7 has no response_url: there is nowhere to deliver to",
        }

    def test_without_deliver_nothing_is_sent(self, psengine, judge, work, site):
        (work / "b").write_text(json.dumps(self.bounty(response_url=f"{site.url}/")))
        assert psengine("analyze", "-t", "bounty", "b", env={"PSENGINE_NETWORK_ALLOW": "127.0.0.1"}).code == 1
        assert site.requests == []


OBSERVER = """
    from psengine_host import hookimpl

    class Listener:
        @hookimpl
        def on_success(self, bounty, analysis):
            with open("heard", "a") as file:
                file.write(f"success {bounty.id} {analysis.verdict}\\n")

        @hookimpl
        def on_error(self, bounty, failure, analysis):
            with open("heard", "a") as file:
                file.write(f"{failure.kind} {failure.message} {analysis.verdict}\\n")
            print("an observer's print")
            raise RuntimeError("deaf")

    listener = Listener()
"""


class TestObserversAndTraces:
    def test_an_observer_by_option_hears_every_outcome(self, psengine, engine_site, judge, work):
        (engine_site.path / "my_listener.py").write_text(dedent(OBSERVER))
        ended = psengine("analyze", "--observer", "my_listener:listener", "data:,MALICIOUS", "data:,FAULT")
        assert len(ended.rows) == 2
        heard = (work / "heard").read_text().splitlines()
        assert heard[0] == f"success {ended.rows[0]['bounty']['id']} malicious"
        assert heard[1] == "engine the scanner is not running unknown"
        assert "psengine: ERROR: observer Listener: on_error failed: RuntimeError: deaf" in ended.err

    def test_an_installed_observer_hears_every_outcome(self, psengine, engine_site, judge, work):
        engine_site.add("ears", OBSERVER, group="psengine.observers", value="{module}:listener")
        ended = psengine("analyze", "data:,FAULT", "data:,x")
        assert len(ended.rows) == 2
        assert len((work / "heard").read_text().splitlines()) == 2
        assert "observer ears (psengine-test-ears 1.0): on_error failed: RuntimeError: deaf" in ended.err

    def test_a_broken_observer_is_a_usage_error(self, psengine, engine_site, judge):
        engine_site.add("ears", "raise SystemExit(5)", group="psengine.observers")
        message = psengine("analyze", "data:,x").usage_error
        assert message == (
            "psengine: observer ears (psengine-test-ears 1.0): called sys.exit(5); repair or uninstall it"
        )

    def test_every_hook_call_is_shown(self, psengine, engine_site, work):
        engine_site.add(
            "traced",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def setup():
                return {"rules": 3}
            @hookimpl
            def open_session(context):
                return "session-1"
            @hookimpl
            def analyze(artifact, session):
                if artifact.size:
                    raise OSError("no\\x1b[2J scanner")
                return Analysis.benign()
            @hookimpl
            def on_error(failure):
                pass
            """,
        )
        ended = psengine("analyze", "--trace-hooks", "data:,", "data:,x")
        assert len(ended.rows) == 2
        hooks = [line for line in ended.err.splitlines() if line.startswith("hook traced: ")]
        assert [line.split("(")[0].split()[-1] for line in hooks] == [
            "setup", "open_session", "analyze", "analyze", "on_error",
        ]  # fmt: skip
        assert "-> {'rules': 3} [" in hooks[0]
        assert "session='session-1') -> Analysis(" in hooks[2]
        assert r"raised OSError('no\x1b[2J scanner') [" in hooks[3]
        assert all(line.endswith(" ms]") for line in hooks)


class TestInterrupts:
    """With the engine in this process, which the interrupt reaches itself; test_parallel_analyze.py has the others."""

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    def test_a_signal_ends_the_run_with_what_was_done(self, psengine, engine_site, work, number, code):
        engine_site.add("often", OFTEN_SLOW)
        files(work, a="", slow="", z="")
        process = psengine.start("analyze", "--backend", "local", "a", "slow", "z")
        ended = psengine.interrupted(process, work / "ready", number)
        assert (ended.code, ended.verdicts, ended.err) == (code, {"a": "benign"}, "interrupted\n")
        assert (work / "torn-down").exists()

    def test_a_json_array_is_complete_and_a_table_has_its_summary(self, psengine, engine_site, work):
        engine_site.add("often", OFTEN_SLOW)
        files(work, a="", slow="")
        command = ["analyze", "--backend", "local", "a", "slow", "--format"]
        ended = psengine.interrupted(psengine.start(*command, "json"), work / "ready", signal.SIGINT)
        assert ended.code == 130
        assert [row["artifact"] for row in json.loads(ended.out)] == ["a"]
        (work / "ready").unlink()
        ended = psengine.interrupted(psengine.start(*command, "table"), work / "ready", signal.SIGINT)
        assert ended.code == 130
        assert ended.out.splitlines()[-1].startswith("1 artifact, 1 engine: 0 malicious, 0 suspicious, 1 benign")

    def test_an_engine_that_swallows_the_interrupt_ends_the_run_all_the_same(self, psengine, engine_site, work):
        engine_site.add(
            "deaf",
            """
            import pathlib, time
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze():
                try:
                    pathlib.Path("ready").touch()
                    time.sleep(60)
                except BaseException:
                    return Analysis.benign()
            """,
        )
        files(work, a="", b="")
        ended = psengine.interrupted(
            psengine.start("analyze", "--backend", "local", "a", "b"), work / "ready", signal.SIGTERM
        )
        assert (ended.code, ended.verdicts) == (143, {"a": "benign"})

    def test_an_engine_that_raises_an_interrupt_by_itself_stops_nobody(self, psengine, engine_site):
        engine_site.add(
            "rude",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(artifact):
                if artifact.size:
                    raise KeyboardInterrupt
                return Analysis.benign()
            """,
        )
        ended = psengine("analyze", "--backend", "local", "data:,x", "data:,")
        assert ended.code == 3
        rude, polite = ended.rows
        assert rude["error"] == {"kind": "engine", "message": "raised KeyboardInterrupt by itself"}
        assert rude["analysis"]["metadata"]["comments"] == ["ERROR:ENGINE", "raised KeyboardInterrupt by itself"]
        assert rude["bounty"]["sha256"] == hashlib.sha256(b"x").hexdigest()
        assert polite["error"] is None

    def test_an_ignored_signal_stays_ignored(self, psengine, engine_site, work):
        engine_site.add("often", OFTEN_SLOW.replace("time.sleep(60)", "open('go').read()"))
        files(work, slow="")
        os.mkfifo(work / "go")
        shell = ["/bin/sh", "-c", "trap '' HUP INT; exec \"$0\" -m psengine_host analyze slow", sys.executable]
        process = psengine.start(command=shell)

        def release() -> None:
            (work / "go").write_text("")

        writer = threading.Thread(target=release)
        writer.start()  # opens once the engine does: after the signals would have come
        ended = psengine.interrupted(process, work / "ready", signal.SIGHUP, signal.SIGINT)
        writer.join(20)
        assert (ended.code, ended.verdicts) == (0, {"slow": "benign"})

    def test_a_closed_pipe_ends_quietly(self, psengine, judge):
        process = psengine.start("analyze", *["data:,x"] * 3000)
        first = process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert json.loads(first)["artifact"] == "data:,x"
        assert psengine.ended(process.wait(60), b"", err) == (141, "", "")

    @pytest.mark.parametrize("form", ["json", "jsonl", "table"])
    def test_head_in_a_shell(self, psengine, judge, form):
        script = f'"$0" -m psengine_host analyze --format {form} "$@" | head -1; exit ${{PIPESTATUS[0]}}'
        ended = psengine(command=["/bin/bash", "-c", script, sys.executable, *["data:,x"] * 3000])
        assert (ended.code, len(ended.out.splitlines()), ended.err) == (141, 1, "")

    def test_a_closed_pipe_of_a_list_of_engines(self, psengine, judge):
        script = '"$0" -m psengine_host list-engines --format table | true; exit ${PIPESTATUS[0]}'
        ended = psengine(command=["/bin/bash", "-c", script, sys.executable])
        assert (ended.code in (0, 141), ended.err) == (True, "")  # 0 where it was written before the pipe was closed

    @pytest.mark.parametrize("form", ["json", "jsonl", "table"])
    def test_a_full_disk_is_said_in_one_line(self, psengine, judge, form):
        with open("/dev/full", "wb") as full:
            ended = psengine("analyze", "--format", form, "data:,x", stdout=full)
        assert (ended.code, ended.err) == (3, "psengine: the output cannot be written: no space left on device\n")


class TestDebug:
    def test_a_traceback_is_shown_with_debug_and_never_without(self, psengine, engine_site):
        engine_site.add(
            "raising",
            """
            from psengine_host import hookimpl
            @hookimpl
            def analyze():
                raise ValueError("two\\nlines")
            """,
        )
        plain = psengine("analyze", "data:,x")
        assert (plain.code, plain.err) == (3, "")
        assert plain.row["error"] == {"kind": "engine", "message": "ValueError: two lines"}
        for debug in (["--debug", "analyze"], ["analyze"]):
            env = {} if len(debug) == 2 else {"PSENGINE_DEBUG": "1"}
            ended = psengine(*debug, "data:,x", env=env)
            assert "Traceback (most recent call last):" in ended.err
            assert 'raise ValueError("two\\nlines")' in ended.err
            assert ended.row["error"] == plain.row["error"]

    def test_a_usage_error_shows_where_too(self, psengine, judge):
        assert "Traceback" not in psengine("analyze", "-e", "other", "data:,").err
        ended = psengine("--debug", "analyze", "-e", "other", "data:,")
        assert ended.code == 2
        assert "Traceback (most recent call last):" in ended.err


def test_a_backend_of_another_package_runs_the_bounties(psengine, engine_site, judge):
    engine_site.add(
        "counting",
        """
        from psengine_host.backends.local import LocalBackend
        class Counting(LocalBackend):
            def submit(self, bounty, engine, *, artifact=None):
                print("counted", engine)
                return super().submit(bounty, engine, artifact=artifact)
        """,
        group="psengine.backends",
        value="{module}:Counting",
    )
    ended = psengine("analyze", "--backend", "counting", "data:,MALICIOUS")
    assert (ended.row["analysis"]["verdict"], ended.err) == ("malicious", "counted judge\n")
    assert "there are: counting, local, process" in psengine("analyze", "--backend", "other", "data:,").usage_error
