"""The log of a whole run: what asks for it, terminals, broken standard errors, and what is never in it."""

import json
import os
import re
import signal
import socket
import sys
from base64 import b64encode

import pytest

from psengine_host.samples import eicar

TALKER = """
    import logging, warnings
    from psengine_host import Analysis, hookimpl

    logger = logging.getLogger(__name__)

    @hookimpl
    def analyze(artifact, bounty, context):
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(logger, level)("[bold]said[/bold] %s", level)
        return Analysis.benign()
"""
"""An engine that says one line of each level."""
SAID = re.compile(r"^psengine: ([A-Z]+): \[bold\]said\[/bold\] [a-z]+ \[engine talker, bounty \d+\]$")


@pytest.fixture
def talker(engine_site):
    engine_site.add("talker", TALKER)
    return "talker"


def said(ended):
    """The levels of what the engine said in a run that went well, in text."""
    assert ended.code == 0, ended.err
    assert ended.row["analysis"]["verdict"] == "benign"
    return [match[1].lower() for line in ended.err.splitlines() if (match := SAID.match(line))]


LEVELS = ["debug", "info", "warning", "error", "critical"]


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "first"),
        [
            ([], "warning"), (["-v"], "info"), (["-vv"], "debug"), (["-v", "-v"], "debug"), (["--verbose"], "info"),
            (["-vvv"], "debug"), (["-q"], "error"), (["-qq"], "critical"), (["--quiet"], "error"),
            (["-qqq"], "critical"), (["--debug"], "debug"), (["--debug", "-v"], "debug"), (["--debug", "-q"], "error"),
        ],
    )  # fmt: skip
    def test_how_much_is_logged(self, within, talker, options, first):
        assert said(within(*options, "analyze", "data:,x")) == LEVELS[LEVELS.index(first) :]

    def test_more_and_less_exclude_each_other(self, within, talker):
        ended = within("-v", "-q", "analyze", "data:,x")
        assert ended.usage_error == "Error: -v and -q: choose one"

    def test_the_command_s_own_v_shows_bounties_and_logs_no_more(self, within, talker):
        ended = within("analyze", "-v", "data:,x")
        assert said(ended) == LEVELS[2:]
        assert "\nBounty: {" in ended.err
        ended = within("-v", "analyze", "data:,x")
        assert "Bounty: {" not in ended.err

    def test_an_engine_s_own_program_has_them_too(self, psengine, engine_site, talker):
        script = "from psengine_host.cli import engine_cli; engine_cli('talker')()"
        ended = psengine("-v", "analyze", "data:,x", command=[sys.executable, "-c", script])
        assert said(ended) == LEVELS[1:]

    def test_the_log_is_afterwards_as_it_was(self, within, talker):
        import logging
        import warnings

        before = logging.getLogger().handlers[:], logging.getLogger().level, warnings.showwarning
        within("-vv", "analyze", "data:,x")
        assert (logging.getLogger().handlers, logging.getLogger().level, warnings.showwarning) == before


class TestPrecedence:
    """Defaults, then ``psengine.toml``, then the environment, then options."""

    @pytest.fixture
    def config(self, work):
        path = work / "psengine.toml"
        path.write_text('[log]\nlevel = "info"\nformat = "json"\n')
        return path

    @pytest.fixture
    def run(self, psengine, talker, config):
        def run(*options, **env):
            return psengine(*options, "analyze", "data:,x", env={"PSENGINE_CONFIG": str(config), **env})

        return run

    @staticmethod
    def levels(ended):
        assert ended.code == 0
        return [json.loads(line)["level"] for line in ended.err.splitlines()]

    def test_the_file(self, run):
        assert self.levels(run()) == LEVELS[1:]

    def test_the_variables_win_over_the_file(self, run):
        assert self.levels(run(LOG_LEVEL="error")) == LEVELS[3:]
        assert said(run(LOG_FORMAT="text")) == LEVELS[1:]

    def test_the_options_win_over_both(self, run):
        assert self.levels(run("-qq", LOG_LEVEL="debug")) == LEVELS[4:]
        assert self.levels(run("-vv", LOG_LEVEL="error")) == LEVELS
        assert self.levels(run("--debug", LOG_LEVEL="error")) == LEVELS

    def test_neither_version_nor_help_reads_the_file(self, psengine, work):
        (work / "broken.toml").write_text("][")
        for option in ("--version", "--help"):
            ended = psengine(option, env={"PSENGINE_CONFIG": str(work / "broken.toml")})
            assert (ended.code, ended.err) == (0, "")
        assert psengine("list-engines", env={"PSENGINE_CONFIG": str(work / "broken.toml")}).code == 2

    def test_it_is_read_once(self, psengine, talker, config):
        # A pipe gives its content to one reader only.
        os.mkfifo(config.parent / "pipe")
        process = psengine.start("--config", config.parent / "pipe", "analyze", "data:,x")
        (config.parent / "pipe").write_text('[log]\nlevel = "error"\n')
        out, err = process.communicate(timeout=60)
        assert said(psengine.ended(process.returncode, out, err)) == LEVELS[3:]


