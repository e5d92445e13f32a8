"""Does to its own process what its artifact names, and answers all the same."""

import atexit
import gc
import logging
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings

from psengine_host import Analysis, hookimpl

JOURNAL = os.environ["JOURNAL"]


def note(*words):
    with open(JOURNAL, "ab", buffering=0) as journal:
        journal.write(" ".join(map(str, words)).encode() + b"\n")


def close_standard():
    os.closerange(0, 3)


def close_python_streams():
    sys.stdin.close()
    sys.stdout.close()
    sys.stderr.close()


def no_streams():
    sys.stdin = sys.stdout = sys.stderr = None


def use_0_to_2():
    os.closerange(0, 3)
    note("opened", *(os.open("/dev/null", os.O_RDWR) for _ in range(3)))


def chdir_root():
    os.chdir("/")


def chdir_nowhere():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def remove_own_folder():
    shutil.rmtree(os.getcwd())


def handlers():
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, signal.SIG_IGN if number % 2 else lambda *_: None)
        except (OSError, ValueError):
            continue


def ignore_children():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def block_signals():
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())


def threads():
    for daemon in (True, False):
        threading.Thread(target=threading.Event().wait, daemon=daemon).start()


def busy_thread():
    def spin():
        while True:
            pass

    threading.Thread(target=spin, daemon=True).start()


def failing_thread():
    threading.Thread(target=lambda: 1 / 0).start()


def umask():
    os.umask(0o777)


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))


def environment():
    os.environ.clear()


def recursion():
    sys.setrecursionlimit(120)


def default_timeout():
    socket.setdefaulttimeout(0.0001)


def no_collector():
    gc.disable()
    gc.freeze()


def no_logging():
    logging.disable()
    logging.shutdown()
    logging.getLogger().handlers.clear()


def at_exit():
    atexit.register(time.sleep, 600)


def error_warnings():
    warnings.simplefilter("error")


def nice():
    os.nice(5)


def trace():
    sys.settrace(lambda *_: None)
    threading.settrace(lambda *_: None)


def hide_modules():
    for name in [name for name in sys.modules if name.startswith("psengine_host")]:
        del sys.modules[name]


def fork_that_comes_back():
    if os.fork() == 0:
        note("fork", os.getpid())


def fork_that_raises():
    if os.fork() == 0:
        note("fork", os.getpid())
        raise RuntimeError("in the fork")


def fork_that_exits():
    if os.fork() == 0:
        note("fork", os.getpid())
        sys.exit(1)


def fork_in_a_thread():
    def fork():
        if os.fork() == 0:
            note("fork", os.getpid())

    thread = threading.Thread(target=fork)
    thread.start()
    thread.join()


def wait_for_anybody():
    child = subprocess.Popen(["true"])
    assert os.waitpid(-1, 0)[0] == child.pid


def new_handler():
    logging.basicConfig(level=logging.DEBUG, force=True)


def blocking_channel():
    os.set_blocking(3, False)


WAYS = {
    function.__name__: function
    for function in (
        close_standard,
        close_python_streams,
        no_streams,
        use_0_to_2,
        chdir_root,
        chdir_nowhere,
        remove_own_folder,
        handlers,
        ignore_children,
        block_signals,
        threads,
        busy_thread,
        failing_thread,
        umask,
        few_files,
        environment,
        recursion,
        default_timeout,
        no_collector,
        no_logging,
        at_exit,
        error_warnings,
        nice,
        trace,
        hide_modules,
        fork_that_comes_back,
        fork_that_raises,
        fork_that_exits,
        fork_in_a_thread,
        wait_for_anybody,
        new_handler,
        blocking_channel,
    )
}


def log_under_a_new_name(number):
    logging.getLogger(f"misbehaving.{number}").warning("hello from %s", number)


def close_channel():
    os.close(3)


def close_channel_and_wait():
    os.close(3)
    time.sleep(600)


def close_everything():
    os.closerange(0, 4_096)


def replace_channel():
    os.close(3)
    note("opened", os.open(JOURNAL, os.O_WRONLY | os.O_APPEND))


def shut_channel():
    socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RDWR)


def alarm():
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    while True:
        time.sleep(600)


FATAL = {
    function.__name__: function
    for function in (close_channel, close_channel_and_wait, close_everything, replace_channel, shut_channel, alarm)
}


@hookimpl
def analyze(artifact):
    way, _, size = artifact.read_bytes().decode().partition(" ")
    note("analyze", way, os.getpid())
    if way == "log":
        log_under_a_new_name(size)
    (WAYS | FATAL).get(way, lambda: None)()
    return Analysis.benign(comments=[way, str(os.getpid()), "x" * int(size or 0)])
