"""Which Wine is taken, what its programs get to see, and what is said when there is none."""

import os
import subprocess

import pytest

from psengine_host.toolkit import wine


def run(*args, **variables):
    """A program under Wine, as an engine would start it."""
    environment = wine.environment({**os.environ, **variables})
    return subprocess.run(wine.command(args), env=environment, capture_output=True, timeout=60, check=False)


@pytest.fixture
def program(tmp_path):
    """Makes an executable file, by its path below tmp_path."""

    def make(name, mode=0o755):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
        return path

    return make


def test_arguments_arrive_as_they_were_given(wine_prefix, windows_program):
    arguments = ["plain", "two words", 'quo"ted', "back\\slash\\", "", "Grüße €", "*.exe", "a&b|c>d%PATH%", 'end\\"']
    done = run(windows_program("echo_arguments"), *arguments)
    assert done.stdout.decode().split("\r\n") == [*arguments, ""]
    assert done.returncode == len(arguments)
    assert done.stderr == b"9 arguments\r\n"


@pytest.mark.parametrize(("code", "seen"), [("0", 0), ("3", 3), ("255", 255), ("256", 1), ("0xffffffff", 255)])
def test_exit_codes_are_cut_to_eight_bits(code, seen, wine_prefix, windows_program):
    assert run(windows_program("exit_code"), code).returncode == seen
