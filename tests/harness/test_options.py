"""Options: where values come from, and what is refused before anything is created."""

from __future__ import annotations

from pathlib import Path

import pytest

from embedded.options import Options as EmbeddedOptions
from harness.cluster.profile import named
from harness.options import SPECS, Given, Impact, OptionError, flag, key, resolve, variable


def test_without_anything_defaults_hold(tmp_path: Path) -> None:
    """Nothing dangerous, no cluster of our own."""
    options = resolve({}, {}, tmp_path)
    assert (options.cluster, options.level, options.keep) == ("auto", 4, "never")
    assert options.output == tmp_path / "reports/out"
    assert options.allowed() == set()
    assert resolve({"cluster": "embedded"}, {}, tmp_path).allowed() == set(Impact)


def test_command_line_goes_before_environment_before_file(tmp_path: Path) -> None:
    """And the report says where each came from."""
    (tmp_path / "dra.toml").write_text('level = 1\nkeep = "always"\ntimeout-scale = 3\n')
    environment = {"DRA_LEVEL": "2", "DRA_KEEP": "failed"}
    options = resolve({"level": "3"}, environment, tmp_path)
    assert (options.level, options.keep, options.timeout_scale) == (3, "failed", 3.0)
    assert options.origins == {
        "level": "command line",
        "keep": "environment",
        "timeout_scale": "dra.toml",
    }
    assert Given("--dra-level", "3", "command line") in options.given()
    assert Given("--dra-driver", "", "default") in options.given()


def test_the_file_has_a_table_for_the_embedded_cluster(tmp_path: Path) -> None:
    """Numbers may be numbers there."""
    (tmp_path / "dra.toml").write_text('allow = ["privileged"]\n[embedded]\ngpus = 2\nnodes = 3\n')
    options = resolve({}, {}, tmp_path)
    assert (options.embedded.gpus, options.embedded.nodes) == ("2", 3)
    assert options.allowed() == {Impact.PRIVILEGED}


def test_none_allows_nothing_even_on_an_own_cluster(tmp_path: Path) -> None:
    """What the user says goes before what the cluster allows."""
    options = resolve({"allow": "none", "cluster": "embedded"}, {}, tmp_path)
    assert options.allowed() == set()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cluster", "kind", "expected one of auto, kubeconfig, embedded"),
        ("level", "6", "from 0 to 5"),
        ("level", "deep", "from 0 to 5"),
        ("allow", "root", "none, or some of exhaust, privileged, disrupt"),
        ("allow", "none,disrupt", "none, or some of"),
        ("run_as", "0", "from 1"),  # pods that must not be root
        ("class_", "No_Class", "expected the name of a DeviceClass"),
        ("visible_by", "unknown", "expected one of cuda, devnode, env"),
        ("check", "IPC-1", "expected IDs such as IPC-001"),
        ("check", "IPC-001,", "separated by commas"),
        ("keep", "yes", "never, failed, always"),
        ("api", "v1alpha3", "expected one of auto, v1, v1beta2, v1beta1"),
        ("timeout_scale", "0", "from 0.01 to 100"),
        ("timeout_scale", "nan", "from 0.01 to 100"),
        ("soak", "10", "a duration such as 90s, 10m or 2h"),
        ("embedded_gpus", "2:Voodoo", "no simulated GPU is called 'Voodoo'; there are: 'NVIDIA"),
        ("embedded_nodes", "0", "a whole number from 1 to 200"),
        ("embedded_feature_gates", "DRA", "expected NAME=true or NAME=false"),
        ("pod_patch", "/does/not/exist", "a readable JSON or YAML file"),
        ("expect", "/none.yaml", "expectations /none.yaml: cannot be read"),
        ("expect_write", "expect.txt", "expected a .yaml file"),
        ("expect_write", "/none/expect.yaml", "a folder that exists; /none does not"),
        ("node_selector", "gpu", "expected KEY=VALUE"),
        ("node_selector", "a=b,=c", "=c is no label of a node"),
        ("node_selector", "a=b c", "a=b c is no label of a node"),
        ("namespace", "Mine", "expected the name of an object"),
        ("image_pull_secret", "a/b", "expected the name of a secret"),
        ("baseline", "no-such-run", "expected the folder of a run, or its results.json"),
        ("plan", "maybe", "expected true or false"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    name: str, value: str, words: str, tmp_path: Path
) -> None:
    """Option, value, and what would be right."""
    with pytest.raises(OptionError) as error:
        resolve({name: value}, {}, tmp_path)
    assert str(error.value).startswith(f"{flag(name)}: {value!r} is wrong: ")
    assert words in str(error.value)


def test_a_wrong_value_is_named_as_it_was_given(tmp_path: Path) -> None:
    """By variable or by key of the file."""
    with pytest.raises(OptionError, match=r"^DRA_LEVEL: 'x' is wrong"):
        resolve({}, {"DRA_LEVEL": "x"}, tmp_path)
    (tmp_path / "dra.toml").write_text("[embedded]\nnodes = 0\n")
    with pytest.raises(OptionError, match=r"^dra\.toml: embedded\.nodes: 0 is wrong"):
        resolve({}, {}, tmp_path)


def test_an_unknown_key_is_refused(tmp_path: Path) -> None:
    """A typo in a file would else do nothing."""
    (tmp_path / "dra.toml").write_text("lvel = 1\n")
    with pytest.raises(OptionError, match="unknown key lvel; there are cluster, context"):
        resolve({}, {}, tmp_path)


