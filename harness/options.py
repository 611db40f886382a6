"""The options of a run, from command line, environment, ``dra.toml`` and defaults, in this order.

A wrong value is refused before anything is created, with the option's name as it was given, the
value, and what would be right.
"""

from __future__ import annotations

import enum
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from embedded.options import Options as EmbeddedOptions
from embedded.options import any_text, one_of, whole_number
from harness.cluster.profile import UNKNOWN, VISIBLE_BY
from harness.cluster.versions import VERSIONS

if TYPE_CHECKING:
    from harness.verdict.expect import Expectations

DEEPEST_LEVEL = 5
USER = 1000
"""As whom the checks' containers run."""


class Impact(enum.StrEnum):
    """How a scenario can be noticed by others who use the cluster."""

    EXHAUST = "exhaust"
    """Takes every free GPU of a node."""
    PRIVILEGED = "privileged"
    """Host namespaces, hostPath, node files."""
    DISRUPT = "disrupt"
    """Restarts driver or kubelet, changes objects that are not the run's."""


NEED_PYTHON = frozenset({Impact.PRIVILEGED, Impact.DISRUPT})
"""Impacts of checks with pods that act on nodes, by programs in Python."""
CONFIG_FILE = "dra.toml"
_EMBEDDED = "embedded_"
"""What the names of the embedded cluster's options begin with."""
CLUSTERS = ("auto", "kubeconfig", "embedded")
APIS = ("auto", *VERSIONS)
WAYS = tuple(way for way in VISIBLE_BY if way != UNKNOWN)
KEEPS = ("never", "failed", "always")
ALLOWABLE = tuple(impact.value for impact in Impact)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_VALUE = re.compile(f"({_LABEL_WORD})?")
_LABEL_KEY = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_LABEL_WORD}")


class OptionError(Exception):
    """An option has a wrong value; ``str()`` names it and says what would be right."""


@dataclass(frozen=True)
class Given:
    """One option as a report shows it."""

    name: str
    value: str
    origin: str
    """Where the value comes from: ``command line``, ``default``, …"""


@dataclass(frozen=True)
class Spec:
    """One option as it is spelled and read."""

    name: str
    default: Any
    parse: Callable[[Any], Any]
    metavar: str
    """Empty: a switch, which takes no value on the command line."""
    help: str


def flag(name: str) -> str:
    """The option on the command line."""
    prefix = "--" if name.startswith(_EMBEDDED) else "--dra-"
    return prefix + _spelled(name).replace("_", "-")


def variable(name: str) -> str:
    """The option as an environment variable."""
    return f"DRA_{_spelled(name).upper()}"


def key(name: str) -> tuple[str, ...]:
    """The option's place in ``dra.toml``."""
    return tuple(_spelled(part).replace("_", "-") for part in _path(name))


def _spelled(name: str) -> str:
    """A name without the underscore that ends one that is a word of Python: ``class_``."""
    return name.rstrip("_")


def _path(name: str) -> tuple[str, ...]:
    """The option's place in `Options`."""
    return ("embedded", name.removeprefix(_EMBEDDED)) if name.startswith(_EMBEDDED) else (name,)


def _scale(value: Any) -> float:
    try:
        scale = float(value)
    except (TypeError, ValueError):
        scale = 0.0
    if isinstance(value, bool) or not 0.01 <= scale <= 100:
        raise ValueError("expected a number from 0.01 to 100")
    return scale


