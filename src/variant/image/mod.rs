//! Pictures: what a URL wishes, the recipe that a client's `Accept` makes of it, and the pool that cooks.

mod colour;
mod cook;
#[cfg(test)]
mod corpus;
mod decode;
mod encode;
mod error;
mod film;
mod headers;
#[cfg(test)]
mod hostile;
mod metadata;
mod operate;
mod operations;
mod pool;
mod raster;
mod recipe;
mod sniff;
#[cfg(test)]
mod testing;
mod wish;

pub use self::error::{ImageError, ParameterError};
pub use self::headers::applies;
pub use self::metadata::Keep;
pub use self::operations::Fit;
pub use self::pool::{
    Announced, Collector, FormatImages, ImagePool, ImageStats, Order, Refused, SiteImages,
    SourceBytes, Urgency,
};
pub use self::recipe::{Picture, Recipe, recipe};
pub use self::sniff::SourceFormat;
pub use self::wish::{Wish, WishedFormat, wish_of};
