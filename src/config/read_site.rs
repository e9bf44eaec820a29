use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use toml::de::{DeTable, DeValue};

use crate::origin::{self, ClientHeaders, HostHeader};
use crate::policy::{
    self, Authorization, BrowserTtl, KeyConfig, Mode, QueryMode, SetCookie, Slice, StatusTtl,
    VaryAction, VaryConfig,
};
use crate::rules::StatusTest;
use crate::semantics::dictionary::{AVAILABLE_DICTIONARY, DICTIONARY_ID};
use crate::site::{
    CacheStatusDetail, Cors, Diagnostics, HeaderRules, HostPattern, PublicPurge, Site, SiteRules,
};
use crate::store::Quota;
use crate::variant::{Coding, CompressionConfig, DictionaryConfig, DictionaryMode};

use super::address;
use super::field;
use super::keys::LIFETIME;
use super::read_images::read_images;
use super::read_node::{bearer_token, secret};
use super::read_origin::read_origin;
use super::read_rules::{network, read_rules};
use super::section::{Entry, Section, Walk, duration_value, text_of};
use super::source::{Place, Wrong};

pub(super) const MODES: [(&str, Mode); 4] = [
    ("respect", Mode::Respect),
    ("static", Mode::Static),
    ("all", Mode::All),
    ("off", Mode::Off),
];
pub(super) const SET_COOKIES: [(&str, SetCookie); 3] = [
    ("bypass", SetCookie::Bypass),
    ("strip", SetCookie::Strip),
    ("store", SetCookie::Store),
];
pub(super) const AUTHORIZATIONS: [(&str, Authorization); 3] = [
    ("bypass", Authorization::Bypass),
    ("strip", Authorization::Strip),
    ("rfc", Authorization::Rfc),
];

/// A site file read, before it is compared with the others.
#[derive(Debug)]
pub(super) struct SiteDraft<'a> {
    pub(super) site: Site,
    top: Section<'a>,
    hosts: Vec<(HostPattern, Place<'a>)>,
}

pub(super) fn read_site<'a>(
    walk: &'a Walk<'a>,
    table: &'a DeTable<'a>,
    base: &Path,
    file_name: &str,
) -> SiteDraft<'a> {
    let top = Section::top(walk, table);
    let name = read_name(top, file_name);
    let hosts = read_hosts(top);
    let mut methods = vec![Method::GET, Method::HEAD, Method::OPTIONS];
    let listed = top.items("methods", field::method);
    if let Some(listed) = top.not_empty("methods", listed) {
        methods = listed.into_iter().map(|(method, _)| method).collect();
    }
    let mut max_request_body_bytes = 0;
    top.size("max_request_body", &mut max_request_body_bytes);
    let origin = read_origin(top.section("origin"), base);
    let cache = top.section("cache");
    let site = Site {
        name: name.into(),
        hosts: hosts.iter().map(|(host, _)| host.clone()).collect(),
        methods,
        max_request_body_bytes,
        cache: read_cache(cache, &origin),
        quota: read_quota(cache.section("quota")),
        origin,
        compression: read_compression(top.section("compression")),
        images: read_images(top.section("images"), base),
        response_headers: read_response_headers(top.section("headers").section("response")),
        cors: read_cors(top.section("cors")),
        diagnostics: read_diagnostics(top.section("diagnostics")),
        public_purge: read_public_purge(top.section("purge").section("public"), base),
        rules: SiteRules::default(),
    };
    let rules = read_rules(top, &site.hosts, &site.cache);
    let site = Site {
        rules,
        cache: vary_by_dictionaries(site.cache.clone(), &site.compression, &site.origin),
        ..site
    };
    SiteDraft { site, top, hosts }
}

impl SiteDraft<'_> {
    /// Notes what this site has in common with an earlier one and must not.
    pub(super) fn compare(&self, earlier: &SiteDraft<'_>, earlier_file: &Path) {
        let file = earlier_file.display();
        if self.site.name == earlier.site.name {
            let name = &self.site.name;
            self.top.refuse(
                "name",
                Wrong::new(
                    format!("{file} has the name {name:?}, too"),
                    "write another name",
                ),
            );
        }
        for (host, place) in &self.hosts {
            if earlier.hosts.iter().any(|(other, _)| other == host) {
                let wrong = Wrong::new(
                    format!(
                        "site {:?} in {file} answers for this host",
                        earlier.site.name
                    ),
                    "leave it to one of the two sites",
                );
                self.top.refuse_at(*place, "hosts", wrong);
            }
        }
    }
}

