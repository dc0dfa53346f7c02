"""nginx's configuration for the front door: exact paths, a certificate for nearly all of them.

The paths are those of Flower 1.41's fleet API and of our own gRPC methods, as they stand in the
protocol's descriptor; nothing is passed on by prefix. A path that has to be decoded, merged or
resolved before it matches is not one of them. Directives: https://nginx.org/en/docs/
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twinward.reach import LEDGER_PATH
from twinward.rpc.peer import ADDRESS_HEADER, SHOWN_HEADER

FLEET_CALLS: Final = (
    "register-node",
    "activate-node",
    "deactivate-node",
    "unregister-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "get-run",
    "get-fab",
    "push-object",
    "pull-object",
    "confirm-message-received",
)
"""All of Flower 1.41's fleet API, which its SuperNodes use; not control, not runtime."""

_KEEPER = "/_served"
_STREAMING = ("Session",)

_HEAD = """\
# Twinward's front door, written by `twinward server front-door`; do not edit, write it again.
# Start: nginx -c {folder}/nginx.conf    New certificate or configuration: add -s reload
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
worker_processes auto;
worker_rlimit_nofile 8192;

events {{ worker_connections 2048; }}

http {{
    server_tokens off;
    log_format plain '$time_iso8601 $remote_addr "$ssl_client_s_dn" $request_method $uri $status';
    access_log {folder}/access.log plain;

    # Nothing that passes is written to a disk.
    client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp; uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
    proxy_request_buffering off; proxy_buffering off; proxy_max_temp_file_size 0;

    # Floods: by address, because a hospital is one address or few.
    limit_req_zone $binary_remote_addr zone=calls:10m rate=100r/s;
    limit_req_zone $binary_remote_addr zone=joining:10m rate=5r/s;
    limit_req_zone $binary_remote_addr zone=withdrawing:10m rate=5r/s;
    limit_conn_zone $binary_remote_addr zone=connections:10m;
    limit_req_status 429;
    limit_conn_status 429;
    limit_conn connections 100;
    client_header_buffer_size 4k;
    large_client_header_buffers 4 8k;
    client_header_timeout 10s;
    client_body_timeout 20s;
    send_timeout 20s;
    keepalive_timeout 300s;
    keepalive_requests 100000;
    reset_timedout_connection on;
    http2_max_concurrent_streams 64;

    ssl_protocols TLSv1.3;
    ssl_certificate {folder}/door.pem;
    ssl_certificate_key {folder}/door.key;
    ssl_client_certificate {folder}/authorities.pem;
    ssl_verify_client optional;
    ssl_verify_depth 2;
    ssl_session_cache off;
    ssl_session_tickets off;

    # Towards the services: the door shows itself, and they have to be the coordinator's.
    proxy_http_version 1.1;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_certificate {folder}/door.pem;
    proxy_ssl_certificate_key {folder}/door.key;
    proxy_ssl_trusted_certificate {folder}/authorities.pem;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 2;
    proxy_ssl_name localhost;
    grpc_ssl_protocols TLSv1.3;
    grpc_ssl_certificate {folder}/door.pem;
    grpc_ssl_certificate_key {folder}/door.key;
    grpc_ssl_trusted_certificate {folder}/authorities.pem;
    grpc_ssl_verify on;
    grpc_ssl_verify_depth 2;
    grpc_ssl_name localhost;
    proxy_redirect off;
    proxy_intercept_errors off;

    upstream network {{ server {behind}:{network}; keepalive 16; }}
    upstream flower {{ server {behind}:{flower}; keepalive 16; }}
    upstream ledger {{ server {behind}:{ledger}; keepalive 16; }}
    upstream join {{ server {behind}:{join}; keepalive 4; }}
    upstream keeper {{ server {behind}:{keeper}; keepalive 16; }}

    # A call for another host, or for none, finds nothing.
    server {{
        listen {port} ssl http2 default_server;
        return 404;
    }}

    server {{
        listen {port} ssl http2;
        server_name {host};
        client_max_body_size 64k;
        limit_req zone=calls burst=400 nodelay;

        location / {{ return 404; }}

        location = {keeper_path} {{
            internal;
            proxy_pass https://keeper/;
            proxy_method GET;
            proxy_pass_request_body off;
            proxy_pass_request_headers off;
            proxy_set_header Connection "";
            proxy_set_header {shown} $ssl_client_escaped_cert;
            proxy_connect_timeout 2s;
            proxy_read_timeout 5s;
        }}
"""

