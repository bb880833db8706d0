"""The configuration of the running server: shown, changed, watched, rolled back."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest

from gemini.backend.v1 import config_service_pb2 as pb
from gemini.backend.v1 import config_service_pb2_grpc as rpc
from gemini.backend.v1 import execute_service_pb2 as execute_pb
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "execution.default_model"


@pytest.fixture
def config(channel: grpc.aio.Channel) -> Any:
    """Return the stub of ConfigService."""
    return rpc.ConfigServiceStub(channel)


def update(path: str, **more: Any) -> pb.UpdateConfigRequest:
    """Return a request for a change of one setting, `section.name=value`."""
    name, value = path.split("=")
    message = pb.BackendConfig()
    target: Any = message
    *sections, last = name.split(".")
    for section in sections:
        target = getattr(target, section)
    field = target.DESCRIPTOR.fields_by_name[last]
    number = field.cpp_type in {field.CPPTYPE_DOUBLE, field.CPPTYPE_INT32}
    setattr(target, last, type(getattr(target, last))(float(value)) if number else value)
    return pb.UpdateConfigRequest(config=message, update_mask=FieldMask(paths=[name]), **more)


async def test_secrets_are_masked(config: Any) -> None:
    """A key is shown as being there, and never as what it is."""
    response = await config.GetConfig(pb.GetConfigRequest())
    assert 1 == len(response.config.upstream.gemini.api_keys)
    assert "test-key" not in str(response)
    origins = {value.path: value for value in response.values}
    assert origins["upstream.gemini.api_keys"].secret
    assert pb.CONFIG_ORIGIN_ENVIRONMENT == origins["upstream.gemini.api_keys"].origin
    assert pb.CONFIG_ORIGIN_COMMAND_LINE == origins["server.listen"].origin
    assert origins[MODEL].live


async def test_a_live_change_counts_from_the_next_call_on(config: Any, stub: Any) -> None:
    """Another default model serves the next call that names none; a rollback undoes it."""
    before = await config.GetConfig(pb.GetConfigRequest())
    changed = await config.UpdateConfig(update(f"{MODEL}=gemini-3.5-flash", etag=before.etag))
    assert [MODEL] == list(changed.changed_paths)
    assert before.revision + 1 == changed.revision
    assert changed.etag != before.etag
    events = await collect(stub.Execute(execute_pb.ExecuteRequest(prompt="hi")))
    assert "models/gemini-3.5-flash" == events[0].started.model
    await config.RollbackConfig(pb.RollbackConfigRequest(revision=before.revision))
    events = await collect(stub.Execute(execute_pb.ExecuteRequest(prompt="hi")))
    assert f"models/{before.config.execution.default_model}" == events[0].started.model


async def test_a_change_of_limits_counts_too(config: Any, stub: Any) -> None:
    """A shorter time for the first token ends the next call that needs longer."""
    path = "execution.first_token_timeout_seconds"
    await config.UpdateConfig(update(f"{path}=0.2"))
    slow = execute_pb.ExecuteRequest(prompt="hi [[fault: first_byte_delay seconds=5]]")
    failed = await failure_of(collect(stub.Execute(slow, timeout=10)))
    assert "UPSTREAM_FIRST_TOKEN_TIMEOUT" == failed.reason
    await config.UpdateConfig(update(f"{path}=120"))


async def test_an_old_etag_is_a_conflict(config: Any) -> None:
    """Whoever changes what has changed meanwhile is told to read again; nothing is changed."""
    old = await config.GetConfig(pb.GetConfigRequest())
    await config.UpdateConfig(update("server.drain_seconds=17", etag=old.etag))
    failed = await failure_of(config.UpdateConfig(update("server.drain_seconds=18", etag=old.etag)))
    assert (grpc.StatusCode.ABORTED, "CALLER_CONFLICT") == (failed.code, failed.reason)
    now = await config.GetConfig(pb.GetConfigRequest())
    assert 17 == now.config.server.drain_seconds


async def test_validate_only_changes_nothing(config: Any) -> None:
    """What would come out is shown; what is in force stays."""
    before = await config.GetConfig(pb.GetConfigRequest())
    answer = await config.UpdateConfig(update("server.drain_seconds=99", validate_only=True))
    assert 99 == answer.config.server.drain_seconds
    after = await config.GetConfig(pb.GetConfigRequest())
    assert (before.etag, before.revision) == (after.etag, after.revision)


async def test_what_needs_a_restart_is_refused(config: Any) -> None:
    """FAILED_PRECONDITION, CALLER_NEEDS_RESTART, and the setting by its path."""
    failed = await failure_of(config.UpdateConfig(update("server.listen=127.0.0.1:1")))
    assert (grpc.StatusCode.FAILED_PRECONDITION, "CALLER_NEEDS_RESTART") == (
        failed.code,
        failed.reason,
    )
    fields = [one.field for one in failed.detail(BadRequest).field_violations]
    assert ["config.server.listen"] == fields


@pytest.mark.parametrize(
    "change",
    [
        f"{MODEL}=../etc/passwd",
        "execution.default_deadline_seconds=-1",
        "execution.first_token_timeout_seconds=nan",
        "execution.idle_timeout_seconds=inf",
        "logging.level=loud",
    ],
)
async def test_a_value_that_cannot_be_is_refused(config: Any, change: str) -> None:
    """INVALID_ARGUMENT, and all stays as it was."""
    before = await config.GetConfig(pb.GetConfigRequest())
    failed = await failure_of(config.UpdateConfig(update(change)))
    assert (grpc.StatusCode.INVALID_ARGUMENT, "CALLER_INVALID_REQUEST") == (
        failed.code,
        failed.reason,
    )
    assert before.etag == (await config.GetConfig(pb.GetConfigRequest())).etag


async def test_a_path_that_is_none_is_refused(config: Any) -> None:
    """A mask that names no setting is INVALID_ARGUMENT, with the nearest right name."""
    mask = FieldMask(paths=["execution.default_modle"])
    failed = await failure_of(
        config.UpdateConfig(pb.UpdateConfigRequest(config=pb.BackendConfig(), update_mask=mask))
    )
    assert "CALLER_INVALID_REQUEST" == failed.reason
    assert MODEL in failed.message


async def test_changes_can_be_watched(config: Any) -> None:
    """The revision in force comes first, then each new one with what has changed."""
    watch = config.WatchConfig(pb.WatchConfigRequest())
    first = await asyncio.wait_for(watch.read(), 2)
    assert not first.changed_paths
    await config.UpdateConfig(update("server.drain_seconds=21"))
    second = await asyncio.wait_for(watch.read(), 2)
    watch.cancel()
    assert (first.revision + 1, ["server.drain_seconds"]) == (
        second.revision,
        list(second.changed_paths),
    )
    assert 21 == second.config.server.drain_seconds


async def test_the_log_level_changes_at_once(config: Any) -> None:
    """A live logging setting is taken up without a restart."""
    answer = await config.UpdateConfig(update("logging.level=warning"))
    assert "warning" == answer.config.logging.level
    await config.UpdateConfig(update("logging.level=info"))


async def test_history_lists_newest_first(config: Any) -> None:
    """Revisions come latest first, each with what it changed."""
    answer = await config.ListConfigRevisions(pb.ListConfigRevisionsRequest(page_size=100))
    numbers = [revision.revision for revision in answer.revisions]
    assert sorted(numbers, reverse=True) == numbers
    assert 1 == numbers[-1]
    assert "test-key" not in str(answer)
