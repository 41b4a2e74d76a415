"""Questions about disclosed lines: asked under a pseudonym, answered in the open, never changed."""
