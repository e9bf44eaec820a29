//! The file format: TOML in, checked settings of every room out. All mistakes are reported at once, each
//! with file, line, column, key, value and what to write instead.

mod address;
mod checked;
mod error;
mod field;
mod keys;
mod keys_of_node;
mod keys_of_site;
mod load;
mod quantity;
mod read_images;
mod read_node;
mod read_origin;
mod read_rules;
mod read_site;
mod reference;
mod report;
mod section;
mod source;

pub use self::checked::NodeConfig;
pub use self::error::{ConfigError, ConfigErrors, Excerpt, Position};
pub use self::load::{DEFAULT_FOLDER, ad_hoc, built_in, load, resolve, with_origins};
pub use self::quantity::parse_duration;
pub use self::reference::reference;
pub use self::report::{Report, check_report};