# As it was sent: not encoded, no dots, no double slash, no query; nothing but POST. It stands in
# each place, because a whole server's would also hold for the question to the keeper.
_EXACT = """\
            if ($request_uri != $uri) {{ return 404; }}
            if ($request_method != POST) {{ return 404; }}
"""
_MEMBER = "            if ($ssl_client_verify != SUCCESS) { return 403; }\n"

_HTTP = (
    """
        location = {path} {{
"""
    + _EXACT
    + """\
{member}            auth_request {keeper};
            client_max_body_size {body};
            proxy_pass https://{upstream};
            proxy_set_header Host localhost;
            proxy_set_header Connection "";
            proxy_set_header Authorization "";
            proxy_set_header Cookie "";
            proxy_connect_timeout 5s;
            proxy_read_timeout 130s;
        }}
"""
)

_GRPC = (
    """
        location = {path} {{
"""
    + _EXACT
    + """\
            if ($http2 = "") {{ return 404; }}
{member}{limits}            grpc_pass grpcs://{upstream};
            grpc_set_header {shown} $ssl_client_escaped_cert;
            grpc_set_header {address} {said};
            grpc_set_header Cookie "";
            grpc_connect_timeout 5s;
            grpc_read_timeout {seconds}s;
            grpc_send_timeout {seconds}s;
        }}
"""
)


@dataclass(frozen=True, slots=True)
class Ports:
    """Of the services behind the door."""

    network: int
    flower: int
    ledger: int
    join: int
    keeper: int


def nginx_conf(folder: Path, *, host: str, port: int, behind: str, ports: Ports) -> str:
    """The whole configuration; nginx needs no other file than those in ``folder``.

    Args:
        folder: Where the door's files are, absolute.
        host: The one name that it answers to.
        port: Where it listens, on every address of the machine.
        behind: Address of the services, the loopback.
        ports: Of the services.
    """
    parts = [
        _HEAD.format(
            folder=folder,
            host=host,
            port=port,
            behind=behind,
            keeper_path=_KEEPER,
            shown=SHOWN_HEADER,
            network=ports.network,
            flower=ports.flower,
            ledger=ports.ledger,
            join=ports.join,
            keeper=ports.keeper,
        )
    ]
    # Weights travel through Flower, up to its own limit of a message; blocks through the ledger.
    bodies = dict.fromkeys(fleet_paths(), ("64m", "flower")) | {LEDGER_PATH: ("8m", "ledger")}
    for path, (body, upstream) in bodies.items():
        parts.append(
            _HTTP.format(path=path, member=_MEMBER, keeper=_KEEPER, body=body, upstream=upstream)
        )
    for path in grpc_paths("Network"):
        streaming = path.endswith(_STREAMING)
        # A stream has no length; the coordinator bounds every frame. A hospital computes between
        # two steps, so a silence of minutes is no fault.
        limits = "client_max_body_size 0;\n            client_body_timeout 900s;"
        parts.append(
            _GRPC.format(
                path=path,
                member=_MEMBER,
                shown=SHOWN_HEADER,
                address=ADDRESS_HEADER,
                said='""',
                upstream="network",
                limits=f"            {limits if streaming else 'client_max_body_size 4m;'}\n",
                seconds=900 if streaming else 60,
            )
        )
    # Nobody's certificate: how often is limited here by address, how often in vain behind it. Who
    # withdraws is written down nowhere.
    for service, kept in (
        ("Join", ("limit_req zone=joining burst=20 nodelay;",)),
        ("WithdrawalRelay", ("limit_req zone=withdrawing burst=20 nodelay;", "access_log off;")),
    ):
        parts += [
            _GRPC.format(
                path=path,
                member="",
                shown=SHOWN_HEADER,
                address=ADDRESS_HEADER,
                said="$remote_addr",
                upstream="join",
                limits="".join(f"            {one}\n" for one in kept),
                seconds=30,
            )
            for path in grpc_paths(service)
        ]
    return "".join([*parts, "    }\n}\n"])


def fleet_paths() -> tuple[str, ...]:
    """Of Flower, nothing else."""
    return tuple(f"/v1/fleet/{call}" for call in FLEET_CALLS)


def grpc_paths(service: str) -> tuple[str, ...]:
    """Every method of one of our services, by the protocol's descriptor."""
    from twinward.rpc import messages_pb2  # noqa: PLC0415 - loads protobuf

    found = messages_pb2.DESCRIPTOR.services_by_name[service]
    return tuple(f"/{found.full_name}/{method.name}" for method in found.methods)
