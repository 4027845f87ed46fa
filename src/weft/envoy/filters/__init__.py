"""One file per HTTP filter. ``chain.py`` holds their order."""
