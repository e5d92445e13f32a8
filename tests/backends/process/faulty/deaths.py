"""Dies in the way that its artifact names; says ``benign`` to all else.

``once NAME KEY`` dies so only where nothing died over it before.
"""

import ctypes
import os
import signal
import sys
import threading

from psengine_host import Analysis, hookimpl

LIBRARY = ctypes.CDLL(None)


def segfault():
    ctypes.string_at(0)


def real_segfault():
    # faulthandler is not in the way of the kernel's own signal.
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait()


def exit_0():
    os._exit(0)


def exit_7():
    os._exit(7)


def c_exit():
    LIBRARY._exit(0)


def abort():
    LIBRARY.abort()


def divide():
    os.kill(os.getpid(), signal.SIGFPE)


def real_time():
    os.kill(os.getpid(), signal.SIGRTMIN + 3)


def sys_exit():
    sys.exit(3)


def kill_from_thread():
    threading.Thread(target=kill).start()
    threading.Event().wait()


def exit_from_thread():
    threading.Thread(target=os._exit, args=(0,)).start()
    threading.Event().wait()


WAYS = {
    function.__name__: function
    for function in (
        segfault,
        real_segfault,
        kill,
        terminate,
        exit_0,
        exit_7,
        c_exit,
        abort,
        divide,
        real_time,
        sys_exit,
        kill_from_thread,
        exit_from_thread,
    )
}


def note(*words):
    with open(os.environ["JOURNAL"], "ab", buffering=0) as journal:
        journal.write(" ".join(map(str, words)).encode() + b"\n")


def noted():
    with open(os.environ["JOURNAL"], encoding="utf-8") as journal:
        return journal.read().splitlines()


@hookimpl
def analyze(artifact):
    text = artifact.read_bytes().decode()
    way, _, rest = text.partition(" ")
    seen = f"analyze {text}" in noted()
    note("analyze", text)
    if way == "once" and not seen:
        way = rest.partition(" ")[0]
    if way == "varied":
        (segfault, exit_7, abort)[noted().count("analyze varied") - 1]()
    if way == "die-then-hang":
        if not seen:
            kill()
        threading.Event().wait()
    if way == "remove":
        os.unlink(artifact.path)
        kill()
    if way in WAYS:
        WAYS[way]()
    return Analysis.benign(comments=[text, str(os.getpid())])