def _duration(value: Any) -> float:
    match = re.fullmatch(r"(\d+)([smh])", str(value))
    if match is None:
        raise ValueError("expected a duration such as 90s, 10m or 2h")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _items(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else any_text(value).split(",")
    items = list(map(str.strip, map(any_text, parts)))
    if not all(items):
        raise ValueError("expected names separated by commas")
    return items


def _allow(value: Any) -> frozenset[Impact]:
    items = _items(value)
    if items == ["none"]:
        return frozenset()
    if not set(items) <= set(ALLOWABLE):
        raise ValueError(f"expected none, or some of {', '.join(ALLOWABLE)} separated by commas")
    return frozenset(map(Impact, items))


def _user(value: Any) -> int | None:
    return None if value == "none" else whole_number(1, 2**31 - 1)(value)


def _checks(value: Any) -> tuple[str, ...]:
    items = _items(value)
    for item in items:
        if not re.fullmatch(r"[A-Z]{2,8}-[0-9]{3}", item):
            raise ValueError(f"{item!r} is no check ID; expected IDs such as IPC-001")
    return tuple(dict.fromkeys(items))


def _switch(value: Any) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in words:
        raise ValueError("expected true or false")
    return words[value.lower()]


def _labels(value: Any) -> Mapping[str, str]:
    if isinstance(value, Mapping):
        pairs = [(str(key), any_text(text)) for key, text in value.items()]
    else:
        parts = [item.partition("=") for item in _items(value)]
        if not all(equals for _, equals, _ in parts):
            raise ValueError("expected KEY=VALUE, several separated by commas")
        pairs = [(key.strip(), text.strip()) for key, _, text in parts]
    for label, text in pairs:
        if not _LABEL_KEY.fullmatch(label) or not _LABEL_VALUE.fullmatch(text):
            raise ValueError(f"{label}={text} is no label of a node")
    return dict(pairs)


def _name(value: Any) -> str:
    if not _NAME.fullmatch(any_text(value)):
        raise ValueError("expected the name of an object: a-z, 0-9 and - within, at most 63")
    return str(value)


def _subdomain(what: str) -> Callable[[Any], str]:
    """What reads the name of an object that may have dots in it."""

    def read(value: Any) -> str:
        parts = any_text(value).split(".")
        if len(value) > 253 or not all(map(_NAME.fullmatch, parts)):
            raise ValueError(f"expected the name of {what}: a-z, 0-9, - and . within, at most 253")
        return str(value)

    return read


def _expectations(value: Any) -> Expectations:
    from harness.verdict import expect  # noqa: PLC0415 - few runs are told what to expect

    try:
        return expect.load(Path(any_text(value)))
    except expect.ExpectationsError as error:
        raise ValueError(str(error)) from error


def _known(value: Any) -> str:
    from harness.cluster.yaml_file import YamlFileError  # noqa: PLC0415 - few runs need it
    from harness.verdict import known  # noqa: PLC0415 - likewise

    if value != "none":
        try:
            known.load(Path(any_text(value)))
        except YamlFileError as error:
            raise ValueError(str(error)) from error
    return str(value)


def _file_to_write(*suffixes: str) -> Callable[[Any], Path]:
    """What reads the name of a file with one of these suffixes."""

    def read(value: Any) -> Path:
        path = Path(any_text(value))
        if path.suffix not in suffixes:
            raise ValueError(f"expected a {suffixes[0]} file")
        if not path.parent.is_dir():
            raise ValueError(f"expected a file in a folder that exists; {path.parent} does not")
        return path

    return read


def _web_address(value: Any) -> str:
    parts = urlsplit(any_text(value))
    good = parts.scheme in ("http", "https") and parts.hostname
    # `port` raises where it is no number.
    if not good or parts.port == 0 or any(map(str.isspace, str(value))):
        raise ValueError("expected http://HOST:PORT or https://HOST")
    if parts.username is not None:
        raise ValueError("expected an address without user and password: reports show it")
    return str(value)


def _run_of_before(value: Any) -> Path:
    path = Path(any_text(value))
    if not path.exists():
        raise ValueError("expected the folder of a run, or its results.json, that exists")
    return path


def _patch(value: Any) -> Mapping[str, Any]:
    path = Path(any_text(value))
    try:
        patch = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"expected a readable JSON or YAML file: {error}") from error
    if not isinstance(patch, dict) or not set(patch) <= {"metadata", "spec"}:
        raise ValueError("expected a merge patch for pods: an object with metadata and spec only")
    return patch


def _option(default: Any, parse: Callable[[Any], Any], metavar: str, text: str) -> Any:
    """Declare an option as it is spelled and read (`Spec`); `resolve` gives it its value."""
    return field(metadata={"default": default, "parse": parse, "metavar": metavar, "help": text})


