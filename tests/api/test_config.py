"""ConfigService.

Covers: api/messages/config.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import protovalidate
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from gemini.backend.v1 import config_service_pb2 as pb
from gemini_backend.api.config import ConfigService
from gemini_backend.api.messages.config import message_of, patch_of
from gemini_backend.call import Call
from gemini_backend.config import MASK, ConfigStore, RevisionFile, read
from gemini_backend.config.reference.catalogue import settings
from gemini_backend.config.revisions import file_in
from gemini_backend.errors import (
    Conflict,
    Draining,
    InvalidRequest,
    NeedsRestart,
    StoreUnavailable,
    UnknownResource,
)
from gemini_backend.policies.base import opened
from gemini_backend.principal import Principal
from gemini_backend.telemetry.health.lifecycle import Lifecycle
from tests.support.messages.calls import CALL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.descriptor import Descriptor

IDLE = "execution.idle_timeout_seconds"
KEY = "AIza-not-a-real-key"
ENVIRON = {
    "GEMINI_API_KEY": KEY,
    "GEMINI_BACKEND_EXECUTION__IDLE_TIMEOUT_SECONDS": "7",
    "GEMINI_BACKEND_CHAOS__RULES": '[{"fault": "cut", "model": "a", "after_events": 3}]',
    "GEMINI_BACKEND_FALLBACK__MODELS": "gemini-a,gemini-b",
    "GEMINI_BACKEND_QUOTA__MODELS": '[{"model": "a", "requests_per_minute": 5}]',
    "GEMINI_BACKEND_INTERCEPTORS": '[{"name": "x", "after": "cache", "options": {"n": [1, "b"]}}]',
}


@pytest.fixture
def store() -> ConfigStore:
    """A store with keys, rules and layers."""
    return ConfigStore(read(None, ENVIRON), nonce="n")


@pytest.fixture
def servicer(store: ConfigStore) -> ConfigService:
    """A servicer over that store."""
    return ConfigService(store, Lifecycle())


def _update(*paths: str, config: pb.BackendConfig | None = None, **more: Any) -> Any:
    mask = FieldMask(paths=paths)
    return pb.UpdateConfigRequest(config=config or pb.BackendConfig(), update_mask=mask, **more)


def _idle(seconds: float) -> pb.BackendConfig:
    return pb.BackendConfig(execution=pb.ExecutionConfig(idle_timeout_seconds=seconds))


def _paths(descriptor: Descriptor, prefix: str = "") -> Iterator[str]:
    for field in descriptor.fields:
        if field.message_type is None or field.is_repeated:
            yield f"{prefix}{field.name}"
        else:
            yield from _paths(field.message_type, f"{prefix}{field.name}.")


def test_the_message_mirrors_the_tree() -> None:
    """BackendConfig has a field for each setting, under the same path, and no other."""
    assert set(_paths(pb.BackendConfig.DESCRIPTOR)) == set(settings())


async def test_messages_and_values_are_inverse(store: ConfigStore) -> None:
    """A configuration sent back as it was shown changes nothing."""
    message = message_of(store.revision.given)
    assert (await store.update(patch_of(message, ["*"]))).number == 1


@pytest.mark.parametrize(("proxy", "shown"), [("http://u:pw@proxy.test:1", MASK), ("", "")])
async def test_a_proxy_is_masked_where_there_is_one(proxy: str, shown: str) -> None:
    """It may hold a password; sent back as it was shown it stays as it is."""
    store = ConfigStore(read(None, {**ENVIRON, "HTTPS_PROXY": proxy}))
    message = message_of(store.revision.given)
    assert shown == message.upstream.gemini.proxy_url
    assert 1 == (await store.update(patch_of(message, ["*"]))).number


async def test_secrets_are_masked(servicer: ConfigService) -> None:
    """Keys are shown by their number only, wherever the configuration is told."""
    answer = await servicer.GetConfig(CALL, pb.GetConfigRequest())
    revisions = await servicer.ListConfigRevisions(CALL, pb.ListConfigRevisionsRequest())
    assert list(answer.config.upstream.gemini.api_keys) == [MASK]
    assert KEY.encode() not in answer.SerializeToString() + revisions.SerializeToString()


async def test_values_say_where_they_come_from(servicer: ConfigService) -> None:
    """Each value has its origin, and whether it is live or secret."""
    answer = await servicer.GetConfig(CALL, pb.GetConfigRequest())
    values = {value.path: value for value in answer.values}
    assert list(values) == sorted(settings())
    assert values[IDLE].origin == pb.CONFIG_ORIGIN_ENVIRONMENT
    assert values[IDLE].origin_detail == "GEMINI_BACKEND_EXECUTION__IDLE_TIMEOUT_SECONDS"
    assert values[IDLE].live
    assert values["upstream.gemini.api_keys"].secret
    assert not values["server.listen"].live
    assert (answer.etag, answer.revision) == ("n-1", 1)


async def test_live_fields_change_at_once(servicer: ConfigService, store: ConfigStore) -> None:
    """A change is in force when the answer comes, with its new etag and revision."""
    answer = await servicer.UpdateConfig(CALL, _update(IDLE, config=_idle(5), etag="n-1"))
    assert (answer.etag, answer.revision, list(answer.changed_paths)) == ("n-2", 2, [IDLE])
    assert answer.config.execution.idle_timeout_seconds == 5
    assert store.current.execution.idle_timeout_seconds == 5


async def test_a_section_is_replaced_whole(servicer: ConfigService, store: ConfigStore) -> None:
    """In a section that is named, what is not set goes back to what the start said."""
    await servicer.UpdateConfig(CALL, _update(IDLE, config=_idle(5)))
    config = pb.BackendConfig(execution=pb.ExecutionConfig(merge_deltas=False))
    answer = await servicer.UpdateConfig(CALL, _update("execution", config=config))
    assert list(answer.changed_paths) == [IDLE, "execution.merge_deltas"]
    assert store.current.execution.idle_timeout_seconds == 7


async def test_lists_are_replaced(servicer: ConfigService, store: ConfigStore) -> None:
    """A list that is named is what the request says, empty included."""
    rule = pb.ChaosRule(fault="latency", probability=0.5, latency_seconds=2)
    config = pb.BackendConfig(chaos=pb.ChaosConfig(rules=[rule]))
    await servicer.UpdateConfig(CALL, _update("chaos.rules", config=config))
    (changed,) = store.current.chaos.rules
    assert (changed.fault, changed.probability, changed.after_events) == ("latency", 0.5, 1)
    await servicer.UpdateConfig(CALL, _update("chaos.rules"))
    assert store.current.chaos.rules == ()


async def test_validate_only_changes_nothing(servicer: ConfigService, store: ConfigStore) -> None:
    """A check answers what would be, with the etag in force."""
    request = _update(IDLE, config=_idle(5), validate_only=True)
    answer = await servicer.UpdateConfig(CALL, request)
    assert answer.config.execution.idle_timeout_seconds == 5
    assert (answer.etag, answer.revision, list(answer.changed_paths)) == ("n-1", 1, [IDLE])
    assert store.current.execution.idle_timeout_seconds == 7


async def test_what_needs_a_restart_is_refused(servicer: ConfigService) -> None:
    """A setting that is not live is refused by its path, with the reason."""
    config = pb.BackendConfig(server=pb.ServerConfig(listen="127.0.0.1:1"))
    with pytest.raises(NeedsRestart, match="restart") as caught:
        await servicer.UpdateConfig(CALL, _update("server.listen", config=config))
    assert [violation.field for violation in caught.value.violations] == ["config.server.listen"]


async def test_wrong_values_are_refused_by_field(servicer: ConfigService) -> None:
    """A wrong value is named by its path."""
    with pytest.raises(InvalidRequest) as caught:
        await servicer.UpdateConfig(CALL, _update(IDLE, config=_idle(-1)))
    assert [violation.field for violation in caught.value.violations] == [f"config.{IDLE}"]


async def test_wrong_paths_name_the_nearest(servicer: ConfigService) -> None:
    """A path that names nothing is refused, with the nearest that does."""
    with pytest.raises(InvalidRequest, match=r"did you mean execution\.idle_timeout_seconds\?"):
        await servicer.UpdateConfig(CALL, _update("execution.idle_timeout_second"))


async def test_stale_etags_conflict(servicer: ConfigService) -> None:
    """A change or a rollback that was meant for another revision is a conflict."""
    with pytest.raises(Conflict):
        await servicer.UpdateConfig(CALL, _update(IDLE, config=_idle(5), etag="n-9"))
    with pytest.raises(Conflict):
        await servicer.RollbackConfig(CALL, pb.RollbackConfigRequest(revision=1, etag="n-9"))


async def test_rollback_and_history(servicer: ConfigService) -> None:
    """A former revision comes back as a new one; the history tells, latest first, in pages."""
    await servicer.UpdateConfig(CALL, _update(IDLE, config=_idle(5), comment="faster"))
    request = pb.RollbackConfigRequest(revision=1, comment="too fast")
    answer = await servicer.RollbackConfig(CALL, request)
    assert (answer.revision, list(answer.changed_paths)) == (3, [IDLE])
    first = await servicer.ListConfigRevisions(CALL, pb.ListConfigRevisionsRequest(page_size=2))
    told = [(one.revision, one.comment, one.rollback_of) for one in first.revisions]
    assert told == [(3, "too fast", 1), (2, "faster", 0)]
    rest = await servicer.ListConfigRevisions(
        CALL, pb.ListConfigRevisionsRequest(page_token=first.next_page_token)
    )
    assert [one.revision for one in rest.revisions] == [1]
    with pytest.raises(UnknownResource):
        await servicer.RollbackConfig(CALL, pb.RollbackConfigRequest(revision=9))


async def test_watching(store: ConfigStore) -> None:
    """A watch gives the revision in force, then each change, until the drain."""
    lifecycle = Lifecycle()
    servicer = ConfigService(store, lifecycle)
    async with opened(servicer.WatchConfig(CALL, pb.WatchConfigRequest())) as revisions:
        first = await anext(revisions)
        assert (first.revision, list(first.changed_paths)) == (1, [])
        await store.update({IDLE: 5})
        second = await anext(revisions)
        assert (second.revision, list(second.changed_paths)) == (2, [IDLE])
        waiting = asyncio.ensure_future(anext(revisions))
        await asyncio.sleep(0)
        lifecycle.drain()
        with pytest.raises(Draining):
            await waiting


def test_shown_configurations_obey_the_contract(store: ConfigStore) -> None:
    """What is shown passes the contract's own rules, so that it can be sent back."""
    request = _update("*", config=message_of(store.revision.given))
    assert protovalidate.collect_violations(request) == []


