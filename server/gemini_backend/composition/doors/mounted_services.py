"""The gRPC server: each service of the contract, behind the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.api import execute
from gemini_backend.rpc import contract, handlers, server
from gemini_backend.rpc.compressed import Unpacking
from gemini_backend.rpc.guard import Guarded
from gemini_backend.rpc.mounting import interceptors, mount
from gemini_backend.rpc.side_services import SideServices
from gemini_backend.rpc.unknown_methods import UnknownMethods
from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    import grpc

    from gemini_backend.composition.assembly import Assembly
    from gemini_backend.composition.doors.grpc_doors import Doors
    from gemini_backend.config.sections.server import ServerOptions
    from gemini_backend.rpc.standard_health import Health


def grpc_server(
    options: ServerOptions,
    assembly: Assembly,
    health: Health,
    doors: Doors,
    max_connections: int,
) -> grpc.aio.Server:
    """Return the server with every service mounted; no port is open yet."""
    services = [
        handlers.handlers_of(
            service,
            assembly.services.get(service.name),
            options.max_message_mb * MIB,
            execute.READ_AS if service.name == "ExecuteService" else None,
        )
        for service in contract.SERVICES
    ]
    mounted = mount(interceptors(assembly.chain), services)
    built = server.build_server(options, *mounted, max_connections)
    others: Any = Unpacking(SideServices(built, doors.calls))
    if doors.guard is not None:
        others = Guarded(others, doors.guard, doors.calls)
    health.mount(others)
    if options.reflection:
        contract.mount_reflection(others)
    if options.channelz:
        contract.mount_channelz(others)
    built.add_generic_rpc_handlers(
        (UnknownMethods(contract.SERVICES, doors.edge),)
    )  # after all others
    return built
