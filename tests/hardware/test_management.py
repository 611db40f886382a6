"""nvidia-smi and NVML, as administrators, scripts and the NVIDIA DRA driver use them."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedded.hardware.artifact import LIBRARIES, PROGRAMS
from embedded.hardware.products import DRIVER_VERSION, H100
from tests.hardware.machines import Machine, NewMachine

UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND, INSUFFICIENT_SIZE = 1, 2, 3, 6, 7
VERSION_MISMATCH = 25

Control = Callable[..., tuple[int, list[str]]]


def smi(machine: Machine, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    """Run nvidia-smi: its exit code and the lines of its output."""
    ran = subprocess.run(
        [machine.driver_root / PROGRAMS / "nvidia-smi", *arguments],
        env=machine.environment(**environment),
        stdout=subprocess.PIPE,
        text=True,
    )
    return ran.returncode, ran.stdout.splitlines()


# ---------------------------------------------------------------- nvidia-smi


def test_list(machine: Machine) -> None:
    assert smi(machine, "-L") == (
        0,
        [f"GPU {gpu.minor}: NVIDIA H100 80GB HBM3 (UUID: {gpu.uuid})" for gpu in machine.gpus],
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--query-gpu=index", "--format=csv"], "--format=csv"), (["--topo"], "--topo")],
)
def test_wrong_arguments(machine: Machine, arguments: list[str], named: str) -> None:
    assert smi(machine, *arguments) == (
        2,
        [
            f"Invalid combination of input arguments: '{named}'.",
            "Simulated: nvidia-smi [-L | --list-gpus | --version | compute-policy … | -i GPU -c …]",
        ],
    )


def test_time_slices(machine: Machine) -> None:
    """As an H200 shows them (driver 580.159.04); what is set is seen, and nothing is before."""
    heading = [
        "+-------------------------------------+",
        "| GPU compute policies:               |",
        "| GPU     Name           Value        |",
        "|=====================================|",
    ]
    end = heading[:1]

    def rows(*values: str) -> tuple[int, list[str]]:
        lines = [f"|   {n}   Timeslice       {value:13} |" for n, value in enumerate(values)]
        return 0, heading + lines + end

    assert smi(machine, "compute-policy", "-l") == rows("Default", "Default")
    second = machine.gpus[1].uuid
    assert smi(machine, "compute-policy", "-i", second, "--set-timeslice", "3")[0] == 0
    assert smi(machine, "-i", second, "-c", "DEFAULT")[0] == 0
    assert smi(machine, "compute-policy", "-l") == rows("Default", "Long")
    assert smi(machine, "compute-policy", "-i", second, "--set-timeslice", "0")[0] == 0
    assert smi(machine, "compute-policy", "-l") == rows("Default", "Default")
    assert smi(machine, "compute-policy", "-i", second, "--set-timeslice", "4")[0] == 2
    assert smi(machine, "compute-policy", "-i", "GPU-none", "--set-timeslice", "1")[0] == 6


def test_compute_modes(machine: Machine) -> None:
    """As an H200 shows them; each GPU has its own."""
    query = ("--query-gpu=compute_mode", "--format=csv,noheader")
    assert smi(machine, *query) == (0, ["Default", "Default"])
    second = machine.gpus[1].uuid
    assert smi(machine, "-i", second, "-c", "EXCLUSIVE_PROCESS")[0] == 0
    assert smi(machine, *query) == (0, ["Default", "Exclusive_Process"])
    info = machine.root / "gpu1" / "info"
    info.write_text(info.read_text().replace("fault=", "fault=keeps-compute-mode,"))
    assert smi(machine, "-i", second, "-c", "DEFAULT")[0] == 0
    assert smi(machine, *query) == (0, ["Default", "Exclusive_Process"])


@pytest.fixture
def control(machine: Machine, tmp_path: Path) -> Iterator[Control]:
    """Run nvidia-cuda-mps-control with commands: its exit code and the lines of its output."""
    folders = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
    environment = machine.environment(**dict.fromkeys(folders, str(tmp_path)))

    def run(*options: str, commands: str = "") -> tuple[int, list[str]]:
        ran = subprocess.run(
            [machine.driver_root / PROGRAMS / "nvidia-cuda-mps-control", *options],
            env=environment,
            input=commands,
            stdout=subprocess.PIPE,
            text=True,
        )
        return ran.returncode, ran.stdout.splitlines()

    yield run
    run(commands="quit\n")


def test_the_control_daemon_of_mps(control: Control, tmp_path: Path) -> None:
    """It answers as long as it is there, in the words of an H200's."""
    none = (1, ["Cannot find MPS control daemon process"])
    assert control() == none
    assert control("-d") == (0, [])
    assert control("-d") == (1, ["An instance of this daemon is already running"])
    assert control() == (0, [])
    asked = "get_server_list\nget_default_active_thread_percentage\nnonsense\n"
    assert control(commands=asked) == (0, ["100.0", 'Unknown command "nonsense"'])
    assert control(commands="set_default_active_thread_percentage 50\n") == (0, ["50.0"])
    assert control(commands="set_default_device_pinned_mem_limit 0 1G\n") == (0, [])
    assert "Cmd:nonsense" in (tmp_path / "control.log").read_text()
    assert control(commands="quit\n") == (0, [])
    assert control() == none


