"""The network of a cluster: a bridge in the control plane, one veth pair a node."""

from __future__ import annotations

from pathlib import Path

from pyroute2 import IPRoute

from embedded.layout import API_SERVICE, CONTROL_PLANE, NODE_PREFIX_LENGTH, NodePlan

BRIDGE = "nodes"
UPLINK = "uplink"


def set_up_control_plane() -> None:
    """Loopback with the ``kubernetes`` Service's address, and the bridge the nodes hang on."""
    with IPRoute() as ip:
        loopback = ip.link_lookup(ifname="lo")[0]
        ip.link("set", index=loopback, state="up")
        # With this address here and the API server on port 443, pods reach the API in the plain
        # in-cluster way and no kube-proxy is needed for it.
        ip.addr("add", index=loopback, address=API_SERVICE, prefixlen=32)
        ip.link("add", ifname=BRIDGE, kind="bridge")
        bridge = ip.link_lookup(ifname=BRIDGE)[0]
        ip.addr("add", index=bridge, address=CONTROL_PLANE, prefixlen=NODE_PREFIX_LENGTH)
        ip.link("set", index=bridge, state="up")
    # The way between pods of different nodes; the setting is this network namespace's own.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def connect(node: NodePlan, pid: int) -> None:
    """Give the node whose network namespace ``pid`` is in its link to the bridge."""
    with IPRoute() as ip:
        ip.link("add", ifname=node.name, kind="veth", peer={"ifname": UPLINK, "net_ns_pid": pid})
        end = ip.link_lookup(ifname=node.name)[0]
        ip.link("set", index=end, master=ip.link_lookup(ifname=BRIDGE)[0])
        ip.link("set", index=end, state="up")
        ip.route("add", dst=node.pod_network, gateway=node.address)


def set_up_node(node: NodePlan) -> None:
    """Inside the node: loopback, the link, everything else by way of the control plane."""
    with IPRoute() as ip:
        ip.link("set", index=ip.link_lookup(ifname="lo")[0], state="up")
        uplink = ip.link_lookup(ifname=UPLINK)[0]
        ip.addr("add", index=uplink, address=node.address, prefixlen=NODE_PREFIX_LENGTH)
        ip.link("set", index=uplink, state="up")
        ip.route("add", dst="default", gateway=CONTROL_PLANE)
