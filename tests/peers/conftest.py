"""What the tests with real peers share beyond the peers: real gateways in front of them."""

from support.peers.airflow2_as import airflow2_as
from support.peers.echo import echo_upstream
from support.peers.fab import keyed_airflow
from support.peers.gateway import gateway, gateway_logs, gateways
from support.peers.openid_users import airflow_users
from support.peers.plugin import plugged_airflow, plugged_python

__all__ = [
    "airflow2_as",
    "airflow_users",
    "echo_upstream",
    "gateway",
    "gateway_logs",
    "gateways",
    "keyed_airflow",
    "plugged_airflow",
    "plugged_python",
]
