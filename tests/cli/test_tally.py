from psengine_host.analysis import Analysis, Verdict
from psengine_host.cli.rows import Row
from psengine_host.cli.tally import Tally


def row(engine, verdict, *, first):
    made = Row("a.bin", engine, None, Analysis(verdict=verdict), None, 0.0, 10)
    made.first = first
    return made


def test_with_several_engines_the_counts_are_said_to_be_of_answers():
    tally = Tally()
    tally.add(row("one", Verdict.MALICIOUS, first=True))
    tally.add(row("two", Verdict.BENIGN, first=False))
    assert tally.summary().startswith(
        "1 artifact, 2 engines, 2 answers: 1 malicious, 0 suspicious, 1 benign, 0 unknown, 0 errors ("
    )
    assert (tally.artifacts, tally.bytes) == (1, 10)


def test_with_one_engine_an_answer_is_an_artifact():
    tally = Tally()
    tally.add(row("one", Verdict.SUSPICIOUS, first=True))
    assert tally.summary().startswith("1 artifact, 1 engine: 0 malicious, 1 suspicious")


def test_a_malicious_answer_to_a_check_is_no_finding():
    tally = Tally()
    tally.add(row("one", Verdict.MALICIOUS, first=True), expected=True)
    assert not tally.malicious
    tally.add(row("one", Verdict.MALICIOUS, first=True))
    assert tally.malicious
