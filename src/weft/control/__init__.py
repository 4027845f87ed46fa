"""The control plane's task tree: settle, offer, serve. Whatever decides anything is in the pure stages below it."""
