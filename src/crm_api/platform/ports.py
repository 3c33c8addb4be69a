"""Check that a port is free before a server starts."""

import socket

from crm_api.platform.processes import StartError


def require_free_port(host: str, port: int, *, takes: str) -> None:
    """Check that this process can listen on a port.

    Args:
        takes: What takes the port, and what the operator can do. The error message ends with this
            text, such as "the API needs this port; set CRM_PORT to another port".

    Raises:
        StartError: The port is in use or not allowed, or the host is not an address of this
            machine.
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(
            f"CRM_HOST is {host}, which is not an address of this machine ({error.strerror}); set "
            "it to an address such as 127.0.0.1"
        ) from error
    for family, kind, protocol, _, address in infos:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise StartError(f"port {port} on {host} cannot be used ({reason}); {takes}") from (
                    error
                )