def test_options_of_the_embedded_cluster_need_it(tmp_path: Path) -> None:
    """Nothing is accepted that would do nothing."""
    with pytest.raises(OptionError, match="only for the embedded cluster"):
        resolve({"embedded_gpus": "2"}, {}, tmp_path)
    with pytest.raises(OptionError, match="the embedded cluster has no contexts"):
        resolve({"cluster": "embedded", "context": "c"}, {}, tmp_path)
    options = resolve({"cluster": "embedded", "embedded_gpus": "8"}, {}, tmp_path)
    assert options.embedded.gpus == "8"


def test_defaults_of_the_embedded_cluster_are_its_own(tmp_path: Path) -> None:
    """And every option of it can be given."""
    assert resolve({}, {}, tmp_path).embedded == EmbeddedOptions()
    options = {spec.name for spec in SPECS}
    assert {f"embedded_{o.name}" for o in EmbeddedOptions.on_command_lines()} <= options


def test_a_pod_patch_is_for_pods(tmp_path: Path) -> None:
    """Metadata and spec, in JSON or YAML."""
    patch = tmp_path / "patch.yaml"
    patch.write_text("spec: {priorityClassName: high}\n")
    options = resolve({"pod_patch": str(patch)}, {}, tmp_path)
    assert options.pod_patch == {"spec": {"priorityClassName": "high"}}
    patch.write_text("- op: add\n")
    with pytest.raises(OptionError, match="a merge patch for pods"):
        resolve({"pod_patch": str(patch)}, {}, tmp_path)


def test_nodes_are_selected_by_labels(tmp_path: Path) -> None:
    """As kubectl spells them, or as a table in the file."""
    selector = {"node.example.com/gpu": "h100", "empty": ""}
    given = resolve({"node_selector": "node.example.com/gpu=h100,empty="}, {}, tmp_path)
    assert given.node_selector == selector
    shown = "empty=,node.example.com/gpu=h100"
    assert Given("--dra-node-selector", shown, "command line") in given.given()
    with pytest.raises(OptionError, match=r"^dra\.toml: node-selector: "):
        (tmp_path / "dra.toml").write_text("node-selector = 4\n")
        resolve({}, {}, tmp_path)


def test_a_soak_lasts_seconds_minutes_or_hours(tmp_path: Path) -> None:
    """None unless it is asked for."""
    assert resolve({}, {}, tmp_path).soak == 0
    for given, seconds in (("90s", 90), ("10m", 600), ("2h", 7200)):
        assert resolve({"soak": given}, {}, tmp_path).soak == seconds


def test_switches_are_off_unless_switched_on(tmp_path: Path) -> None:
    """On the command line they take no value; elsewhere they are true or false."""
    assert not resolve({}, {"DRA_SWEEP": "false"}, tmp_path).sweep
    assert resolve({}, {"DRA_PLAN": "1"}, tmp_path).plan
    (tmp_path / "dra.toml").write_text("plan = true\n")
    assert resolve({}, {}, tmp_path).plan
    with pytest.raises(OptionError, match="choose one of them"):
        resolve({"plan": "true", "sweep": "true"}, {}, tmp_path)


def test_there_is_one_image(tmp_path: Path) -> None:
    """One with the workload in it, or one that it is brought to."""
    with pytest.raises(OptionError, match="--dra-image and --dra-python-image: choose one"):
        resolve({"image": "ours"}, {"DRA_PYTHON_IMAGE": "another"}, tmp_path)
    with pytest.raises(OptionError, match="--dra-python-image and --dra-shell-image: choose one"):
        resolve({"python_image": "one", "shell_image": "another"}, {}, tmp_path)


def test_an_image_with_a_shell_only_acts_on_no_node(tmp_path: Path) -> None:
    """Refused where that was asked for, left out where it was not."""
    with pytest.raises(OptionError, match="--dra-allow privileged need Python in the image"):
        resolve({"shell_image": "debian", "allow": "exhaust,privileged"}, {}, tmp_path)
    options = resolve({"shell_image": "debian", "cluster": "embedded"}, {}, tmp_path)
    assert options.allowed() == {Impact.EXHAUST}


def test_a_secret_is_in_a_namespace_that_exists(tmp_path: Path) -> None:
    """The run never makes secrets, so its own namespaces have none."""
    with pytest.raises(OptionError, match="--dra-image-pull-secret s: needs --dra-namespace"):
        resolve({"image_pull_secret": "s"}, {}, tmp_path)
    options = resolve({"image_pull_secret": "s", "namespace": "mine"}, {}, tmp_path)
    assert (options.namespace, options.image_pull_secret) == ("mine", "s")


def test_what_is_said_of_a_driver_goes_before_its_profile(tmp_path: Path) -> None:
    """An option that is called as a word of Python is spelled like the others."""
    (tmp_path / "dra.toml").write_text('class = "of-file"\n')
    options = resolve({"visible_by": "env"}, {}, tmp_path)
    assert Given("--dra-class", "of-file", "dra.toml") in options.given()
    assert resolve({}, {"DRA_CLASS": "gpu.example.org"}, tmp_path).class_ == "gpu.example.org"
    folder = Path(__file__).parents[2] / "profiles"
    told = named("nvidia", folder).where_told(
        device_class=options.class_, visible_by="", channel_class="channels"
    )
    assert (told.device_class, told.visible_by) == ("of-file", "cuda")
    assert told.channel_class == "channels"


def test_spellings_are_unique() -> None:
    """On the command line, in the environment, in the file."""
    for spell in (flag, variable, key):
        assert len({spell(spec.name) for spec in SPECS}) == len(SPECS)


def test_every_option_is_documented() -> None:
    """With its default; those of the embedded cluster are documented with it."""
    documents = Path(__file__).parents[2] / "docs"
    text = (documents / "running.md").read_text() + (documents / "embedded-cluster.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `--")]
    assert [s.name for s in SPECS if not any(f"`{flag(s.name)}" in row for row in rows)] == []