fn read_public_purge(section: Section<'_>, base: &Path) -> PublicPurge {
    let mut public = PublicPurge::default();
    section.list("allow_ips", &mut public.allow_ips, network);
    section.value("token", &mut public.token, |value| match value {
        // As secret as this file is: for whoever makes it of a template.
        DeValue::String(text) => match text.is_empty() {
            true => Ok(String::new()),
            false => bearer_token(text, "the text"),
        },
        _ => secret(value, base),
    });
    public
}

fn read_name(top: Section<'_>, file_name: &str) -> String {
    let mut name = String::new();
    top.text("name", &mut name, field::label);
    if top.has("name") {
        return name;
    }
    match field::label(file_name) {
        Ok(name) => name,
        Err(_) => {
            let wrong = Wrong::new(
                "missing, and the file's name cannot be the site's",
                "write name = \"assets\", for example",
            );
            top.refuse("name", wrong);
            name
        }
    }
}

fn read_hosts<'a>(top: Section<'a>) -> Vec<(HostPattern, Place<'a>)> {
    if !top.require(
        "hosts",
        "write hosts = [\"static.example.com\"], for example",
    ) {
        return Vec::new();
    }
    let hosts = top.items("hosts", address::host_pattern);
    top.not_empty("hosts", hosts).unwrap_or_default()
}

fn read_cache(section: Section<'_>, origin: &origin::Config) -> policy::Config {
    let mut cache = policy::Config::default();
    section.word("mode", &mut cache.mode, &MODES);
    read_lifetimes(section, &mut cache);
    section.list("targeted", &mut cache.targeted, field::end_to_end_name);
    section.flag("s_maxage_allows_stale", &mut cache.s_maxage_allows_stale);
    section.flag(
        "respect_request_directives",
        &mut cache.respect_request_directives,
    );
    section.word("set_cookie", &mut cache.set_cookie, &SET_COOKIES);
    section.word("authorization", &mut cache.authorization, &AUTHORIZATIONS);
    section.word(
        "slice",
        &mut cache.slice,
        &[("auto", Slice::Auto), ("never", Slice::Never)],
    );
    section.flag("heuristic", &mut cache.heuristic);
    section.flag("collapse", &mut cache.collapse);
    section.duration("object_deadline", &mut cache.object_deadline);
    section.size("max_object", &mut cache.max_object_bytes);
    section.list("tags", &mut cache.tags, field::end_to_end_name);
    section.integer("max_variants", &mut cache.max_variants);
    section.flag("deception_guard", &mut cache.deception_guard);
    section.flag("forward_targeted", &mut cache.forward_targeted);
    section.flag("no_vary_search", &mut cache.no_vary_search);
    section.flag("rewrite_age", &mut cache.rewrite_age);
    cache.vary = read_vary(section);
    cache.key = read_key(section.section("key"), origin);
    cache
}

fn read_quota(section: Section<'_>) -> Quota {
    let mut quota = Quota::default();
    section.size("memory", &mut quota.memory_bytes);
    section.size("disk", &mut quota.disk_bytes);
    quota
}

fn read_lifetimes(section: Section<'_>, cache: &mut policy::Config) {
    section.duration("default_ttl", &mut cache.default_ttl);
    section.duration("min_ttl", &mut cache.min_ttl);
    section.duration("max_ttl", &mut cache.max_ttl);
    section.value("override_ttl", &mut cache.override_ttl, override_ttl);
    section.value("browser_ttl", &mut cache.browser_ttl, browser_ttl);
    cache.status_ttl = read_status_ttl(section);
    section.duration("stale_while_revalidate", &mut cache.stale_while_revalidate);
    section.duration("stale_if_error", &mut cache.stale_if_error);
    section.duration("uncacheable_memory", &mut cache.uncacheable_memory);

    let bounded = [
        ("min_ttl", Some(cache.min_ttl)),
        ("default_ttl", Some(cache.default_ttl)),
        ("override_ttl", cache.override_ttl),
    ];
    for (name, length) in bounded {
        if length.is_some_and(|length| length > cache.max_ttl) {
            let at = if section.has(name) { name } else { "max_ttl" };
            section.refuse(
                at,
                Wrong::new(
                    format!("{name} is longer than max_ttl"),
                    format!("write a shorter {name} or a longer max_ttl"),
                ),
            );
        }
    }
}

