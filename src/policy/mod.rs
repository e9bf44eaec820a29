//! The decisions of an HTTP cache as pure functions (RFC 9111, 5861, 8246, 9213): what may be stored,
//! for how long, when it may be used again, and how a stored response answers a conditional request.
//! Stored response and time in, decision and reason out.

mod client;
mod config;
mod freshness;
mod invalidate;
mod key;
mod key_text;
mod kind;
mod lifetime;
mod overrides;
mod reuse;
#[cfg(test)]
mod sample;
mod storable;
mod tags;
mod validate;
mod vary;

pub use self::client::{client_fields, restarts_age};
pub use self::config::{
    Authorization, BrowserTtl, Config, KeyConfig, Mode, QueryMode, QueryPolicy, SetCookie, Slice,
    StatusTtl, VaryAction, VaryConfig,
};
pub use self::freshness::Freshness;
pub use self::invalidate::{Invalidation, invalidations};
pub use self::key::{KeyParts, forwarded_query, host_of, primary_key, url_key, without_port};
pub use self::key_text::KeyText;
pub use self::overrides::Overrides;
pub use self::reuse::{
    Reuse, Unusable, answers_reload, forbids_storing, is_only_if_cached, may_serve_on_error, reuse,
    why_unusable,
};
pub use self::storable::{Exchange, NotStored, Storability, assess, assess_post, stored_fields};
pub use self::tags::{Tags, tags};
pub use self::validate::{
    ByHead, Precondition, conditional_fields, evaluate, freshen_by_head, is_part_of, range_applies,
    strong_validator, update_stored,
};
pub use self::vary::{VaryRule, secondary_key};
