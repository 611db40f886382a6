"""No secret leaves the machine; what is none stays."""

from __future__ import annotations

import json

import pytest
import yaml

from reports.redaction import redacted

SECRET = "hunter2-hunter2"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6Ik.eyJpc3MiOiJrdWJlcm5ldGVzL3Nlcn.c2lnbmF0dXJl-_"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKC\nhunter2-hunter2\n-----END RSA PRIVATE KEY-----"
)
POD = {
    "spec": {
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": "regcred"}],
        "containers": [
            {
                "name": "user",
                "env": [
                    {"name": "DB_PASSWORD", "value": SECRET},
                    {"name": "GPUS", "value": "GPU-1"},
                    {"name": "NGC_API_KEY", "value": f'{SECRET} "quoted"'},
                ],
            }
        ],
    }
}


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}=",
        f"token={JWT}",
        f"it said {JWT}.",
        f"cert:\n{PEM}\nend",
        json.dumps({"key": PEM}),
        f"DB_PASSWORD={SECRET}",
        f"--registry-password {SECRET}".replace(" hunter", "=hunter"),
        f'export AWS_SECRET_ACCESS_KEY="{SECRET}"',
        f"https://me:{SECRET}@registry.example/v2",
        f"client-key-data: {SECRET}",
        f"password: '{SECRET}'",
        json.dumps({"password": SECRET}),
        json.dumps({"note": json.dumps(POD)}),
        json.dumps(POD),
        json.dumps(POD, indent=1),
        yaml.safe_dump(POD),
        yaml.safe_dump({"password": f"it's {SECRET}"}),
        json.dumps({"note": json.dumps({"password": f'a "quoted" {SECRET}'})}),
        f"aws AKIA{'A' * 16} {SECRET}".replace(SECRET, ""),
    ],
)
def test_a_secret_goes(text: str) -> None:
    """Wherever it stands, also in JSON within JSON."""
    left = redacted(text)
    assert SECRET not in left
    assert "c2lnbmF0dXJl" not in left
    assert "MIIEpAIBAAKC" not in left
    assert "AKIAAAAA" not in left
    assert "(redacted)" in left


@pytest.mark.parametrize("read", [json, yaml], ids=["json", "yaml"])
def test_what_is_no_secret_stays(read: object) -> None:
    """And a document stays one."""
    text = json.dumps(POD) if read is json else yaml.safe_dump(POD)
    found = (json.loads if read is json else yaml.safe_load)(redacted(text))
    spec = found["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["imagePullSecrets"] == [{"name": "regcred"}]
    names = {one["name"]: one["value"] for one in spec["containers"][0]["env"]}
    assert names == {"DB_PASSWORD": "(redacted)", "GPUS": "GPU-1", "NGC_API_KEY": "(redacted)"}


def test_ordinary_lines_stay() -> None:
    """Times, UUIDs, images, events."""
    text = (
        "I1123 19:40:01.7 driver.go:415] Returning newly prepared devices for claim a-b\n"
        "Failed to prepare dynamic resources: NodePrepareResources skipped 1 ResourceClaims\n"
        '{"uuid": "GPU-831f92e7-9e5e-52c3-85ae-db0f5709cf84", "image": "a.example/b@sha256:0"}\n'
        "key: nvidia.com/gpu, operator: Exists"
    )
    assert redacted(text) == text
