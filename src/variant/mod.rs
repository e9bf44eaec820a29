//! Other forms of a stored object: content codings and pictures. Plans are pure; making one runs on
//! bounded threads.

mod compress;
mod config;
mod image;
mod untouchable;

pub use self::compress::{DecodeError, Encoder, choose, decode, eligible, encode};
pub use self::config::{
    Coding, CompressionConfig, CompressionWorkers, Fallback, ImageConfig, ImageFormat,
    ImageQuality, ImageSigning, ImageWorkers, LevelByCoding, PathStyle, Refused, SigningKey,
    Vendor,
};
pub use self::image::{
    Asked, Effort, Fit, HINT_FIELDS, Hints, ImageError, ImagePool, ImagePreset, ImageStats, Keep,
    Located, Media, ParameterError, PathParameters, Picture, Placeholder, Recipe, SignatureError,
    SourceFormat, Wish, WishedFormat, applies, asked, check_signature, recipe, render_here,
    signature_of, wish_of,
};
