//! The vocabulary of HTTP: fields, dates, tags, ranges, paths, negotiation. Pure parsers that never
//! panic on any bytes; no I/O, no clock, no configuration.
