//! Picture codecs in C behind a safe interface: all unsafe code of the product. Only pixels of ours go in.

mod still;

pub use self::still::{Layout, Plane, Setting, Still, StillError};
