"""From a kubeconfig, or the pod that the run is in, to its cluster; as kubectl does it.

The official client loads credentials and TLS settings. Where it differs from kubectl (which file
wins, whom a proxy is for, a credential plugin that fails), what it has read is put right here.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3
import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from building.tree import EMBEDDED_RUN
from harness.cluster.kube import Kube, NoClusterError, Server
from harness.verdict.finding import one_line

IN_CLUSTER_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_CA, _CERTIFICATE = "certificate-authority-data", "client-certificate-data"
_KEY = "client-key-data"
_LISTS = ("clusters", "contexts", "users")


def connect(source: str, context: str, run_id: str) -> Kube:
    """The cluster that the user means.

    Args:
        source: ``kubeconfig``, or ``auto``: a kubeconfig, else in-cluster credentials.
        context: a context of the kubeconfig; empty for its current one.
        run_id: named in the User-Agent of every request.

    Raises:
        NoClusterError: there is none, or what was named cannot be used. A kubeconfig that is set
            but unusable is an error, never a reason to try another source.
    """
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    default = Path.home() / ".kube" / "config"
    if named or default.exists() or context:
        return from_kubeconfig(named or [default], context, run_id)
    if source == "auto" and IN_CLUSTER_TOKEN.exists() and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return from_pod(run_id)
    tried = "KUBECONFIG is not set, there is no ~/.kube/config"
    if source == "auto":
        tried += ", and this is not a pod with a service account"
    raise NoClusterError(
        f"no cluster is configured; `{EMBEDDED_RUN}` starts one of its own on this machine", tried
    )


def from_kubeconfig(paths: Sequence[Path], context: str, run_id: str) -> Kube:
    """The cluster of a kubeconfig's context; of several files those that exist make one.

    Raises:
        NoClusterError: the kubeconfig or its context cannot be used.
    """
    there = [path for path in paths if path.exists()]
    if not there:
        names = ", ".join(map(str, paths))
        raise NoClusterError(f"no cluster: the kubeconfig {names} does not exist")
    documents = {path: _read(path) for path in there}
    spelled = os.pathsep.join(str(path) for path in there if documents[path] or len(there) == 1)
    chosen = _Chosen(spelled, list(documents.values()), context)
    configuration = Configuration()
    try:
        with _plugin_heard(chosen):
            load_kube_config(
                config_file=spelled,
                context=chosen.name,
                client_configuration=configuration,
                persist_config=False,
            )
        configuration.refresh_api_key_hook = None  # it would hide that a credential plugin fails
        _check_certificates(configuration, chosen)
        _settle_proxy(configuration, str(chosen.cluster.get("proxy-url") or ""), chosen.where)
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        # The client shows whole entries, with their secrets, behind the key that it misses.
        said = re.sub(r"(Expected key \S+) in .*", r"\1", str(error), flags=re.DOTALL)
        raise NoClusterError(
            f"no cluster: {chosen.where} cannot be used: {one_line(said, 300)}"
        ) from error

    def reload() -> Any:
        # The same context and server as before, whatever is the current one by now.
        again = from_kubeconfig(paths, chosen.name, run_id)._configuration
        if again.host != configuration.host:
            raise NoClusterError(f"{chosen.where} is now at {again.host}")
        return again

    server = Server(str(configuration.host), spelled, chosen.name)
    return Kube(configuration, server, run_id, reload)


def from_pod(run_id: str) -> Kube:
    """The cluster that this process runs in, by its pod's service account."""
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
        _settle_proxy(configuration, "", "the environment")
    except (ConfigException, OSError) as error:
        raise NoClusterError(
            f"no cluster: the in-cluster credentials cannot be used: {error}"
        ) from error
    server = Server(str(configuration.host), "in-cluster")
    return Kube(configuration, server, run_id, lambda: from_pod(run_id)._configuration)


