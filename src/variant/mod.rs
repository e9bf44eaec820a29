//! Other forms of a stored object: content codings and pictures. Plans are pure; making one runs on
//! bounded threads.

mod compress;
mod config;
mod image;
mod untouchable;

pub use self::compress::{
    BestCoded, BestCoder, Choice, DecodeError, Decoder, DeltaCoding, DictionaryHash,
    DictionaryPattern, DictionaryPatternError, Encoder, Uncoded, choose, cpu_time, decode,
    eligible, eligible_at_need, encode, encode_delta, holds, is_uncoded, uncoded, undoable,
};
pub use self::config::{
    Coding, CompressionConfig, CompressionWorkers, DictionaryConfig, DictionaryMode, Fallback,
    ImageConfig, ImageFormat, ImageQuality, ImageSigning, ImageWorkers, LevelByCoding, PathStyle,
    Refused, SigningKey, Vendor,
};
pub use self::image::{
    Announced, Asked, Collector, Effort, Fit, FormatImages, HINT_FIELDS, Hints, ImageError,
    ImagePool, ImagePreset, ImageStats, JobRefused, Keep, Located, Media, Order, ParameterError,
    PathParameters, Picture, Placeholder, Recipe, SignatureError, SiteImages, SourceBytes,
    SourceFormat, Urgency, Wish, WishedFormat, applies, asked, check_signature, located, recipe,
    render_here, signature_of, wish_of,
};
