"""Code that only development and demos use: the sandbox, the embedded servers and the demo."""
