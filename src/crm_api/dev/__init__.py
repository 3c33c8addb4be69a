"""Parts that only development and demos need: the sandbox, embedded servers and the demo."""