async def test_a_revision_says_who_made_it(servicer: ConfigService, store: ConfigStore) -> None:
    """The history, and what is in force, have tenant and principal of the call."""
    call = Call("/test", "executions/test", 0.0, principal=Principal("acme", "alice"))
    await servicer.UpdateConfig(call, _update(IDLE, config=_idle(5)))
    history = await servicer.ListConfigRevisions(CALL, pb.ListConfigRevisionsRequest())
    told = [(one.author, list(one.override_paths)) for one in history.revisions]
    assert [("acme/alice", [IDLE]), ("start", [])] == told
    assert "acme/alice" == (await servicer.GetConfig(CALL, pb.GetConfigRequest())).author


async def test_lists_can_be_reset(servicer: ConfigService, store: ConfigStore) -> None:
    """A path in `reset_paths` goes back to what the sources say, a list as well as a value."""
    await servicer.UpdateConfig(CALL, _update("fallback.models", IDLE, config=_idle(5)))
    assert () == store.current.fallback.models
    request = pb.UpdateConfigRequest(config=pb.BackendConfig(), reset_paths=["fallback", IDLE])
    answer = await servicer.UpdateConfig(CALL, request)
    assert [IDLE, "fallback.models"] == list(answer.changed_paths)
    assert ("gemini-a", "gemini-b") == store.current.fallback.models
    assert 7 == store.current.execution.idle_timeout_seconds