@dataclass(frozen=True, kw_only=True)
class Options:
    """What was asked for, checked."""

    cluster: str = _option(
        "auto",
        one_of(*CLUSTERS),
        "|".join(CLUSTERS),
        "which cluster: the kubeconfig's current context, else in-cluster credentials (auto), the"
        " kubeconfig's only, or a cluster started on this machine for the run (embedded)",
    )
    context: str = _option(
        "", any_text, "NAME", "a context of the kubeconfig other than its current one"
    )
    driver: str = _option(
        "",
        any_text,
        "NAME",
        "the driver under test, such as gpu.nvidia.com; default: the one that publishes GPUs",
    )
    profile: str = _option(
        "",
        any_text,
        "NAME|FILE",
        "what is known about the driver: one of profiles/, or a file (write =FILE); default: by its"
        " name",
    )
    class_: str = _option(
        "",
        _subdomain("a DeviceClass"),
        "NAME",
        "the DeviceClass to claim devices with (default: the profile's, or the driver's only one)",
    )
    channel_class: str = _option(
        "",
        _subdomain("a DeviceClass"),
        "NAME",
        "a DeviceClass of IMEX channels: containers that share memory by fabric handles get one by"
        " claim (default: the profile's, else none)",
    )
    volume_class: str = _option(
        "",
        _subdomain("a StorageClass"),
        "NAME",
        "the StorageClass of the volume by which two pods pass descriptors (default: the cluster's"
        " default one)",
    )
    visible_by: str = _option(
        "",
        one_of(*WAYS),
        "|".join(WAYS),
        "how a container has a device: CUDA finds it, a node below /dev is there, or a variable"
        " names it (default: as the profile says)",
    )
    api: str = _option(
        "auto",
        one_of(*APIS),
        "|".join(APIS),
        "the version of resource.k8s.io to use (default auto: the first of them that the cluster"
        " serves)",
    )
    level: int = _option(
        4,
        whole_number(0, DEEPEST_LEVEL),
        "N",
        "how deep: 0 read-only, 1 KEP-5970, 2 allocation and sharing, 3 feature-gated, 4 CUDA and"
        " IPC, 5 node contract (default 4); --dra-plan tells how long each took here",
    )
    allow: frozenset[Impact] | None = _option(
        None,
        _allow,
        "IMPACT[,IMPACT]",
        "what checks may do to the cluster: none, or some of exhaust, privileged, disrupt (default"
        " none; all on the embedded cluster)",
    )
    """None: what the place allows (everything on the embedded cluster, nothing elsewhere)."""
    admin: bool = _option(
        False,
        _switch,
        "",
        "claim with admin access only, which takes devices from nobody: for clusters without free"
        " ones; what needs devices of its own is skipped",
    )
    check: tuple[str, ...] = _option(
        (), _checks, "ID[,ID]", "only these checks, and what they build on in the same scenarios"
    )
    expect: Expectations | None = _option(
        None,
        _expectations,
        "FILE",
        "what must be there (nodes, GPUs, features, ...): what is missing fails; write =FILE",
    )
    expect_write: Path | None = _option(
        None,
        _file_to_write(".yaml", ".yml"),
        "FILE",
        "write down what is there now, for --dra-expect; write =FILE",
    )
    known: str = _option(
        "",
        _known,
        "FILE|none",
        "findings that are known, as in docs/known-findings.yaml: they fail, and if nothing else"
        " does, the exit code is 0 (default: that file on the embedded cluster, else none); write"
        " =FILE",
    )
    """Empty: this tree's list on the embedded cluster, elsewhere none."""
    baseline: Path | None = _option(
        None,
        _run_of_before,
        "RUN",
        "an earlier run's folder or results.json: a check that ends worse than there is a"
        " regression (exit code 13); write =RUN",
    )
    replay: Path | None = _option(
        None,
        _run_of_before,
        "RUN",
        "make only the checks that failed in an earlier run, and say of each whether it is fixed;"
        " write =RUN",
    )
    node_selector: Mapping[str, str] = _option(
        {},
        _labels,
        "KEY=VALUE[,...]",
        "use only nodes with these labels (default: all that have devices)",
    )
    namespace: str = _option(
        "",
        _name,
        "NAME",
        "work in this namespace, which exists and is never deleted (default: new ones are made)",
    )
    image: str = _option("", any_text, "IMAGE", "the workload image, as the nodes can pull it")
    python_image: str = _option(
        "",
        any_text,
        "IMAGE",
        "instead of --dra-image, any image with Python and PyCUDA that the nodes can pull: a config"
        " map brings the workload to it",
    )
    shell_image: str = _option(
        "",
        any_text,
        "IMAGE",
        "instead of --dra-image, any image with a shell that the nodes can pull, for drivers whose"
        " devices are seen as nodes below /dev or in variables: a config map brings a script to it",
    )
    image_pull_secret: str = _option(
        "",
        _subdomain("a secret"),
        "NAME",
        "a secret of --dra-namespace to pull the image with",
    )
    run_as: int | None = _option(
        USER,
        _user,
        "UID|none",
        f"the user of the checks' pods, where a check asks for no other (default {USER}); none: ask"
        " for no user, for clusters that give pods one by their namespace's range",
    )
    """None: the pods do not say."""
    upgrade_image: str = _option(
        "",
        any_text,
        "IMAGE",
        "another version of the driver, as the nodes can pull it: what the driver of a node is"
        " changed to for a while (default: the next version, where the embedded cluster has one)",
    )
    pod_patch: Mapping[str, Any] = _option(
        {},
        _patch,
        "FILE",
        "a JSON merge patch (JSON or YAML) applied to every pod of the run; write =FILE",
    )
    output: Path = _option(
        "reports/out", any_text, "DIR", "where reports go (default reports/out); write =DIR"
    )
    metrics: Path | None = _option(
        None,
        _file_to_write(".prom"),
        "FILE",
        "write verdict, counts and duration for Prometheus's textfile collector; write =FILE",
    )
    pushgateway: str = _option(
        "", _web_address, "URL", "send the same to a Prometheus Pushgateway when the run has ended"
    )
    bundle_in_log: bool = _option(
        False,
        _switch,
        "",
        "print the bundle of the run's files at the end of its log; `report fetch` reads it",
    )
    keep: str = _option(
        "never",
        one_of(*KEEPS),
        "|".join(KEEPS),
        "leave the run's objects in the cluster: never, when its part failed, or always",
    )
    timeout_scale: float = _option(
        1.0, _scale, "FACTOR", "multiplies every time limit (default 1.0)"
    )
    soak: float = _option(
        0.0,
        _duration,
        "DURATION",
        "let claims come and go for so long, such as 10m or 2h, in the scenario every-device"
        " (default: one round)",
    )
    plan: bool = _option(
        False,
        _switch,
        "",
        "only print what would be created and run, and the rights that it takes; touches nothing",
    )
    manifest: str = _option(
        "",
        any_text,
        "NAME",
        "only print a manifest as it would be created, for kubectl apply: shared-claim, claim, pod,"
        " namespace and others; an unknown name prints which there are",
    )
    sweep: bool = _option(
        False, _switch, "", "only remove what runs that were killed left in the cluster"
    )
    embedded: EmbeddedOptions
    origins: Mapping[str, str]
    """For each option where its value comes from."""

    def allowed(self) -> frozenset[Impact]:
        """The impacts that checks may have: what was asked for, else what the cluster allows."""
        if self.allow is not None:
            return self.allow
        allowed = frozenset(Impact) if self.cluster == "embedded" else frozenset()
        return allowed - NEED_PYTHON if self.shell_image else allowed

    @property
    def named_image(self) -> str:
        """The image that was asked for, whatever it has of the workload; empty: none."""
        return self.image or self.python_image or self.shell_image

    @property
    def brings_program(self) -> bool:
        """Whether the image is without the workload's program, so that a config map brings it."""
        return bool(self.python_image or self.shell_image)

    def given(self) -> tuple[Given, ...]:
        """Answer every option with its value and where that comes from, for reports."""
        given: list[Given] = []
        for spec in SPECS:
            value = attrgetter(".".join(_path(spec.name)))(self)
            if spec.name == "node_selector":
                value = ",".join(map("=".join, sorted(value.items())))
            elif spec.name == "run_as" and value is None:
                value = "none"
            elif isinstance(value, frozenset | tuple):
                value = ",".join(sorted(map(str, value)))
            origin = self.origins.get(spec.name, "default")
            given.append(Given(flag(spec.name), str(value), origin))
        return tuple(given)


