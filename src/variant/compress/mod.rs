//! Content codings: which answers are coded, with what, and the streaming coders themselves.

mod best;
mod brotli;
mod decode;
mod decoder;
mod dictionary;
mod encoder;
mod gzip;
mod marking;
mod plan;
mod types;
mod zstd;

pub use self::best::{BestCoded, BestCoder, cpu_time};
pub use self::decode::{DecodeError, decode, holds};
pub use self::decoder::Decoder;
pub use self::dictionary::{DeltaCoding, DictionaryHash, encode_delta};
pub use self::encoder::{Encoder, encode};
pub use self::marking::{DictionaryPattern, DictionaryPatternError};
pub use self::plan::{
    Choice, Uncoded, choose, eligible, eligible_at_need, is_uncoded, uncoded, undoable,
};
pub(super) use self::types::COMPRESSIBLE;