/// A lifetime; `""` for none.
pub(super) fn override_ttl(value: &DeValue<'_>) -> Result<Option<Duration>, Wrong> {
    match value.as_str() {
        Some("") => Ok(None),
        _ => duration_value(LIFETIME, value).map(Some),
    }
}

/// A lifetime, or `"respect"`.
pub(super) fn browser_ttl(value: &DeValue<'_>) -> Result<BrowserTtl, Wrong> {
    match value.as_str() {
        Some("respect") => Ok(BrowserTtl::Respect),
        _ => duration_value(LIFETIME, value)
            .map(BrowserTtl::Fixed)
            .map_err(|wrong| Wrong::new(wrong.problem, format!("{}, or \"respect\"", wrong.fix))),
    }
}

/// `status_ttl` of a table; the built-in one when it is not there.
pub(super) fn read_status_ttl(section: Section<'_>) -> StatusTtl {
    let Some(entries) = section.entries("status_ttl") else {
        return StatusTtl::default();
    };
    let mut lifetimes = StatusTtl {
        exact: Vec::new(),
        class: Vec::new(),
    };
    for entry in entries {
        let lifetime = match duration_value(LIFETIME, entry.value) {
            Ok(lifetime) => lifetime,
            Err(wrong) => {
                section.refuse_entry(&entry, "status_ttl", wrong);
                continue;
            }
        };
        match status(entry.name) {
            Ok(StatusTest::Exact(status)) => lifetimes.exact.push((status, lifetime)),
            Ok(StatusTest::Class(class)) => lifetimes.class.push((class, lifetime)),
            Err(wrong) => section.refuse_name(&entry, "status_ttl", wrong),
        }
    }
    lifetimes
}

/// A status that can be stored, or a class of them.
pub(super) fn status(text: &str) -> Result<StatusTest, Wrong> {
    let class = match text.as_bytes() {
        [digit @ b'2'..=b'5', b'x', b'x'] => Some(u16::from(digit - b'0')),
        _ => None,
    };
    if let Some(class) = class {
        return Ok(StatusTest::Class(class));
    }
    let exact = text.parse::<StatusCode>().ok();
    exact
        .filter(|status| (200..600).contains(&status.as_u16()))
        .filter(|status| {
            !matches!(
                *status,
                StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
            )
        })
        .map(StatusTest::Exact)
        .ok_or_else(|| {
            Wrong::new(
                format!("{text:?} is no status that can be stored"),
                "write a status such as \"404\", or a class such as \"5xx\"",
            )
        })
}

fn read_vary(section: Section<'_>) -> VaryConfig {
    let mut vary = VaryConfig::default();
    for entry in section.entries("vary").unwrap_or_default() {
        let action = match vary_action(&entry) {
            Ok(action) => action,
            Err(wrong) => {
                section.refuse_entry(&entry, "vary", wrong);
                continue;
            }
        };
        if entry.name == "default" {
            vary.default = action;
            continue;
        }
        match field::name(entry.name) {
            Err(wrong) => section.refuse_name(&entry, "vary", wrong),
            Ok(name) => match vary.fields.iter_mut().find(|(field, _)| *field == name) {
                Some((_, slot)) => *slot = action,
                None => vary.fields.push((name, action)),
            },
        }
    }
    vary
}

fn vary_action(entry: &Entry<'_>) -> Result<VaryAction, Wrong> {
    let fix = "write \"normalize\", \"passthrough\", \"ignore\" or \"bypass\"";
    match text_of(entry.value, "an action")? {
        "normalize" => Ok(VaryAction::Normalize),
        "passthrough" => Ok(VaryAction::Passthrough),
        "ignore" => Ok(VaryAction::Ignore),
        "bypass" => Ok(VaryAction::Bypass),
        _ => Err(Wrong::new("unknown word", fix)),
    }
}

