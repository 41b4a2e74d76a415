"""How a gateway is seen from outside: metrics, readiness, traces. It changes nothing."""
