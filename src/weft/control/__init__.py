"""The control plane's task tree: settle, offer, serve. Everything that decides anything is in the pure stages below it."""