fn read_key(section: Section<'_>, origin: &origin::Config) -> KeyConfig {
    let why = if origin.host_header == HostHeader::Client {
        Some("with host_header = \"client\" the origin may answer otherwise for each host")
    } else if origin.client_headers == ClientHeaders::Transparent {
        Some("with client_headers = \"transparent\" the hosts of a site are kept apart")
    } else {
        None
    };
    let mut key = KeyConfig {
        host: why.is_some(),
        ..KeyConfig::default()
    };
    section.flag("host", &mut key.host);
    if let Some(why) = why.filter(|_| !key.host) {
        section.refuse("host", Wrong::new(why, "write true, or remove it"));
    }
    section.list("headers", &mut key.headers, field::end_to_end_name);
    section.list("cookies", &mut key.cookies, field::cookie);
    let query = section.section("query");
    query.word(
        "mode",
        &mut key.query.mode,
        &[
            ("all", QueryMode::All),
            ("none", QueryMode::None),
            ("include", QueryMode::Include),
            ("exclude", QueryMode::Exclude),
        ],
    );
    query.list("names", &mut key.query.names, field::parameter);
    query.flag("sort", &mut key.query.sort);
    let speaks_of_names = matches!(key.query.mode, QueryMode::Include | QueryMode::Exclude);
    if speaks_of_names && key.query.names.is_empty() && !query.has("names") {
        query.refuse(
            "mode",
            Wrong::new("names no parameters", "write names = [\"v\"] beside it"),
        );
    }
    if !speaks_of_names && !key.query.names.is_empty() {
        query.refuse(
            "names",
            Wrong::new(
                "this mode does not look at names",
                "write mode = \"include\" or \"exclude\", or remove names",
            ),
        );
    }
    key
}

/// What is coded against a dictionary is of use to nobody else: where the origin gets to see what clients have, its answers
/// are kept apart by that whatever the site says, and where it does not, they cannot differ by it.
fn vary_by_dictionaries(
    mut cache: policy::Config,
    compression: &CompressionConfig,
    origin: &origin::Config,
) -> policy::Config {
    let is_seen = compression.dictionaries.mode == DictionaryMode::Passthrough
        || origin.client_headers == ClientHeaders::Transparent;
    let fields = &mut cache.vary.fields;
    for name in [AVAILABLE_DICTIONARY, DICTIONARY_ID] {
        let written = fields.iter().find(|(field, _)| *field == name);
        let action = match (is_seen, written) {
            (true, Some((_, VaryAction::Bypass))) => VaryAction::Bypass,
            (true, _) => VaryAction::Passthrough,
            (false, _) => VaryAction::Ignore,
        };
        fields.retain(|(field, _)| *field != name);
        fields.push((name, action));
    }
    cache
}

fn read_dictionaries(section: Section<'_>) -> DictionaryConfig {
    let mut dictionaries = DictionaryConfig::default();
    let modes = [
        ("off", DictionaryMode::Off),
        ("passthrough", DictionaryMode::Passthrough),
        ("edge", DictionaryMode::Edge),
    ];
    section.word("mode", &mut dictionaries.mode, &modes);
    let patterns = section.items("match", field::dictionary_pattern);
    let patterns = patterns.unwrap_or_default().into_iter();
    dictionaries.patterns = patterns.map(|(pattern, _)| pattern).collect();
    section.integer("keep_versions", &mut dictionaries.keep_versions);
    let is_edge = dictionaries.mode == DictionaryMode::Edge;
    if is_edge && section.lists_nothing("match") {
        let wrong = Wrong::new(
            "the edge is to make answers against dictionaries and knows of none",
            "write match = [\"/assets/app.*.js\"] with the paths of your scripts and style sheets, or mode = \"off\"",
        );
        section.refuse("mode", wrong);
    }
    if !is_edge && !section.lists_nothing("match") {
        let wrong = Wrong::new(
            "only the mode \"edge\" looks at patterns",
            "write mode = \"edge\" or remove match",
        );
        section.refuse("match", wrong);
    }
    dictionaries
}

