"""The engine in the host: from ``setup`` to the answer."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psengine_yara
import pytest
from psengine_yara.engine import open_rules

from psengine_host import Artifact, EngineError, Host
from psengine_host.engines.found import ENGINES_GROUP, Catalog, FoundEngine
from psengine_host.errors import EngineFault
from psengine_host.settings import Settings
from psengine_host.testing import session

MARKED = 'rule marked { meta: family = "Marked" confidence = 90 strings: $a = "a-mark-of-ours" condition: $a }'
SLOW = "rule slow { condition: for all i in (0 .. filesize) : (for all j in (0 .. filesize) : (i + j >= 0)) }"


@pytest.fixture
def rules(places):
    """The engine's own rules folder."""
    folder = places / "data" / "rules"
    folder.mkdir()
    return folder


@pytest.fixture
def hosted(places):
    """Makes hosts whose only engine is this one."""
    hosts = []

    def make(timeout=None, **config):
        catalog = Catalog([FoundEngine("yara", "psengine_yara", ENGINES_GROUP, "psengine-yara", "0")])
        config.setdefault("packages", False)
        host = Host(Settings(engines={"yara": config}), catalog=catalog, timeout=timeout)
        hosts.append(host)
        return host

    yield make
    for host in hosts:
        host.close()


def test_importing_the_engine_loads_no_yara_x_and_no_rule():
    script = "import sys, psengine_yara; print([m for m in ('yara_x', 'psengine_yara.engine') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_a_malicious_file_and_a_benign_one_in_the_host(hosted, pairs, tmp_path):
    host = hosted()
    bad, good = tmp_path / "bad.php", tmp_path / "good.php"
    for path, data in zip((bad, good), pairs["PHP_Command_From_Request"], strict=True):
        path.write_bytes(data)
    outcome = host.analyze(bad, engine="yara")
    assert outcome.failure is None
    analysis = outcome.analysis
    assert (analysis.verdict, analysis.malware_family, analysis.confidence) == ("malicious", "PHP-Webshell", 0.9)
    assert analysis.comments == (
        "rule PHP_Command_From_Request [webshell php]: PHP that runs a command line from the request",
    )
    assert analysis.bid > 0
    assert analysis.metadata.product == "YARA-X"
    assert analysis.metadata.scanner.signatures_version.startswith("2026.11.25-")
    assert host.analyze(good, engine="yara").analysis.verdict == "benign"


def test_an_artifact_over_the_size_is_declined_by_the_host(hosted, tmp_path, pairs):
    large = tmp_path / "large"
    large.write_bytes(pairs["EICAR_Test_File"][0] + bytes(2000))
    analysis = hosted(max_artifact_size=1000).analyze(large, engine="yara").analysis
    assert analysis.verdict == "unknown"
    assert analysis.comments[0] == "SKIPPED"


def test_a_url_is_declined(hosted):
    analysis = hosted().analyze(Artifact.from_url("https://example.invalid/"), engine="yara").analysis
    assert analysis.comments[0] == "SKIPPED:TYPE-UNSUPPORTED"


def test_a_scan_that_takes_too_long_is_the_scanners_fault(hosted, rules):
    (rules / "slow.yar").write_text(SLOW)
    outcome = hosted(pack=False, scan_timeout=1).analyze(bytes(200_000), engine="yara")
    assert outcome.analysis.verdict == "unknown"
    assert (
        "the scan of 200000 bytes took longer than 1 s; raise scan_timeout in [engines.yara]" in outcome.failure.message
    )


def test_the_deadline_of_a_bounty_limits_the_scan(running, rules):
    (rules / "slow.yar").write_text(SLOW)
    engine = running(pack=False)
    began = time.monotonic()
    with pytest.raises(EngineError, match="sample: the scan of 200000 bytes took longer than 1 s"):
        engine.session.scan(bytes(200_000), name="sample", deadline=began + 1.9)
    assert time.monotonic() - began < 10
    with pytest.raises(EngineError, match="sample: no time was left to scan it"):
        engine.session.scan(b"", name="sample", deadline=began)


def test_rules_of_the_engines_data_folder_are_used(running, rules):
    (rules / "mine.yar").write_text(MARKED)
    engine = running()
    assert engine.analyze(b"has a-mark-of-ours").malware_family == "Marked"
    assert engine.analyze(b"has none").verdict == "benign"


