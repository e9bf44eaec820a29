//! What becomes of a response between origin, tiers and readers: lookup, flights, install, purge.
