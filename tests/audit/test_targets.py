"""What an entry has of a request: whom it concerned, and never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import message_factory
from google.protobuf.field_mask_pb2 import FieldMask

from gemini.backend.v1 import config_service_pb2, key_service_pb2, upstream_key_service_pb2
from gemini_backend.audit.acts import changes, is_recorded
from gemini_backend.audit.targets import details_of, target_in, target_of
from gemini_backend.rpc.contract import SERVICES

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

METHODS = {
    f"/{service.full_name}/{method.name}": method
    for service in SERVICES
    for method in service.methods
}
# They concern everything of their kind.
WITHOUT_TARGET = {"RotateUpstreamKeyEncryption", "ListAuditEntries", "VerifyAuditLog"}


@pytest.mark.parametrize(
    ("request_", "target", "details"),
    [
        (
            config_service_pb2.UpdateConfigRequest(
                update_mask=FieldMask(paths=["retry.enabled", "cache.mode"]),
                reset_paths=["hedge.enabled"],
                comment="why",
                validate_only=True,
            ),
            "retry.enabled, cache.mode, hedge.enabled",
            {"comment": "why", "validate_only": "true"},
        ),
        (config_service_pb2.RollbackConfigRequest(revision=3), "revisions/3", {}),
        (
            key_service_pb2.CreateApiKeyRequest(
                key=key_service_pb2.ApiKey(tenant="acme", principal="bob", roles=[1, 4])
            ),
            "",
            {"tenant": "acme", "principal": "bob", "roles": "ROLE_CALLER, ROLE_ADMIN"},
        ),
        (key_service_pb2.RevokeApiKeyRequest(name="keys/a"), "keys/a", {}),
        (
            upstream_key_service_pb2.CreateUpstreamKeyRequest(key="AIzaSecret", project="p"),
            "",
            {"project": "p"},
        ),
    ],
)
def test_what_a_request_concerns(request_: Any, target: str, details: dict[str, str]) -> None:
    """Names, changed paths and revisions; who gets a key; why, where that was said."""
    assert (target, details) == (target_of(request_), details_of(request_))


def test_what_is_made_is_named_by_its_answer() -> None:
    """The name of a new resource is known once it is there."""
    key = key_service_pb2.CreateApiKeyResponse(key=key_service_pb2.ApiKey(name="keys/a"))
    key.secret = "gbk_a_secret"
    assert "keys/a" == target_in(key)
    assert "" == target_in(key_service_pb2.WhoAmIResponse())


def test_which_rpcs_are_recorded() -> None:
    """Those that act on the server, and those that look at the log."""
    recorded = {method.rpartition("/")[2] for method in METHODS if is_recorded(method)}
    assert {
        "UpdateConfig",
        "RollbackConfig",
        "CreateApiKey",
        "RotateApiKey",
        "RevokeApiKey",
        "CreateUpstreamKey",
        "DeleteUpstreamKey",
        "RotateUpstreamKeyEncryption",
        "ListAuditEntries",
        "VerifyAuditLog",
    } == recorded
    assert not changes("/gemini.backend.v1.AuditService/VerifyAuditLog")


@pytest.mark.parametrize(
    "method", [one for name, one in METHODS.items() if is_recorded(name)], ids=lambda one: one.name
)
def test_every_recorded_rpc_has_a_target(method: MethodDescriptor) -> None:
    """A new administrative RPC names what it concerns, in its request or its answer."""
    request, answer = method.input_type.fields_by_name, method.output_type.fields
    named = {"name", "update_mask", "revision"} & set(request)
    made = [
        field.name
        for field in answer
        if field.message_type is not None
        and not field.is_repeated
        and "name" in field.message_type.fields_by_name
    ]
    assert (method.name in WITHOUT_TARGET) != bool(named or made)


@pytest.mark.parametrize(
    "method", [one for name, one in METHODS.items() if is_recorded(name)], ids=lambda one: one.name
)
def test_no_field_that_may_be_secret_is_told(method: MethodDescriptor) -> None:
    """A text in any field that is not named in this test stays out of the entry."""
    request: Any = message_factory.GetMessageClass(method.input_type)()
    known = {"name", "project", "display_name", "comment"}
    for field in method.input_type.fields:
        text = field.type == field.TYPE_STRING and not field.is_repeated
        if text and field.name not in known:
            setattr(request, field.name, "planted")
    assert "planted" not in f"{target_of(request)} {details_of(request)}"
