//! Pictures: what a URL wishes, the recipe that a client's `Accept` makes of it, and the pool that cooks.

mod colour;
mod cook;
#[cfg(test)]
mod corpus;
mod decode;
mod encode;
mod error;
mod facts;
mod film;
mod headers;
mod here;
#[cfg(test)]
mod hostile;
mod looks;
mod metadata;
mod operate;
mod operations;
mod placeholder;
mod pool;
mod quality;
mod raster;
mod recipe;
mod sniff;
#[cfg(test)]
mod testing;
mod wish;

pub use self::encode::Effort;
pub use self::error::{ImageError, ParameterError};
pub use self::headers::applies;
pub use self::here::render_here;
pub use self::metadata::Keep;
pub use self::operations::Fit;
pub use self::placeholder::Placeholder;
pub use self::pool::{
    Announced, Collector, FormatImages, ImagePool, ImageStats, JobRefused, Order, SiteImages,
    SourceBytes, Urgency,
};
pub use self::recipe::{Media, Picture, Recipe, recipe};
pub use self::sniff::SourceFormat;
pub use self::wish::{
    Asked, HINT_FIELDS, Hints, ImagePreset, Located, PathParameters, SignatureError, Wish,
    WishedFormat, asked, check_signature, located, signature_of, wish_of,
};
