"""Where configuration and reports come from, and the store that keeps them: bytes in, ``World`` out."""
