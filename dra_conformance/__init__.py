"""The suite as an installed package: the command ``dra-conformance``, and a plugin of pytest.

The suite's own packages (``harness``, ``suites``, …) import each other by these names, and none of
them may lie in site-packages, where the names belong to nobody. So the wheel carries them, as they
are in a checkout, in the folder ``tree`` of this package; it is put on ``sys.path`` when the suite
is started, and only then.

The command imports this before it starts pytest, which need not warn of that (it offers to rewrite
the assertions of packages with plugins): PYTEST_DONT_REWRITE
"""

from pathlib import Path

_HERE = Path(__file__).parent

TREE = _HERE / "tree" if (_HERE / "tree").is_dir() else _HERE.parent
"""The folder that has the suite's packages: in a wheel below this one, in a checkout above it."""
