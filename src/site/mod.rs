//! All checked settings of one site, and the table that finds a site by the request's host.

mod rules;
mod settings;
mod table;

pub use self::rules::{
    Action, Deny, ImageOverrides, QualityOverrides, Redirect, RedirectTo, Rewrite, SiteRules,
};
pub use self::settings::{
    CacheStatusDetail, Cors, Diagnostics, HeaderRules, HostPattern, PublicPurge, Site,
};
pub use self::table::{SiteError, Table};