def test_overview(machine: Machine) -> None:
    process = machine.ready(ordinal=1)
    assert process("alloc", 3 << 20)[0] == 0
    code, (heading, *lines) = smi(machine)
    assert code == 0
    assert f"Driver Version: {DRIVER_VERSION}   CUDA Version: 13.0" in heading
    assert "simulated" in heading
    first, second = machine.gpus
    assert lines == [
        f"GPU 0: {H100.name} (UUID: {first.uuid}) | 00000000:18:00.0 | 0MiB / 81559MiB",
        f"GPU 1: {H100.name} (UUID: {second.uuid}) | 00000000:2A:00.0 | 3MiB / 81559MiB",
    ]


def test_without_driver_library_and_gpu(new_machine: NewMachine) -> None:
    machine = new_machine()
    code, lines = smi(machine, SIMULATED_GPUS_ROOT="/nonexistent")
    assert (code, lines[0][:59]) == (
        9,
        "NVIDIA-SMI has failed because it couldn't communicate with ",
    )
    code, lines = smi(machine, LD_LIBRARY_PATH="/nonexistent")
    assert (code, lines[0][:45]) == (12, "NVIDIA-SMI couldn't find libnvidia-ml.so libr")
    none = new_machine(count=0)
    assert smi(none, "-L") == (6, ["No devices were found"])


def test_as_the_nvidia_dra_drivers_init_container_runs_it(new_machine: NewMachine) -> None:
    """kubelet-plugin-prestart.sh: no environment but LD_PRELOAD, only `--version`, exit 0.

    Without environment the machine must be at its own place, here in a mount namespace.
    """
    machine = new_machine(count=0)
    script = (
        "mount -t tmpfs none /run && mkdir /run/simulated-gpus"
        ' && mount --bind "$1" /run/simulated-gpus && env -i LD_PRELOAD="$2" "$3" --version'
    )
    library = machine.driver_root / LIBRARIES / "libnvidia-ml.so.1"
    # nvidiactl: the container is privileged, it has the node's devices.
    ran = subprocess.run(
        [
            *("unshare", "-m", "sh", "-ec", f'mount --bind "$4" /dev\n{script}', "sh"),
            *(machine.root, library, machine.driver_root / PROGRAMS / "nvidia-smi"),
            machine.view(),
        ],
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        f"NVIDIA-SMI version  : {DRIVER_VERSION}",
        f"NVML version        : 13.{DRIVER_VERSION}",
        f"DRIVER version      : {DRIVER_VERSION}",
        "CUDA Version        : 13.0",
    ]


# ---------------------------------------------------------------- NVML


@pytest.fixture
def nvml(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[ctypes.CDLL]:
    """The library in this very process, initialised."""
    for name, value in machine.environment().items():
        monkeypatch.setenv(name, value)
    library = ctypes.CDLL(str(machine.driver_root / LIBRARIES / "libnvidia-ml.so.1"))
    assert library.nvmlInitWithFlags(1) == 0
    yield library
    library.nvmlShutdown()


def handle(nvml: ctypes.CDLL, index: int = 0) -> ctypes.c_void_p:
    device = ctypes.c_void_p()
    assert nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0
    return device


def number(nvml: ctypes.CDLL, name: str, device: ctypes.c_void_p) -> int:
    value = ctypes.c_uint()
    assert getattr(nvml, name)(device, ctypes.byref(value)) == 0
    return value.value


def test_handles(nvml: ctypes.CDLL, machine: Machine) -> None:
    second, found = handle(nvml, 1), ctypes.c_void_p()
    uuid = machine.gpus[1].uuid.encode()
    assert nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(found)) == 0
    assert found.value == second.value
    for pci in (b"00000000:2A:00.0", b"0000:2a:00.0", b"2a:00.0"):
        found = ctypes.c_void_p()
        assert nvml.nvmlDeviceGetHandleByPciBusId_v2(pci, ctypes.byref(found)) == 0
        assert found.value == second.value
    assert nvml.nvmlDeviceGetHandleByUUID(b"GPU-0", ctypes.byref(found)) == NOT_FOUND
    assert nvml.nvmlDeviceGetHandleByIndex_v2(2, ctypes.byref(found)) == INVALID_ARGUMENT
    assert number(nvml, "nvmlDeviceGetIndex", second) == 1