class _Chosen:
    """A context with its cluster and user, out of one file or several."""

    def __init__(self, spelled: str, documents: Sequence[Mapping[str, Any]], context: str) -> None:
        """Choose it, the first file that has a name giving it its meaning.

        Raises:
            NoClusterError: it is not there, or not complete.
        """
        currents = [str(one.get("current-context") or "") for one in documents]
        self.name = context or next(filter(None, currents), "")
        lists: dict[str, dict[str, Mapping[str, Any]]] = {}
        for what in _LISTS:
            entries = [entry for one in documents for entry in one.get(what) or []]
            lists[what] = {str(e["name"]): e.get(what[:-1]) or {} for e in reversed(entries)}
        there_are = f"there are {', '.join(sorted(lists['contexts'])) or 'none'}"
        if not self.name:
            raise NoClusterError(
                f"no cluster: the kubeconfig {spelled} has no current-context; name one of its"
                f" contexts with --dra-context: {there_are}"
            )
        if self.name not in lists["contexts"]:
            option = f"--dra-context {context}" if context else f"current-context {self.name}"
            raise NoClusterError(f"{option}: no such context in {spelled}; {there_are}")
        self.where = f"context {self.name} of the kubeconfig {spelled}"
        found: dict[str, Mapping[str, Any]] = {}
        for what in ("cluster", "user"):
            name = str(lists["contexts"][self.name].get(what) or "")
            among = lists[f"{what}s"]
            if name not in among and (name or what == "cluster"):
                raise NoClusterError(
                    f"no cluster: {self.where} names {what} {name or '(none)'}; its {what}s are"
                    f" {', '.join(sorted(among)) or 'none'}"
                )
            found[what] = among.get(name) or {}
        self.cluster, self.user = found["cluster"], found["user"]
        for part, name in ((self.cluster, _CA), (self.user, _CERTIFICATE), (self.user, _KEY)):
            try:
                base64.standard_b64decode(str(part.get(name) or ""))
            except ValueError as error:
                raise NoClusterError(
                    f"no cluster: {name} of {self.where} is no base64: {error}"
                ) from error
        if not self.cluster.get("server"):
            raise NoClusterError(
                f"no cluster: {self.where} names a cluster without server; expected its URL, such"
                " as https://10.0.0.1:6443"
            )


def _read(path: Path) -> Mapping[str, Any]:
    """Read one file as far as the choice of a context takes it.

    Raises:
        NoClusterError: it cannot be read, or is no kubeconfig.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else one_line(str(error), 300)
        raise NoClusterError(
            f"no cluster: the kubeconfig {path} cannot be read: {reason}"
        ) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise NoClusterError(
            f"no cluster: {path} is no kubeconfig; expected the keys {', '.join(_LISTS)}"
        )
    for what in _LISTS:
        for number, entry in enumerate(document.get(what) or []):
            kinds = (entry.get("name"), entry.get(what[:-1])) if isinstance(entry, dict) else ()
            if not (kinds and kinds[0] and isinstance(kinds[1] or {}, dict)):
                raise NoClusterError(
                    f"no cluster: {what}[{number}] of the kubeconfig {path} is wrong; expected an"
                    f" object with name and {what[:-1]}"
                )
    return document


@contextmanager
def _plugin_heard(chosen: _Chosen) -> Iterator[None]:
    """Notice that a credential plugin fails: the client logs it, and goes on as nobody.

    Raises:
        NoClusterError: it did.
    """
    heard: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    if heard and chosen.user.get("exec"):
        # (On a terminal the plugin has written its own error there.)
        said = "its error is above" if "NoneType" in heard[0] else one_line(heard[0], 300)
        command = (chosen.user["exec"] or {}).get("command")
        raise NoClusterError(
            f"no cluster: the credential plugin `{command}` of {chosen.where} failed; log in again:"
            f" {said}"
        )


def _check_certificates(configuration: Any, chosen: _Chosen) -> None:
    """Read what TLS needs now: at the first request nobody knows any more where it comes from.

    Raises:
        NoClusterError: a file or its data cannot be used.
    """
    what = "certificate-authority or certificate-authority-data"
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        what = "client-certificate and client-key, or their data"
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except OSError as error:
        raise NoClusterError(
            f"no cluster: {what} of {chosen.where} cannot be used: {error}; expected PEM"
        ) from error


def _settle_proxy(configuration: Any, of_file: str, where: str) -> None:
    """Let a proxy of the kubeconfig be for its server whatever NO_PROXY says, as kubectl does.

    Raises:
        NoClusterError: it is none that can be used.
    """
    if of_file:
        configuration.no_proxy = ""
    if not configuration.proxy:
        return
    parts = urlsplit(str(configuration.proxy))
    said = f"proxy-url of {where}" if of_file else "HTTPS_PROXY or HTTP_PROXY"
    if parts.scheme not in PROXY_SCHEMES or not parts.hostname:
        raise NoClusterError(
            f"no cluster: {said} is {configuration.proxy!r}; expected a URL with one of"
            f" {', '.join(PROXY_SCHEMES)}, such as http://proxy:3128"
        )
    if parts.scheme.startswith("socks") and find_spec("socks") is None:
        raise NoClusterError(
            f"no cluster: {said} is the SOCKS proxy {configuration.proxy}, for which the Python"
            " package PySocks is missing"
        )
    if parts.scheme == "socks5":  # to kubectl it means that the proxy looks names up
        configuration.proxy = urlunsplit(parts._replace(scheme="socks5h"))
    elif parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=user)
