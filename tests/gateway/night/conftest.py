from tests.gateway.night.world import template_url, world

__all__ = ["template_url", "world"]