class TestTheLastLine:
    """Why the program ends is a record too, where records are JSON."""

    UNKNOWN = "no engine is called 'absent'; 'psengine list-engines' shows all"

    @pytest.mark.parametrize("options", [[], ["-qq"]])
    def test_it_is_json_whatever_the_level(self, psengine, talker, options):
        ended = psengine(*options, "info", "absent", env={"LOG_FORMAT": "json"})
        record = json.loads(ended.err)
        assert record.pop("timestamp")
        nothing = dict.fromkeys(("engine", "bounty", "delivery"))
        assert record == {"level": "error", "logger": "psengine", "message": self.UNKNOWN, **nothing}
        assert (ended.code, ended.out) == (2, "")
        assert psengine(*options, "info", "absent") == (2, "", f"psengine: {self.UNKNOWN}\n")

    def test_a_traceback_is_in_the_record(self, psengine, talker):
        record = json.loads(psengine("--debug", "info", "absent", env={"LOG_FORMAT": "json"}).err.splitlines()[-1])
        assert record["message"] == self.UNKNOWN
        assert record["exception"].startswith("Traceback (most recent call last):\n")
        assert record["exception"].endswith(f"psengine_host.errors.UnknownEngine: {self.UNKNOWN}")

    def test_the_settings_say_so_too_once_they_are_read(self, psengine, talker, work):
        (work / "json.toml").write_text('[log]\nformat = "json"\n')
        ended = psengine("--config", "json.toml", "info", "absent")
        assert (ended.code, json.loads(ended.err)["message"]) == (2, self.UNKNOWN)
        (work / "json.toml").write_text('[log]\nformat = "json"\nlevle = 1\n')
        ended = psengine("--config", "json.toml", "info", "absent")
        assert ended.err == "psengine: json.toml: log.levle: no such setting; did you mean 'level'?\n"

    def test_what_click_says_of_usage_stays_text(self, psengine, talker):
        ended = psengine("analyze", "--absent", env={"LOG_FORMAT": "json"})
        assert ended.usage_error == "Error: No such option '--absent'."

    def test_an_output_that_cannot_be_written(self, psengine, talker):
        with open("/dev/full", "wb") as full:
            ended = psengine("list-engines", stdout=full, env={"LOG_FORMAT": "json"})
        assert ended.code == 3
        assert json.loads(ended.err)["message"] == "the output cannot be written: no space left on device"


