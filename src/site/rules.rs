use http::StatusCode;

use crate::policy::Overrides;
use crate::rules::{Pattern, Program, Template};
use crate::variant::{Fallback, ImageConfig, ImageQuality, Keep, Refused};

use super::HeaderRules;

/// `[[redirect]]`, `[[rewrite]]` and `[[rule]]` of a site, checked. Redirects and rewrites come first, and rules see
/// the path that they leave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SiteRules {
    /// The first one that matches answers.
    pub redirects: Vec<Redirect>,
    /// The first one that matches changes the path.
    pub rewrites: Vec<Rewrite>,
    /// All that hold count; a later one wins setting by setting.
    pub program: Program<Action>,
}

/// One `[[redirect]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Redirect {
    /// Of the canonical path.
    pub from: Pattern,
    /// Where it leads.
    pub to: RedirectTo,
}

/// Where a redirect leads.
#[derive(Debug, Clone, PartialEq)]
pub struct RedirectTo {
    /// Makes the `Location`.
    pub to: Template,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// One `[[rewrite]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// Of the canonical path.
    pub from: Pattern,
    /// Makes the new path.
    pub to: Template,
}

/// What a rule does. `None` and empty lists leave things as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Caching.
    pub cache: Overrides,
    /// Fields of the response, after those of the site and of earlier rules.
    pub headers: HeaderRules,
    /// Purge tags of what is stored, beside the origin's.
    pub tags: Vec<String>,
    /// Answers before the cache is asked.
    pub redirect: Option<RedirectTo>,
    /// Changes the path, and so the key and what the origin is asked.
    pub rewrite: Option<Template>,
    /// Whether the edge compresses.
    pub compression: Option<bool>,
    /// Pictures.
    pub images: ImageOverrides,
    /// Refuses.
    pub deny: Option<Deny>,
}

/// Picture settings that stand in for the site's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageOverrides {
    /// Whether pictures are touched at all.
    pub enabled: Option<bool>,
    /// Whether every picture gets the best format.
    pub auto: Option<bool>,
    /// Whether parameters in the query are read.
    pub parameters: Option<bool>,
    /// What of a source's metadata stays.
    pub keep: Option<Keep>,
    /// What a picture that cannot be processed is answered with.
    pub refused: Option<Refused>,
    /// What is served when pictures cannot be made in time.
    pub fallback: Option<Fallback>,
    /// Default quality by format.
    pub quality: QualityOverrides,
}

impl ImageOverrides {
    /// Puts what is set in the place of what `images` has.
    pub fn apply(&self, images: &mut ImageConfig) {
        images.enabled = self.enabled.unwrap_or(images.enabled);
        images.auto = self.auto.unwrap_or(images.auto);
        images.parameters = self.parameters.unwrap_or(images.parameters);
        images.keep = self.keep.unwrap_or(images.keep);
        images.refused = self.refused.unwrap_or(images.refused);
        images.fallback = self.fallback.unwrap_or(images.fallback);
        self.quality.apply(&mut images.quality);
    }
}

/// Default qualities that stand in for the site's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QualityOverrides {
    /// JPEG.
    pub jpeg: Option<u8>,
    /// Lossy WebP.
    pub webp: Option<u8>,
    /// AVIF.
    pub avif: Option<u8>,
}

/// What a rule says about refusing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deny {
    /// With this status, 400 to 499.
    With(StatusCode),
    /// Takes an earlier rule's refusal back.
    No,
}

impl QualityOverrides {
    /// Puts what is set in the place of what `quality` has.
    pub fn apply(&self, quality: &mut ImageQuality) {
        quality.jpeg = self.jpeg.unwrap_or(quality.jpeg);
        quality.webp = self.webp.unwrap_or(quality.webp);
        quality.avif = self.avif.unwrap_or(quality.avif);
    }
}
