//! Other forms of a stored object: content codings and pictures. Plans are pure; making one runs on
//! bounded threads.

mod config;

pub use self::config::{
    Coding, CompressionConfig, CompressionWorkers, ImageConfig, ImageFormat, ImageQuality,
    ImageWorkers, LevelByCoding,
};
