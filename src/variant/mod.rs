//! Other forms of a stored object: content codings and pictures. Plans are pure; making one runs on
//! bounded threads.

mod compress;
mod config;
mod image;
mod untouchable;

pub use self::compress::{
    Choice, DecodeError, Decoder, DeltaCoding, DictionaryHash, Encoder, choose, decode, eligible,
    eligible_at_need, encode, encode_delta, is_uncoded, undoable,
};
pub use self::config::{
    Coding, CompressionConfig, CompressionWorkers, ImageConfig, ImageFormat, ImageQuality,
    ImageWorkers, LevelByCoding,
};
pub use self::image::{
    Announced, Collector, Fit, FormatImages, ImageError, ImagePool, ImageStats, Keep, Order,
    ParameterError, Picture, Recipe, Refused, SiteImages, SourceBytes, SourceFormat, Urgency, Wish,
    WishedFormat, applies, recipe, wish_of,
};
