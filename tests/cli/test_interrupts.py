"""Signals: the first is raised or held back, none is lost."""

import os
import signal
import sys
import threading

import pytest

from psengine_host.cli.interrupts import (
    SIGNALS,
    Interrupted,
    Interrupts,
    complain_of_no_lost_interrupt,
    die_quietly_of_interrupts,
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_raised_where_the_program_is_and_remembered(number):
    with Interrupts() as interrupts:
        with pytest.raises(Interrupted):
            signal.raise_signal(number)
        assert interrupts.signal is number
        assert interrupts.exit_code == 128 + number


def test_while_held_the_first_waits_for_the_end_and_the_second_does_not():
    done = []

    def hold(interrupts, *numbers):
        with interrupts.held():
            for number in numbers:
                signal.raise_signal(number)
            done.append(numbers)

    with Interrupts() as interrupts:
        with pytest.raises(Interrupted):
            hold(interrupts, signal.SIGTERM)
        assert done == [(signal.SIGTERM,)]
        assert interrupts.exit_code == 143
    with Interrupts(same=0.0) as interrupts:
        with pytest.raises(Interrupted):
            hold(interrupts, signal.SIGTERM, signal.SIGINT)
        assert done == [(signal.SIGTERM,)]
        assert interrupts.signal is signal.SIGTERM


def test_what_comes_within_a_second_says_the_same_also_to_the_outer_one():
    told = []
    with Interrupts(same=3_600.0) as outer:
        with Interrupts(lambda: told.append(True), same=3_600.0) as inner:
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGTERM)
            with inner.held():
                signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert told == [True]
        assert (inner.exit_code, outer.exit_code) == (143, 143)


def test_while_the_handlers_are_given_back_a_signal_is_remembered_and_not_raised():
    before = [signal.getsignal(number) for number in SIGNALS]
    given_back = signal.signal

    def slow(number, handler):
        signal.raise_signal(SIGNALS[-1])  # ours still
        return given_back(number, handler)

    with pytest.MonkeyPatch.context() as patch, Interrupts() as interrupts:
        patch.setattr(signal, "signal", slow)
    assert interrupts.signal is SIGNALS[-1]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_was_raised_before_is_not_raised_again_by_holding():
    with Interrupts() as interrupts:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        with interrupts.held():
            done = True
    assert done


def test_who_is_told_of_the_first_signal_raises_by_itself_and_the_second_comes_at_once():
    told = []
    with Interrupts(same=0.0) as interrupts:
        with interrupts.told(lambda: told.append(interrupts.signal)):
            signal.raise_signal(signal.SIGTERM)
            assert told == [signal.SIGTERM]
            with pytest.raises(Interrupted):
                signal.raise_signal(signal.SIGINT)
        assert told == [signal.SIGTERM]
        assert interrupts.exit_code == 143
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_what_is_held_is_raised_at_its_end_also_where_somebody_is_told():
    done = []

    def hold(interrupts):
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            done.append(True)

    with Interrupts() as interrupts, interrupts.told(lambda: done.append("told")):
        with pytest.raises(Interrupted):
            hold(interrupts)
        assert done == ["told", True]


def test_the_handlers_before_come_back_and_ignored_signals_stay_ignored():
    ours = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        before = signal.getsignal(signal.SIGINT)
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGINT) != before
        assert interrupts.signal is None
        assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, ours)


def test_in_another_thread_it_changes_nothing():
    seen = []

    def run():
        with Interrupts() as interrupts:
            seen.append((signal.getsignal(signal.SIGTERM), interrupts.exit_code))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(before, 130)]


def test_the_outer_one_knows_what_ended_the_inner_one():
    with Interrupts(same=0.0) as outer:
        with Interrupts() as inner, pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        assert (inner.exit_code, outer.exit_code) == (143, 143)
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        assert outer.signal is signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_forked_child_dies_of_the_signal_and_raises_nothing(number):
    with Interrupts() as interrupts:
        child = os.fork()
        if not child:
            try:
                signal.raise_signal(number)
            finally:
                os._exit(7)  # reached only if the signal did not end it
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status)
        assert os.WTERMSIG(status) == number
        assert interrupts.signal is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_forked_child_that_waits_dies_of_the_signal_however_early_it_comes(number):
    with Interrupts():
        for _ in range(50):
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                os.read(reading, 1)  # which a handler of Python's could not end: it would run afterwards
                os._exit(7)
            os.kill(child, number)  # perhaps before it has run at all
            _, status = os.waitpid(child, 0)
            os.close(reading)
            os.close(writing)
            assert os.WIFSIGNALED(status)
            assert os.WTERMSIG(status) == number


def test_a_fork_leaves_other_handlers_and_the_mask_as_they_are():
    def own(*_):
        """A handler that is not ours."""

    before = signal.signal(signal.SIGHUP, own)
    try:
        with Interrupts():
            signal.signal(signal.SIGHUP, own)
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            child = os.fork()
            if not child:
                kept = signal.getsignal(signal.SIGHUP) is own and signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
                os._exit(0 if kept else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_interrupt_where_python_drops_exceptions_is_not_printed_and_others_are(monkeypatch):
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: dropped.append(unraisable.exc_type))
    complain_of_no_lost_interrupt()

    class Raising:
        def __init__(self, error):
            self.error = error

        def __del__(self):
            raise self.error

    Raising(Interrupted())
    Raising(ValueError())
    assert dropped == [ValueError]


def test_ctrl_c_ends_a_program_quietly_before_it_handles_it_unless_it_is_ignored():
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler, expected in ((signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)):
            signal.signal(signal.SIGINT, handler)
            die_quietly_of_interrupts()
            assert signal.getsignal(signal.SIGINT) is expected
    finally:
        signal.signal(signal.SIGINT, before)