fn read_compression(section: Section<'_>) -> CompressionConfig {
    let mut compression = CompressionConfig::default();
    section.flag("enabled", &mut compression.enabled);
    let codings = [
        ("zstd", Coding::Zstd),
        ("br", Coding::Brotli),
        ("gzip", Coding::Gzip),
    ];
    section.words("codings", &mut compression.codings, &codings);
    section.any_words("pull", &mut compression.pull, &codings);
    section.list("types", &mut compression.types, field::media_type_or_suffix);
    section.size("min_size", &mut compression.min_size_bytes);
    section.size("max_size", &mut compression.max_size_bytes);
    let levels = section.section("first_level");
    levels.integer("br", &mut compression.first_level.brotli);
    levels.integer("zstd", &mut compression.first_level.zstd);
    levels.integer("gzip", &mut compression.first_level.gzip);
    let levels = section.section("best_level");
    levels.integer("br", &mut compression.best_level.brotli);
    levels.integer("zstd", &mut compression.best_level.zstd);
    levels.integer("gzip", &mut compression.best_level.gzip);
    section.integer("upgrade_after_hits", &mut compression.upgrade_after_hits);
    let dictionaries = section.section("dictionaries");
    compression.dictionaries = read_dictionaries(dictionaries);
    let is_edge = compression.dictionaries.mode == DictionaryMode::Edge;
    if is_edge
        && compression
            .codings
            .iter()
            .all(|coding| *coding == Coding::Gzip)
    {
        let wrong = Wrong::new(
            "answers against dictionaries are made of zstd or br, and the site has neither",
            "add \"zstd\" or \"br\" to codings of [compression], or write mode = \"off\"",
        );
        dictionaries.refuse("mode", wrong);
    }
    if compression.min_size_bytes > compression.max_size_bytes {
        let name = if section.has("min_size") {
            "min_size"
        } else {
            "max_size"
        };
        section.refuse(
            name,
            Wrong::new(
                "min_size is larger than max_size",
                "write a smaller min_size or a larger max_size",
            ),
        );
    }
    compression
}

fn read_response_headers(section: Section<'_>) -> HeaderRules {
    let mut rules = HeaderRules::default();
    fields(section, "set", &mut rules.set, field::end_to_end_name);
    fields(section, "add", &mut rules.add, field::end_to_end_name);
    section.list("remove", &mut rules.remove, field::end_to_end_name);
    rules
}

/// A table of field names and values.
pub(super) fn fields(
    section: Section<'_>,
    name: &'static str,
    slot: &mut Vec<(HeaderName, HeaderValue)>,
    parse_name: impl Fn(&str) -> Result<HeaderName, Wrong>,
) {
    let Some(entries) = section.entries(name) else {
        return;
    };
    let mut found: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(entries.len());
    for entry in entries {
        let value = text_of(entry.value, "a field value").and_then(field::value);
        match (parse_name(entry.name), value) {
            (Ok(field), Ok(_)) if found.iter().any(|(other, _)| *other == field) => {
                let wrong = Wrong::new("written twice (case does not count)", "write it once");
                section.refuse_name(&entry, name, wrong);
            }
            (Ok(field), Ok(value)) => found.push((field, value)),
            (Err(wrong), _) => section.refuse_name(&entry, name, wrong),
            (_, Err(wrong)) => section.refuse_entry(&entry, name, wrong),
        }
    }
    *slot = found;
}

fn read_cors(section: Section<'_>) -> Option<Cors> {
    let mut cors = Cors {
        origins: Vec::new(),
        methods: vec![Method::GET, Method::HEAD],
        headers: vec![http::header::RANGE],
        expose: vec![
            http::header::CONTENT_LENGTH,
            http::header::CONTENT_RANGE,
            http::header::ETAG,
        ],
        max_age: Duration::from_secs(86_400),
    };
    section.list("origins", &mut cors.origins, address::cors_origin);
    section.list("methods", &mut cors.methods, field::any_method);
    section.list("headers", &mut cors.headers, field::name);
    section.list("expose", &mut cors.expose, field::name);
    section.duration("max_age", &mut cors.max_age);
    if cors.origins.len() > 1 && cors.origins.iter().any(|origin| origin == "*") {
        section.refuse(
            "origins",
            Wrong::new(
                "\"*\" already allows all",
                "write [\"*\"] alone, or the origins",
            ),
        );
    }
    (!cors.origins.is_empty()).then_some(cors)
}

fn read_diagnostics(section: Section<'_>) -> Diagnostics {
    let mut diagnostics = Diagnostics {
        cache_status: CacheStatusDetail::Full,
    };
    section.word(
        "cache_status",
        &mut diagnostics.cache_status,
        &[
            ("full", CacheStatusDetail::Full),
            ("minimal", CacheStatusDetail::Minimal),
            ("off", CacheStatusDetail::Off),
        ],
    );
    diagnostics
}