SPECS: tuple[Spec, ...] = (
    *(Spec(one.name, **one.metadata) for one in fields(Options) if one.metadata),
    *(
        Spec(
            _EMBEDDED + option.name,
            option.default,
            option.metadata["parse"],
            option.metadata["metavar"],
            f"embedded cluster: {option.metadata['help']}",
        )
        for option in EmbeddedOptions.on_command_lines()
    ),
)


def resolve(
    given: Mapping[str, str | None], environment: Mapping[str, str], folder: Path
) -> Options:
    """The options of a run.

    Args:
        given: values of the command line by option name (``timeout_scale``); None where absent.
        environment: the process's environment.
        folder: the directory of invocation, in which ``dra.toml`` may lie.

    Raises:
        OptionError: a value is wrong.
    """
    table = _table(folder / CONFIG_FILE)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for spec in SPECS:
        in_file = key(spec.name)
        sources: tuple[tuple[Any, str, str], ...] = (
            (given.get(spec.name), "command line", flag(spec.name)),
            (environment.get(variable(spec.name)) or None, "environment", variable(spec.name)),
            (table.get(in_file), CONFIG_FILE, f"{CONFIG_FILE}: {'.'.join(in_file)}"),
        )
        values[spec.name] = spec.default
        for raw, origin, shown in sources:
            if raw is None:
                continue
            try:
                values[spec.name], origins[spec.name] = spec.parse(raw), origin
            except ValueError as error:
                raise OptionError(f"{shown}: {raw!r} is wrong: {error}") from error
            break
    values["output"] = folder / values["output"]
    _check_together(values, origins)
    embedded = {
        option.name: values.pop(_EMBEDDED + option.name)
        for option in EmbeddedOptions.on_command_lines()
    }
    return Options(**values, embedded=EmbeddedOptions(**embedded), origins=origins)