@pytest.mark.parametrize("path", ["fallback.model", IDLE])
async def test_paths_that_cannot_be_reset(servicer: ConfigService, path: str) -> None:
    """A path that names nothing, or is to be changed as well, is refused by its field."""
    request = _update(IDLE, config=_idle(5), reset_paths=[path])
    with pytest.raises(InvalidRequest) as caught:
        await servicer.UpdateConfig(CALL, request)
    assert ["reset_paths"] == [violation.field for violation in caught.value.violations]


def test_a_change_names_what_to_change() -> None:
    """The contract refuses a request without a mask and without paths to reset."""
    request = pb.UpdateConfigRequest(config=pb.BackendConfig())
    found = protovalidate.collect_violations(request)
    assert ["config.something_to_change"] == [one.proto.rule_id for one in found]
    request.reset_paths.append(IDLE)
    assert [] == protovalidate.collect_violations(request)


@pytest.mark.parametrize("keys", [["AIza-another-key"], [KEY], []])
async def test_secrets_are_not_set(
    servicer: ConfigService, store: ConfigStore, keys: list[str]
) -> None:
    """A secret is refused by its name, the one in force included, which would tell a guess."""
    gemini = pb.GeminiConfig(api_keys=keys)
    config = pb.BackendConfig(upstream=pb.UpstreamConfig(gemini=gemini))
    with pytest.raises(InvalidRequest, match="is a secret and cannot be set") as caught:
        await servicer.UpdateConfig(CALL, _update("upstream.gemini.api_keys", config=config))
    assert "GEMINI_BACKEND_UPSTREAM__GEMINI__API_KEYS" in str(caught.value)
    assert 1 == store.revision.number


async def test_a_revision_that_cannot_be_kept_is_unavailable(tmp_path: Path) -> None:
    """A store that cannot be written is the server's fault, and nothing has changed."""
    (tmp_path / "config").write_text("in the way")
    kept = RevisionFile(file_in(str(tmp_path)))
    store = ConfigStore(read(None, ENVIRON), kept=kept)
    with pytest.raises(StoreUnavailable, match=r"revisions\.jsonl cannot be written"):
        await ConfigService(store, Lifecycle()).UpdateConfig(CALL, _update(IDLE, config=_idle(5)))
    assert 7 == store.current.execution.idle_timeout_seconds


async def test_a_rollback_names_what_waits_for_a_restart(tmp_path: Path) -> None:
    """Settings of a start stay as they are, and are named."""
    before = ConfigStore(
        read(None, {**ENVIRON, "GEMINI_BACKEND_SERVER__MAX_MESSAGE_MB": "8"}),
        kept=RevisionFile(file_in(str(tmp_path))),
    )
    await before.update({IDLE: 5})
    await before.aclose()
    store = ConfigStore(read(None, ENVIRON), kept=RevisionFile(file_in(str(tmp_path))))
    answer = await ConfigService(store, Lifecycle()).RollbackConfig(
        CALL, pb.RollbackConfigRequest(revision=1)
    )
    assert ([IDLE], ["server.max_message_mb"]) == (
        list(answer.changed_paths),
        list(answer.restart_paths),
    )
    await store.aclose()
