//! The file format: TOML in, checked settings of every room out. All mistakes are reported at once, each
//! with file, line, column, key, value and what to write instead.

mod checked;

pub use self::checked::{FillConfig, NodeConfig};