def _check_together(values: Mapping[str, Any], origins: Mapping[str, str]) -> None:
    embedded = values["cluster"] == "embedded"
    if embedded and values["context"]:
        raise OptionError(
            f"{flag('context')} {values['context']}: the embedded cluster has no contexts;"
            f" drop it or {flag('cluster')} embedded"
        )
    if embedded and values["sweep"]:
        raise OptionError(
            f"{flag('sweep')}: the embedded cluster is the run's own and has nothing of earlier"
            f" runs in it; drop it, or {flag('cluster')} embedded"
        )
    if values["image_pull_secret"] and not values["namespace"]:
        raise OptionError(
            f"{flag('image_pull_secret')} {values['image_pull_secret']}: needs {flag('namespace')},"
            " the namespace that the secret is in: the run's own are new and have none"
        )
    images = [flag(name) for name in ("image", "python_image", "shell_image") if values[name]]
    if len(images) > 1:
        raise OptionError(f"{' and '.join(images)}: choose one of them")
    if values["shell_image"] and (lacking := NEED_PYTHON & (values["allow"] or frozenset())):
        raise OptionError(
            f"{flag('shell_image')} {values['shell_image']}: checks with {flag('allow')}"
            f" {','.join(sorted(lacking))} need Python in the image: {flag('python_image')}"
        )
    instead = [flag(name) for name in ("plan", "manifest", "sweep") if values[name]]
    if len(instead) > 1:
        raise OptionError(f"{' and '.join(instead)}: choose one of them")
    if values["replay"] and values["check"]:
        raise OptionError(f"{flag('replay')} and {flag('check')}: choose one of them")
    for name in origins:
        on_command_line = origins[name] == "command line"
        if name.startswith(_EMBEDDED) and on_command_line and not embedded:
            raise OptionError(
                f"{flag(name)} {values[name]}: only for the embedded cluster; add"
                f" {flag('cluster')} embedded"
            )


def _table(path: Path) -> dict[tuple[str, ...], Any]:
    """The keys of ``dra.toml`` with their values; no file, no keys."""
    if not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path}: cannot be read: {error}") from error
    found: dict[tuple[str, ...], Any] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            found.update({(name, inner): inner_value for inner, inner_value in value.items()})
        else:
            found[(name,)] = value
    known = [key(spec.name) for spec in SPECS]
    for name_path in found:
        if name_path not in known:
            raise OptionError(
                f"{path}: unknown key {'.'.join(name_path)}; there are"
                f" {', '.join(map('.'.join, known))}"
            )
    return found