def test_the_variable_goes_before_the_setting_and_both_before_the_folder(running, rules, places, monkeypatch):
    for name in ("variable", "setting", "folder"):
        place = rules if name == "folder" else places / name
        place.mkdir(exist_ok=True)
        (place / "r.yar").write_text(f'rule r {{ meta: family = "{name}" condition: true }}')
    engine = running(pack=False)
    assert engine.analyze(b"x").malware_family == "folder"
    engine = running(pack=False, rules=[str(places / "setting")])
    assert engine.analyze(b"x").malware_family == "setting"
    engine = running(pack=False, rules=str(places / "setting"))
    assert engine.analyze(b"x").malware_family == "setting"
    monkeypatch.setenv("YARA_RULES", str(places / "variable"))
    engine = running(pack=False, rules=[str(places / "setting")])
    assert engine.analyze(b"x").malware_family == "variable"


def test_the_variable_is_read_from_the_environment_that_the_context_has(places, monkeypatch):
    for name in ("process", "context"):
        (places / f"{name}.yar").write_text(f"rule {name} {{ condition: true }}")
    monkeypatch.setenv("YARA_RULES", str(places / "process.yar"))
    config = {"pack": False, "packages": False}
    with session(psengine_yara, config=config, environ={"YARA_RULES": str(places / "context.yar")}) as engine:
        assert engine.analyze(b"x").comments == ("rule context",)


def test_the_variable_is_a_list(running, places, monkeypatch):
    for name in ("one", "two"):
        (places / f"{name}.yar").write_text(f"rule {name} {{ condition: true }}")
    monkeypatch.setenv("YARA_RULES", os.pathsep.join([str(places / "one.yar"), "", str(places / "two.yar")]))
    engine = running(pack=False)
    assert engine.analyze(b"x").comments == ("rule one", "rule two")


def test_a_broken_file_is_warned_of_and_handed_on_and_the_rest_works(running, rules, caplog):
    (rules / "good.yar").write_text(MARKED)
    (rules / "broken.yar").write_text("rule broken {\n  condition: $nothing\n}\n")
    engine = running()
    reason = "line 2: unknown pattern `$nothing` (this pattern is not declared in the `strings` section)"
    message = f"{rules}/broken.yar: {reason}"
    assert f"rules skipped: {message}" in caplog.messages
    (skipped,) = engine.context.shared["skipped"]
    assert f"{skipped['source']}: {skipped['reason']}" == message
    assert engine.context.shared["skipped_count"] == 1
    assert engine.analyze(b"has a-mark-of-ours").verdict == "malicious"


def test_bad_metadata_is_warned_of_at_setup_and_harmless_in_a_scan(running, rules, caplog):
    (rules / "odd.yar").write_text('rule odd { meta: verdict = "evil" confidence = "lots" family = 3 condition: true }')
    engine = running(pack=False)
    assert sum(message.startswith("rule metadata: ") for message in caplog.messages) == 3
    analysis = engine.analyze(b"x")
    assert (analysis.verdict, analysis.malware_family, analysis.confidence) == ("suspicious", "odd", 0.5)


def test_many_broken_files_do_not_flood_the_log_nor_what_is_handed_on(running, rules, caplog):
    (rules / "good.yar").write_text(MARKED)
    for number in range(70):
        (rules / f"broken{number:02}.yar").write_text("rule")
    engine = running(pack=False)
    assert sum(message.startswith("rules skipped: ") for message in caplog.messages) == 51
    assert "rules skipped: 20 more like these" in caplog.messages
    assert (len(engine.context.shared["skipped"]), engine.context.shared["skipped_count"]) == (50, 70)


def test_a_misspelt_setting_is_warned_of(running, caplog):
    running(rule="folder")
    assert "[engines.yara] rule: no such setting; did you mean 'rules'?" in caplog.messages


def test_no_rule_at_all_is_an_error_that_says_what_to_do(running, rules):
    (rules / "broken.yar").write_text("rule")
    with pytest.raises(
        EngineFault, match="there is no rule to scan with: set YARA_RULES to a folder of rules; 1 were skipped"
    ):
        running(pack=False)


def test_a_setting_that_cannot_be_stops_the_engine_with_its_name(running):
    with pytest.raises(EngineFault, match=r"\[engines.yara\] scan_timeout: expected `float` > 0.0"):
        running(scan_timeout=-1)


def test_a_state_folder_that_cannot_be_is_named(running, places, monkeypatch):
    (places / "file").write_text("in the way")
    monkeypatch.setenv("YARA_STATE_HOME", str(places / "file"))
    with pytest.raises(
        EngineFault, match=r"/file: compiled rules cannot be written \(file exists\); set YARA_STATE_HOME"
    ):
        running()


def test_update_takes_a_rule_that_was_added(running, rules):
    engine = running()
    (rules / "mine.yar").write_text(MARKED)
    assert engine.analyze(b"has a-mark-of-ours").verdict == "benign"
    psengine_yara.update(engine.context)
    # As the host does: setup runs as a new generation, with a context that has nothing shared yet.
    context = engine.context.replace(shared=psengine_yara.setup(engine.context.replace(shared={})))
    assert context.shared["signatures_version"] != engine.context.shared["signatures_version"]
    assert [each.family for each in open_rules(context).scan(b"has a-mark-of-ours", name="x")] == ["Marked"]
    # Workers of the generation before keep what they had.
    assert engine.analyze(b"has a-mark-of-ours").verdict == "benign"


