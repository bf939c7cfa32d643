"""What the tests with real peers share beyond the peers: real gateways in front of them."""

from peers.echo import echo_upstream
from peers.gateway import gateway, gateway_logs, gateways

__all__ = ["echo_upstream", "gateway", "gateway_logs", "gateways"]
