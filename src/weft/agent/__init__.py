"""The process beside the proxies: it runs applications and Envoys, captures traffic, checks health and reports."""