class TestTerminal:
    @pytest.fixture
    def run(self, psengine, terminal, talker):
        def run(*arguments, **env):
            screen = terminal(100)
            process = psengine.start(
                *arguments, stderr=screen.slave, env={"TERM": "xterm-256color", "NO_COLOR": "", **env}
            )
            out, _ = process.communicate(timeout=60)
            screen.close()
            assert process.returncode == 0
            assert json.loads(out)["analysis"]["verdict"] == "benign"
            return screen

        return run

    def test_levels_have_colours_and_markup_is_text(self, run):
        screen = run("-vv", "analyze", "data:,x")
        lines = [line for line in screen.text.splitlines() if "said" in line]
        assert [SAID.match(line)[1].lower() for line in lines] == LEVELS
        raw = screen.raw.decode()
        for level, style in (("DEBUG", "36"), ("INFO", "36"), ("WARNING", "33"), ("ERROR", "31"), ("CRITICAL", "1;31")):
            assert f"\x1b[{style}m{level}" in raw
        assert re.search(r"\x1b\[2m \[engine talker, bounty \d+\]\x1b\[0m", raw)

    @pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_no_colours_where_nobody_wants_them(self, run, env):
        raw = run("analyze", "data:,x", **env).raw.decode()
        assert "said warning" in raw.replace("[bold]", "").replace("[/bold]", "")
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", raw)

    def test_json_has_none_on_a_terminal_either(self, run):
        raw = run("analyze", "data:,x", LOG_FORMAT="json").raw.decode()
        assert "\x1b" not in raw
        assert [json.loads(line)["level"] for line in raw.splitlines()] == LEVELS[2:]

    def test_a_message_cannot_steer_it(self, psengine, terminal, engine_site):
        engine_site.add(
            "rude",
            r"""
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(context):
                message = "\x1b[2J\x1b]0;title\x07 \x9b31m \r over\u202e [red]x[/red] :smile: "
                context.logger.warning(message + "w" * 300)
                return Analysis.benign()
            """,
        )
        screen = terminal(80)
        process = psengine.start("analyze", "data:,x", stderr=screen.slave, env={"TERM": "xterm", "NO_COLOR": ""})
        process.communicate(timeout=60)
        screen.close()
        expected = r"\x1b[2J\x1b]0;title\x07 \x9b31m \r over\u202e [red]x[/red] :smile: " + "w" * 300
        assert f"psengine: WARNING: {expected} [engine rude, " in screen.text
        assert set(re.findall(r"\x1b\[[^m]*m", screen.raw.decode())) <= {f"\x1b[{code}m" for code in (0, 2, 33)}

    def test_rich_is_imported_by_the_first_record_only(self, psengine, terminal, engine_site):
        engine_site.add(
            "looking",
            """
            import sys
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(context):
                context.logger.debug("nothing")
                before = "rich.console" in sys.modules
                context.logger.warning("something")
                return Analysis.skipped(f"{before} {'rich.console' in sys.modules}")
            """,
        )
        screen = terminal(80)
        process = psengine.start("analyze", "--format", "jsonl", "data:,x", stderr=screen.slave, env={"TERM": "xterm"})
        out, _ = process.communicate(timeout=60)
        assert json.loads(out)["analysis"]["metadata"]["comments"][-1] == "False True"
        process = psengine.start("analyze", "--format", "jsonl", "data:,x")
        out, _ = process.communicate(timeout=60)
        assert json.loads(out)["analysis"]["metadata"]["comments"][-1] == "False False"


class TestBrokenStandardError:
    @pytest.mark.parametrize("log_format", ["text", "json"])
    @pytest.mark.parametrize("how", ["full", "closed", "gone"])
    def test_output_and_exit_code_stay(self, psengine, talker, how, log_format):
        options = {}
        if how == "full":
            options["stderr"] = open("/dev/full", "wb")  # noqa: SIM115
        elif how == "gone":
            reading, writing = os.pipe()
            os.close(reading)
            options["stderr"] = writing
        else:
            inner = [sys.executable, "-m", "psengine_host"]
            options["command"] = ["sh", "-c", 'exec "$@" 2>&-', "sh", *inner]
        ended = psengine("-vv", "analyze", "data:,x", env={"LOG_FORMAT": log_format}, **options)
        if how == "full":
            options["stderr"].close()
        elif how == "gone":
            os.close(writing)
        assert (ended.code, ended.row["analysis"]["verdict"], ended.err) == (0, "benign", "")

    def test_what_cannot_be_formatted_is_no_flood(self, psengine, engine_site):
        engine_site.add(
            "wrong",
            """
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(context):
                context.logger.warning("%d items", "three")
                return Analysis.benign()
            """,
        )
        ended = psengine("analyze", "data:,x")
        (line,) = ended.err.splitlines()
        assert line.startswith("psengine: WARNING: '%d items' (its arguments cannot be filled in: TypeError: %d format")


