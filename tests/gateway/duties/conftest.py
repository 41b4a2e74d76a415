from tests.gateway.cases.conftest import desk, template_url

__all__ = ["desk", "template_url"]