def test_update_compiles_anew_although_nothing_changed(running, places):
    engine = running()
    manifest = next((places / "state").glob("rules-*.json"))
    before = manifest.stat().st_ino
    psengine_yara.setup(engine.context)
    assert manifest.stat().st_ino == before
    psengine_yara.update(engine.context)
    assert manifest.stat().st_ino != before


def damage(engine):
    path = Path(engine.context.shared["folder"], engine.context.shared["blob"])
    path.write_bytes(path.read_bytes()[:-1])
    return path


def test_a_worker_that_finds_its_rules_damaged_compiles_the_same_ones(running, rules, caplog):
    (rules / "mine.yar").write_text(MARKED)
    engine = running(pack=False)
    path = damage(engine)
    opened = open_rules(engine.context)
    assert f"{path}: its content is not what was written; compiled again in memory" in caplog.messages
    assert [each.family for each in opened.scan(b"has a-mark-of-ours", name="x")] == ["Marked"]


def test_a_worker_never_scans_with_other_rules_than_its_generation(running, rules):
    (rules / "mine.yar").write_text(MARKED)
    engine = running(pack=False)
    damage(engine)
    (rules / "later.yar").write_text("rule later { condition: true }")
    with pytest.raises(EngineError, match=r"the rule files have changed since; run 'psengine update', or start again"):
        open_rules(engine.context)


def test_a_session_scans_in_several_threads(running, pairs):
    engine = running()
    found = []

    def scan():
        for _ in range(20):
            found.extend(each.rule for each in engine.session.scan(pairs["EICAR_Test_File"][0], name="x"))

    threads = [threading.Thread(target=scan) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["EICAR_Test_File"] * 80


IN_A_THREAD = """
import sys, threading
from pathlib import Path
from psengine_host import Host
from psengine_host.engines.found import ENGINES_GROUP, Catalog, FoundEngine
from psengine_host.settings import Settings

catalog = Catalog([FoundEngine("yara", "psengine_yara", ENGINES_GROUP, "psengine-yara", "0")])
config = {"packages": False, "pack": False, "scan_timeout": 1, "rules": sys.argv[2]}
host = Host(Settings(engines={"yara": config}), catalog=catalog)
scanned, over = threading.Event(), threading.Event()
outcomes = []

def scan():
    outcomes.append(host.analyze(b"has a-mark-of-ours" + bytes(int(sys.argv[3])), engine="yara"))
    scanned.set()

def scan_and_live_on():
    scan()
    over.wait(60)

if sys.argv[1] == "scans":
    thread = threading.Thread(target=scan_and_live_on)
    thread.start()
    scanned.wait(60)
    host.close()
else:
    scan()
    thread = threading.Thread(target=host.close)
    thread.start()
outcome = outcomes.pop()
print(outcome.analysis.verdict, outcome.failure.kind if outcome.failure else None)
del outcome
over.set()
thread.join()
"""


@pytest.mark.parametrize("other", ["scans", "closes"])
@pytest.mark.parametrize(("rule", "size", "said"), [(MARKED, 0, "malicious None"), (SLOW, 200_000, "unknown engine")])
def test_a_session_is_closed_cleanly_whichever_thread_scanned(places, other, rule, size, said):
    (places / "r.yar").write_text(rule)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", IN_A_THREAD, other, str(places / "r.yar"), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_sessions_with_other_rules_take_turns_in_one_thread(running, rules):
    (rules / "mine.yar").write_text(MARKED)
    one = running(pack=False)
    (rules / "mine.yar").write_text(MARKED.replace('"Marked"', '"Changed"'))
    two = running(pack=False)
    found = [engine.analyze(b"has a-mark-of-ours").malware_family for engine in (one, two, one, two)]
    assert found == ["Marked", "Changed", "Marked", "Changed"]


def test_info_says_versions_and_the_size_taken(running):
    engine = running(max_artifact_size=12345)
    from importlib.metadata import version

    assert engine.info.engine_version == version("yara-x")
    assert engine.info.max_artifact_size == 12345
    assert engine.info.signatures_version.startswith(f"{engine.info.signatures_date:%Y.%m.%d}-")


def test_private_rules_are_in_no_answer(running, pairs):
    engine = running()
    analysis = engine.analyze(pairs["PDF_Launch_Program"][0])
    assert [comment.split()[1] for comment in analysis.comments] == ["PDF_Launch_Program"]
