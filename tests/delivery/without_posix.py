"""Runs ``dra-conformance`` with what Windows lacks taken away: ``python without_posix.py VERB …``.

Packages of others know Windows by themselves, and the standard library has another half for it; so
they are imported first, and what they need of Linux at run time stays.
"""

import importlib
import os
import signal
import sys

for name in ("jinja2", "junit_xml", "kubernetes.client", "pydantic", "pytest", "yaml"):
    importlib.import_module(name)
for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None  # type: ignore[assignment] # to import it fails
ON_WINDOWS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
for name in dir(signal):
    if name.startswith("SIG") and name.isupper() and name not in ON_WINDOWS:
        delattr(signal, name)
for name in ("alarm", "pause", "pthread_kill", "pthread_sigmask", "setitimer", "sigtimedwait"):
    delattr(signal, name)
for name in ("fork", "getuid", "geteuid", "getgid", "killpg", "setsid", "statvfs", "uname"):
    delattr(os, name)

os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those of others that are installed here
main = importlib.import_module("dra_conformance.__main__").main
sys.exit(main(sys.argv[1:]))
