"""Which kind of work each RPC of the contract is."""

from __future__ import annotations

from functools import lru_cache

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.audit.acts import is_recorded
from gemini_backend.call import Work

_EXECUTIONS = {
    "/gemini.backend.v1.ExecuteService/Execute": Work.EXECUTION,
    "/gemini.backend.v1.ExecuteService/Process": Work.EXECUTION,
}

# What starts an execution, or many.
_KINDS = {
    "/gemini.backend.v1.ExecuteService/Execute": pb.EXECUTION_KIND_EXECUTE,
    "/gemini.backend.v1.ExecuteService/Process": pb.EXECUTION_KIND_PROCESS,
    "/gemini.backend.v1.ExecuteService/ExecuteCode": pb.EXECUTION_KIND_EXECUTE_CODE,
    "/gemini.backend.v1.ExecuteService/BatchExecute": pb.EXECUTION_KIND_BATCH,
}


def kind_of(method: str) -> pb.ExecutionKind.ValueType | None:
    """Return what kind of execution an RPC starts, by its path; None where it starts none."""
    return _KINDS.get(method)


@lru_cache(maxsize=256)
def work_of(method: str) -> Work:
    """Return the kind of work of an RPC of the contract, by its path."""
    return _EXECUTIONS.get(method) or (Work.ACT if is_recorded(method) else Work.CALL)
