"""Every fault by name: what does it, what it harms, and which good credentials may be refused meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from soak import own_faults as own
from soak import peer_faults as peers
from soak.account import ALL
from soak.credentials import OPAQUE
from soak.world import Fault

_HARMS = frozenset
FAULTS: Final[Mapping[str, Fault]] = {
    "the database is stopped": Fault(peers.away("postgres"), _HARMS({"postgres"})),
    "the database is frozen": Fault(peers.frozen("postgres"), _HARMS({"postgres"})),
    "the database is killed": Fault(peers.database_killed, _HARMS({"postgres"})),
    "the database's connections are cut": Fault(peers.database_connections_cut, _HARMS({"postgres"})),
    "the store's tables are locked": Fault(peers.database_locked, _HARMS({"postgres"})),
    "all connections of the database are taken": Fault(peers.database_full_of_clients, _HARMS({"postgres"})),
    "Redis is stopped": Fault(peers.away("redis"), _HARMS({"redis"})),
    "Redis is frozen": Fault(peers.frozen("redis"), _HARMS({"redis"})),
    "Redis forgets everything": Fault(peers.redis_forgets, _HARMS({"redis"})),
    "Redis' connections are cut": Fault(peers.redis_connections_cut, _HARMS({"redis"})),
    "the KDC is stopped": Fault(peers.away("kdc"), _HARMS({"kdc"})),
    "the KDC is frozen": Fault(peers.frozen("kdc"), _HARMS({"kdc"})),
    "the KDC is slow": Fault(peers.slow("to_kdc"), _HARMS({"kdc"})),
    "the keytab is rotated": Fault(own.keytab_rotated, _HARMS({"kdc"})),
    "slapd is stopped": Fault(peers.away("slapd"), _HARMS({"slapd"})),
    "slapd is frozen": Fault(peers.frozen("slapd"), _HARMS({"slapd"})),
    "slapd is slow": Fault(peers.slow("to_slapd"), _HARMS({"slapd"})),
    "the provider is stopped": Fault(peers.away("provider"), _HARMS({"provider"}), _HARMS({OPAQUE})),
    "the provider is frozen": Fault(peers.frozen("provider"), _HARMS({"provider"})),
    "the provider's keys are rotated": Fault(peers.provider_rotates, _HARMS({"provider"}), _HARMS({OPAQUE})),
    "the upstream is killed": Fault(peers.upstream_killed, _HARMS({"upstream"})),
    "the upstream is frozen": Fault(peers.frozen("upstream"), _HARMS({"upstream"})),
    "the upstream ends answers in the middle": Fault(peers.upstream_cuts, _HARMS({"upstream"})),
    "a replica is killed": Fault(own.replica_killed, _HARMS({"replica"})),
    "the parent of a replica is killed": Fault(own.parent_killed, _HARMS({"replica"})),
    "a replica is restarted": Fault(own.replica_restarted, _HARMS({"replica"})),
    "a replica starts without its store": Fault(own.replica_starts_without_store, _HARMS({"replica", "postgres"})),
    "a replica is frozen": Fault(own.replica_frozen, _HARMS({"replica"})),
    "a worker is killed": Fault(own.worker_killed, _HARMS({"replica"})),
    "a worker is frozen": Fault(own.worker_frozen, _HARMS({"replica"})),
    "nginx is reloaded": Fault(own.front_reloaded, _HARMS({"nginx"})),
    "a worker of nginx is killed": Fault(own.front_worker_killed, _HARMS({"nginx"})),
    "the password file is replaced": Fault(own.password_file_replaced, _HARMS({"htpasswd"})),
    "the clock of a replica is moved": Fault(own.clock_moved, _HARMS({"clock", "replica"}), ALL),
    "the disk of a replica is full": Fault(own.disk_full, _HARMS({"disk", "replica"})),
}