class TestWhatElseIsLogged:
    def test_warnings_of_an_engine(self, psengine, engine_site):
        engine_site.add(
            "warning",
            """
            import warnings
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze():
                warnings.warn("old database")
                warnings.warn("scan() is old", DeprecationWarning)
                return Analysis.benign()
            """,
        )
        ended = psengine("analyze", "data:,x", env={"LOG_FORMAT": "json", "PYTHONWARNINGS": "always"})
        lines = [json.loads(line) for line in ended.err.splitlines()]
        assert [line["message"].partition(" (")[0] for line in lines] == [
            "UserWarning: old database",
            "DeprecationWarning: scan() is old",
        ]
        assert {(line["logger"], line["level"], line["engine"]) for line in lines} == {
            ("py.warnings", "warning", "warning")
        }

    def test_what_an_engine_does_at_exit(self, psengine, engine_site):
        engine_site.add(
            "late",
            """
            import atexit, logging
            from psengine_host import Analysis, hookimpl
            atexit.register(logging.getLogger("late").warning, "gone with https://user:hunter2@host/")
            @hookimpl
            def analyze():
                return Analysis.benign()
            """,
        )
        ended = psengine("analyze", "data:,x", env={"LOG_FORMAT": "json"})
        assert [json.loads(line)["message"] for line in ended.err.splitlines()] == ["gone with https://***@host/"]

    def test_an_interrupt_leaves_whole_lines(self, psengine, engine_site, work):
        engine_site.add(
            "endless",
            """
            import pathlib
            from psengine_host import Analysis, hookimpl
            @hookimpl
            def analyze(context):
                number = 0
                while True:
                    context.logger.warning("x" * 300)
                    number += 1
                    if number == 50:
                        pathlib.Path("ready").touch()
            """,
        )
        with open(work / "log", "wb") as log:
            process = psengine.start("analyze", "data:,x", stderr=log, env={"LOG_FORMAT": "json"})
            ended = psengine.interrupted(process, work / "ready", signal.SIGTERM)
        assert ended.code == 143
        *lines, last = (work / "log").read_text().splitlines()
        assert last == "interrupted"
        assert {json.loads(line)["message"] for line in lines} == {"x" * 300}
        assert len(lines) >= 50


LEAKY = """
    import logging
    from psengine_host import Analysis, hookimpl

    logger = logging.getLogger(__name__)

    @hookimpl
    def setup(context):
        config = dict(context.config)
        logger.info("with %r and %s", config, context.environment.get("API_KEY"), extra=config)
        yield {}

    @hookimpl
    def analyze(bounty, artifact, context):
        logger.debug("%r for %s", bounty, bounty.response_url, extra={"wire": bounty.to_wire()})
        logger.debug("made with qwertyuiop-webhook and from-the-file-4711")
        logger.debug("proxy http://user:hunter2@proxy:3128, Authorization: Bearer %s", "0123456789abcdef")
        if b"BAD" in artifact.read_bytes():
            raise ValueError(f"no scan of {bounty.artifact_uri} with {context.config['licence_key']}")
        return Analysis.benign()
"""
"""An engine that logs all it knows."""
SETTINGS = """
[engines.leaky]
licence_key = "LICENCE-0815-4711"
mode = "deep"

[webhook]
secret = "from-the-file-4711"
"""
SECRETS = ("LICENCE-0815-4711", "qwertyuiop-webhook", "letmein-4711", "from-the-file-4711")


