//! What is done to pixels between decoding and encoding.

mod orientation;
mod resize;

pub(super) use self::orientation::Turn;
pub(super) use self::resize::{Geometry, geometry, resize};
