//! The `brim` program.

fn main() {}