class TestNothingSecret:
    @pytest.fixture
    def run(self, psengine, engine_site, work):
        engine_site.add("leaky", LEAKY)
        (work / "psengine.toml").write_text(SETTINGS)

        def run(*arguments, log_format):
            env = {
                "LOG_FORMAT": log_format,
                "PSENGINE_NETWORK_ALLOW": "127.0.0.1",
                "OTHER_WEBHOOK_SECRET": "qwertyuiop-webhook",
                "LEAKY_API_KEY": "letmein-4711",
                "HTTPS_PROXY": "http://someone:hunter2@127.0.0.1:1",
            }
            ended = psengine("--debug", "-vvv", "--config", "psengine.toml", *arguments, env=env)
            assert "leaky" in ended.err
            assert "deep" in ended.err
            log = ended.err
            if log_format == "json":
                lines = [line for line in log.splitlines() if line.startswith("{")]
                assert lines
                assert all(json.loads(line)["timestamp"] for line in lines)
                log = "\n".join(lines)
            else:
                log = "\n".join(line for line in log.splitlines() if line.startswith(("psengine: ", "    ")))
            for secret in (*SECRETS, "hunter2", "0123456789abcdef"):
                assert secret not in log
            return ended, log

        return run

    @pytest.mark.parametrize("log_format", ["text", "json"])
    @pytest.mark.parametrize("prefix", [b"", b"BAD "])
    def test_no_artifact_of_a_data_uri(self, run, log_format, prefix):
        content = prefix + eicar() + b" and more of it"
        encoded = b64encode(content).decode()
        ended, log = run("analyze", f"data:application/octet-stream;base64,{encoded}", log_format=log_format)
        assert (ended.row["error"] is not None) == bool(prefix)
        assert encoded[:8] not in log
        assert encoded[-12:-4] not in log
        assert "EICAR" not in log

    def test_the_traceback_of_an_engine_that_debug_shows(self, run):
        ended, _ = run("analyze", "data:,BAD-artifact", log_format="text")
        assert ended.row["error"] is not None
        assert "Traceback (most recent call last):" in ended.err
        _, _, traceback = ended.err.partition("Traceback (most recent call last):")
        assert "ValueError: no scan of data:,…" in traceback
        assert "LICENCE-0815-4711" not in traceback
        assert "BAD-artifact" not in traceback.partition("ValueError: no scan of")[2].splitlines()[0]

    @pytest.mark.parametrize("log_format", ["text", "json"])
    @pytest.mark.parametrize("page", ["good", "bad", "gone"])
    def test_no_password_and_no_nonce_of_urls(self, run, site, work, log_format, page):
        site.pages = {
            "/good?key=nonce-1": (200, b"fine"),
            "/bad?key=nonce-1": (200, b"BAD"),
            "/answer?n=nonce-2": (500, b""),
        }
        uri = site.url.replace("//", "//someone:hunter2@") + f"/{page}?key=nonce-1"
        bounty = {
            "id": 2**70, "artifact_type": "FILE", "artifact_uri": uri, "response_url": f"{site.url}/answer?n=nonce-2",
            "expiration": "2099-01-01T00:00:00Z",
        }  # fmt: skip
        (work / "bounty.json").write_text(json.dumps(bounty))
        ended, log = run("analyze", "-t", "bounty", "--deliver", "bounty.json", log_format=log_format)
        assert ended.code == 3
        assert "someone" not in log
        assert "nonce" not in log

    @pytest.mark.parametrize("log_format", ["text", "json"])
    def test_no_secret_where_nothing_answers(self, run, log_format):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            ended, log = run("analyze", f"http://u:hunter2@127.0.0.1:{port}/?nonce-3", "data:,x", log_format=log_format)
        assert ended.code == 3
        assert "nonce-3" not in log

    @pytest.mark.parametrize("options", [[], ["--debug"]])
    def test_no_secret_in_a_bug_s_message_and_traceback(self, psengine, engine_site, options):
        engine_site.add(
            "meddling",
            """
            from psengine_host import Analysis, hookimpl
            from psengine_host.cli import scan

            class Row:
                def __getattr__(self, name):
                    raise RuntimeError("amqp://user:hunter2@broker is gone, and letmein-4711")

            @hookimpl
            def analyze():
                scan.Row = Row()  # in its own process, the host itself fails on the next row
                return Analysis.benign()
            """,
        )
        process = psengine.start(
            *options, "analyze", "--backend", "local", "data:,x", "data:,y", env={"MEDDLING_API_KEY": "letmein-4711"}
        )
        _, err = process.communicate(timeout=60)
        text = err.decode()
        assert process.returncode == 3
        assert "RuntimeError: amqp://***@broker is gone, and ***" in text.splitlines()[-1]
        assert ("Traceback" in text) == bool(options)
        assert "hunter2" not in text
        assert "letmein" not in text
