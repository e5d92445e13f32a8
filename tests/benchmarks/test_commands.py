"""What running a program costs, beside the standard library's way with the same limits and none of the cleaning up."""

import subprocess
import time

import pytest

from psengine_host.toolkit.subprocesses import run_command

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

ROUNDS = 40
RUNS = 25
BOUND = 1.3


def _several(run):
    def one_round():
        began = time.perf_counter()
        for _ in range(RUNS):
            run()
        return (time.perf_counter() - began) / RUNS

    return one_round


@pytest.mark.parametrize(
    ("what", "command"), [("true", ["true"]), ("1 MB of output", ["head", "-c", "1000000", "/dev/zero"])]
)
def test_a_command_costs_little_more_than_the_bare_call(what, command, in_turns, figure):
    def bare():
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)

    rounds = in_turns(ROUNDS, bare=_several(bare), host=_several(lambda: run_command(command)))
    ratio = rounds.ratio("host", "bare")
    figure(
        f"`run_command`, {what}",
        f"{rounds.median('host') * 1e3:.2f} ms",
        f"`subprocess.run`: {rounds.median('bare') * 1e3:.2f} ms",
        f"{ratio:.2f} times that",
        f"at most {BOUND}",
    )
    assert ratio <= BOUND
