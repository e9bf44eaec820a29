//! The decisions of an HTTP cache as pure functions (RFC 9111, 5861, 8246, 9213): what may be stored,
//! for how long, when it may be used again, and how a stored response answers a conditional request.
//! Stored response and time in, decision and reason out.

mod config;

pub use self::config::{
    Authorization, BrowserTtl, Config, KeyConfig, Mode, QueryMode, QueryPolicy, SetCookie,
    StatusTtl, VaryAction, VaryConfig,
};
