"""For engine authors: what wraps a scanner that is a program, a Windows program or a daemon.

Import the part you need (``from psengine_host.toolkit.subprocesses import run_command``); nothing is imported here.
"""