def test_what_the_dra_driver_asks(nvml: ctypes.CDLL) -> None:
    device = handle(nvml)
    assert number(nvml, "nvmlDeviceGetArchitecture", device) == 9  # Hopper
    assert number(nvml, "nvmlDeviceGetBrand", device) == 14  # NVIDIA
    assert number(nvml, "nvmlDeviceIsMigDeviceHandle", device) == 0
    assert number(nvml, "nvmlDeviceGetMaxMigDeviceCount", device) == 0
    current, pending = ctypes.c_uint(7), ctypes.c_uint(7)
    assert nvml.nvmlDeviceGetMigMode(device, ctypes.byref(current), ctypes.byref(pending)) == 0
    assert (current.value, pending.value) == (0, 0)
    mode = (ctypes.c_uint * 2)(1 << 24 | 8, 0)
    assert nvml.nvmlDeviceGetAddressingMode(device, mode) == 0
    assert mode[1] == 1  # HMM
    mode[0] = 0
    assert nvml.nvmlDeviceGetAddressingMode(device, mode) == VERSION_MISMATCH
    assert nvml.nvmlDeviceGetGpuInstanceProfileInfo(device, 0, mode) == NOT_SUPPORTED


def test_arguments_are_checked(nvml: ctypes.CDLL) -> None:
    device, text = handle(nvml), ctypes.create_string_buffer(8)
    assert nvml.nvmlDeviceGetName(device, text, 8) == INSUFFICIENT_SIZE
    assert nvml.nvmlDeviceGetName(ctypes.c_void_p(8), text, 8) == INVALID_ARGUMENT
    nvml.nvmlErrorString.restype = ctypes.c_char_p
    assert nvml.nvmlErrorString(INSUFFICIENT_SIZE) == b"Insufficient Size"


def test_init_counts(nvml: ctypes.CDLL) -> None:
    device, text = handle(nvml), ctypes.create_string_buffer(96)
    assert nvml.nvmlInit_v2() == 0
    assert nvml.nvmlShutdown() == 0
    assert nvml.nvmlDeviceGetName(device, text, 96) == 0
    assert nvml.nvmlShutdown() == 0
    assert nvml.nvmlDeviceGetName(device, text, 96) == UNINITIALIZED
    assert nvml.nvmlShutdown() == UNINITIALIZED


def test_links(nvml: ctypes.CDLL) -> None:
    nvlink, status = 2, ctypes.c_int(-1)
    one, other = handle(nvml, 0), handle(nvml, 1)
    assert nvml.nvmlDeviceGetP2PStatus(one, other, nvlink, ctypes.byref(status)) == 0
    assert status.value == 0
    level = ctypes.c_int(-1)
    assert nvml.nvmlDeviceGetTopologyCommonAncestor(one, other, ctypes.byref(level)) == 0
    assert level.value == 30  # NVML_TOPOLOGY_HOSTBRIDGE
    assert nvml.nvmlDeviceGetTopologyCommonAncestor(one, one, ctypes.byref(level)) == 0
    assert level.value == 0  # NVML_TOPOLOGY_INTERNAL


def test_events_time_out(nvml: ctypes.CDLL) -> None:
    events, data = ctypes.c_void_p(), ctypes.create_string_buffer(64)
    assert nvml.nvmlEventSetCreate(ctypes.byref(events)) == 0
    assert nvml.nvmlDeviceRegisterEvents(handle(nvml), ctypes.c_ulonglong(8), events) == 0
    assert nvml.nvmlEventSetWait_v2(events, data, 1) == 10  # NVML_ERROR_TIMEOUT
    assert nvml.nvmlEventSetFree(events) == 0
