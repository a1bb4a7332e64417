"""Signatures and attestations: what was tampered with is refused, by us and by the tools that others have."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

import rnnexport
from rnnexport.api.signing import PASSWORD, require_signed, sign
from rnnexport.core.errors import UsageError
from rnnexport.report.attestation import to_statement
from rnnexport.targets.registry import TARGET_NAMES
from rnnexport.verification.report import Report
from tests.perturb import copied, perturb

pytestmark = pytest.mark.xdist_group("lstm")


def keys(folder: Path, name="key", password: bytes | None = None) -> tuple[Path, Path]:
    key, pem = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, hidden))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.mark.parametrize("to", TARGET_NAMES)
def test_a_signature_holds_for_those_bytes_and_that_key_alone(to, exported, tmp_path):
    path = copied(exported("lstm")[to].path, tmp_path)
    private, public = keys(tmp_path)
    _, other = keys(tmp_path, "other")
    signature = sign(path, private)
    assert signature == tmp_path / f"{path.name}.sig"
    require_signed(path, signature, public)
    with pytest.raises(UsageError, match="does not hold"):
        require_signed(path, signature, other)
    files = [file for file in (path, path.with_suffix(".npz")) if file.is_file()]
    files = files or [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        data = file.read_bytes()
        file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(UsageError, match="does not hold"):
            require_signed(path, signature, public)
        file.write_bytes(data)
    require_signed(path, signature, public)
    told = json.loads(signature.read_text())
    told["dsseEnvelope"]["payload"] = (
        told["dsseEnvelope"]["payload"][:-8] + "AAAA" + told["dsseEnvelope"]["payload"][-4:]
    )
    signature.write_text(json.dumps(told))
    with pytest.raises(UsageError, match="does not hold"):
        require_signed(path, signature, public)


def test_the_package_itself_agrees(exported, tmp_path):
    path = copied(exported("lstm")["onnx"].path, tmp_path)
    private, public = keys(tmp_path)
    signature = sign(path, private)
    command = ["-m", "model_signing", "verify", "key", path, "--signature", signature, "--public_key", public]
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_can_not_be_signed(exported, tmp_path, monkeypatch):
    path = exported("lstm")["onnx"].path
    private, public = keys(tmp_path)
    altered = tmp_path / "altered.onnx"
    altered.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(UsageError, match=r"altered|can't be read"):
        sign(altered, private)
    hidden, _ = keys(tmp_path, "hidden", b"secret")
    for key in (public, hidden, altered):
        with pytest.raises(UsageError, match="can't be used"):
            sign(path, key, tmp_path / "s.sig")
    assert not (tmp_path / "s.sig").exists()
    monkeypatch.setenv(PASSWORD, "secret")
    assert sign(path, hidden, tmp_path / "s.sig").exists()
    with pytest.raises(UsageError, match="no file"):
        require_signed(path, tmp_path / "none.sig", public)


def test_on_the_command_line(exported, rnnexport_command, tmp_path):
    path, (private, public) = copied(exported("lstm")["onnx"].path, tmp_path), keys(tmp_path)
    assert rnnexport_command("sign", path, "--key", private).returncode == 0
    trust = ("--signature", f"{path}.sig", "--public-key", public)
    done = rnnexport_command("verify", path, *trust, "--attest", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    (subject,) = json.loads((tmp_path / "s.json").read_text())["subject"]
    assert subject == {"name": path.name, "digest": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}}
    bad = perturb(path, tmp_path, 1e-2)
    bad.replace(path)
    done = rnnexport_command("verify", path, *trust, "--attest", tmp_path / "t.json")
    assert (done.returncode, "does not hold" in done.stderr, (tmp_path / "t.json").exists()) == (2, True, False)
    done = rnnexport_command("verify", path, "--attest", tmp_path / "t.json")
    assert done.returncode == 1
    assert json.loads((tmp_path / "t.json").read_text())["predicate"]["result"] == "FAILED"
    done = rnnexport_command("verify", path, "--signature", f"{path}.sig")
    assert (done.returncode, "both, for one artifact" in done.stderr) == (2, True)


def test_a_statement_is_what_the_package_of_in_toto_reads(exported, tmp_path):
    paths = [exported("lstm")[to].path for to in ("onnx", "saved-model", "numpy")]
    good = rnnexport.verify(paths)
    bad = rnnexport.verify([paths[0], perturb(paths[2], tmp_path, 1e-2)], providers=["cpu", "azure"])
    for report, result in ((good, "PASSED"), (bad, "FAILED")):
        value = json.loads(to_statement(report))
        Statement.copy_from_pb(json_format.ParseDict(value, statement_pb2.Statement())).validate()
        predicate = json_format.ParseDict(value["predicate"], test_result_pb2.TestResult())
        assert predicate.result == result
        assert bool(predicate.failed_tests) == (result == "FAILED")
        assert len(predicate.passed_tests) + len(predicate.failed_tests) >= len(report.artifacts[0].feeds)
        assert {one.name for one in predicate.configuration} >= {"rnnexport", "numpy", "onnxruntime", "lstm"}
        for subject in value["subject"]:
            folder = tmp_path if subject["name"].startswith("perturbed") else paths[0].parent
            data = (folder / subject["name"]).read_bytes()
            assert subject["digest"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert any("azure: " in one for one in value["predicate"]["failedTests"])


def test_a_statement_says_nothing_of_what_it_does_not_know(exported):
    report = rnnexport.verify(exported("lstm")["onnx"].path, record=False)
    for wrong in (report, Report(())):
        with pytest.raises(UsageError, match="without digests"):
            to_statement(wrong)
