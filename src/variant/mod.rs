//! Other forms of a stored object: content codings and pictures. Plans are pure; making one runs on
//! bounded threads.

mod compress;
mod config;
mod image;
mod untouchable;

pub use self::compress::{DecodeError, Encoder, choose, decode, eligible, encode};
pub use self::config::{
    Coding, CompressionConfig, CompressionWorkers, ImageConfig, ImageFormat, ImageQuality,
    ImageWorkers, LevelByCoding,
};
pub use self::image::{
    Effort, Fit, ImageError, ImagePool, ImageStats, Keep, ParameterError, Picture, Recipe,
    SourceFormat, Wish, WishedFormat, applies, recipe, render_here, wish_of,
};
