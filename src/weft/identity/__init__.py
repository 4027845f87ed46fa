"""Who is who: the authority of a trust domain, what it signs, and the bundles by which that is checked."""
