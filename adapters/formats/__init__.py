"""One module a file format; each turns bytes into the shapes of `adapters.model` and back."""
