use std::time::Duration;

use http::StatusCode;
use toml::de::DeValue;

use crate::policy::{self, Overrides};
use crate::rules::{
    Condition, Expression, Pattern, PatternError, Program, RULES_MAX, Rule, StatusTest, Template,
    TemplateError, ValueTest,
};
use crate::semantics::network::{Network, NetworkError};
use crate::semantics::path::PathError;
use crate::site::{
    Action, Deny, HeaderRules, HostPattern, ImageOverrides, QualityOverrides, Redirect, RedirectTo,
    Rewrite, SiteRules,
};

use super::field;
use super::keys::LIFETIME;
use super::read_images::{self, FALLBACKS, STRIPS};
use super::read_site::{
    AUTHORIZATIONS, MODES, SET_COOKIES, browser_ttl, fields, override_ttl, read_status_ttl, status,
};
use super::section::{Entry, Section, duration_value, text_of};
use super::source::Wrong;

/// Redirects, and rewrites, of one site: each is looked at for every request.
const LIST_MAX: usize = 1000;
/// Tags of one rule.
const TAGS_MAX: usize = 16;
const TAG_BYTES_MAX: usize = 256;

/// `[[redirect]]`, `[[rewrite]]` and `[[rule]]`.
pub(super) fn read_rules(
    top: Section<'_>,
    hosts: &[HostPattern],
    cache: &policy::Config,
) -> SiteRules {
    let redirects = read_redirects(top, hosts);
    let rewrites = read_rewrites(top);
    let sections = top.sections("rule");
    refuse_more(top, "rule", sections.len(), RULES_MAX);
    let mut rules: Vec<Rule<Action>> = Vec::with_capacity(sections.len());
    for (section, number) in sections.iter().zip(1..) {
        let rule = read_rule(*section, number, cache);
        if rules.iter().any(|other| other.name == rule.name) {
            let wrong = Wrong::new(
                format!("another rule is named {:?}", rule.name),
                "write another name",
            );
            section.refuse("name", wrong);
        }
        rules.push(rule);
    }
    let rules = SiteRules {
        redirects,
        rewrites,
        program: Program::new(rules),
    };
    for (section, place) in sections.into_iter().zip(0..) {
        refuse_circle(section, &rules, place, hosts);
    }
    rules
}

fn refuse_more(top: Section<'_>, name: &'static str, count: usize, most: usize) {
    if count > most {
        let problem = format!("{count} of them; a site has at most {most}");
        let wrong = Wrong::new(problem, "join some by patterns, or make two sites");
        top.refuse_at(top.place(name), name, wrong);
    }
}

fn read_redirects(top: Section<'_>, hosts: &[HostPattern]) -> Vec<Redirect> {
    let sections = top.sections("redirect");
    refuse_more(top, "redirect", sections.len(), LIST_MAX);
    let mut redirects: Vec<Redirect> = Vec::with_capacity(sections.len());
    for section in sections {
        let from = read_from(section);
        let to = read_redirect_to(section);
        let (Some(from), Some(to)) = (from, to) else {
            continue;
        };
        refuse_missing_captures(section, &to.to, from.stars(), "from");
        let goes_elsewhere = |path: &str| redirects.iter().any(|r| r.from.matches(path.as_bytes()));
        if let Some(path) = path_of_ours(&to.to, hosts)
            && from.matches(path.as_bytes())
            && !goes_elsewhere(&path)
        {
            section.refuse("to", circle(&path));
        }
        redirects.push(Redirect { from, to });
    }
    redirects
}

fn read_rewrites(top: Section<'_>) -> Vec<Rewrite> {
    let sections = top.sections("rewrite");
    refuse_more(top, "rewrite", sections.len(), LIST_MAX);
    let mut rewrites = Vec::with_capacity(sections.len());
    for section in sections {
        let from = read_from(section);
        if let (Some(from), Some(to)) = (from, read_rewrite_to(section)) {
            refuse_missing_captures(section, &to, from.stars(), "from");
            rewrites.push(Rewrite { from, to });
        }
    }
    rewrites
}

fn read_from(section: Section<'_>) -> Option<Pattern> {
    let mut from = None;
    if section.require("from", "write from = \"/old/*\", for example") {
        section.text("from", &mut from, |text| path_pattern(text).map(Some));
    }
    from
}

fn read_redirect_to(section: Section<'_>) -> Option<RedirectTo> {
    let (mut to, mut number) = (None, 308_u16);
    if section.require("to", "write to = \"/new/$1\", for example") {
        section.text("to", &mut to, |text| {
            Template::of_location(text)
                .map(Some)
                .map_err(|error| wrong_template(text, error))
        });
    }
    section.integer("status", &mut number);
    let status = StatusCode::from_u16(number).ok();
    let Some(status) = status.filter(|_| matches!(number, 301..=303 | 307 | 308)) else {
        let fix = "write 301, 302, 303, 307 or 308";
        section.refuse("status", Wrong::new("not the status of a redirect", fix));
        return None;
    };
    to.map(|to| RedirectTo { to, status })
}

fn read_rewrite_to(section: Section<'_>) -> Option<Template> {
    let mut to = None;
    if section.require("to", "write to = \"/$1\", for example") {
        section.text("to", &mut to, |text| {
            Template::of_path(text)
                .map(Some)
                .map_err(|error| wrong_template(text, error))
        });
    }
    to
}

fn refuse_missing_captures(section: Section<'_>, to: &Template, known: usize, of: &str) {
    let wanted = to.captures();
    if wanted > known {
        let problem = match known {
            0 => format!("${wanted} stands for nothing: {of} captures nothing"),
            1 => format!("${wanted} stands for nothing: {of} captures $1 alone"),
            _ => format!("${wanted} stands for nothing: {of} captures $1 to ${known}"),
        };
        let fix = "put a star where the text is, or leave it out";
        section.refuse("to", Wrong::new(problem, fix));
    }
}

fn circle(path: &str) -> Wrong {
    Wrong::new(
        format!("leads to itself: {path} is redirected again"),
        "write a place that it does not match",
    )
}

/// The path that a redirect leads to, if that is on this site. Each capture is taken for `x`.
fn path_of_ours(to: &Template, hosts: &[HostPattern]) -> Option<String> {
    let sample = to.sample();
    let Some((_, rest)) = sample.split_once("://") else {
        return Some(sample);
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = HostPattern::Exact(host.to_ascii_lowercase());
    let path = if path.is_empty() { "/" } else { path };
    hosts.contains(&host).then(|| path.to_owned())
}

/// Whether the redirect of a rule leads back to it, as far as paths alone decide.
fn refuse_circle(section: Section<'_>, rules: &SiteRules, place: usize, hosts: &[HostPattern]) {
    let all = rules.program.all();
    let Some(rule) = all.get(place) else { return };
    let Some(path) = rule
        .action
        .redirect
        .as_ref()
        .and_then(|to| path_of_ours(&to.to, hosts))
    else {
        return;
    };
    let holds = |when: &Condition| when.is_of_path_alone() && when.admits_path(&path);
    let is_stopped = all
        .iter()
        .take(place)
        .any(|earlier| earlier.stop && holds(&earlier.when));
    let goes_elsewhere = rules
        .redirects
        .iter()
        .any(|redirect| redirect.from.matches(path.as_bytes()));
    if holds(&rule.when) && !is_stopped && !goes_elsewhere {
        section.section("redirect").refuse("to", circle(&path));
    }
}

fn read_rule(section: Section<'_>, number: usize, cache: &policy::Config) -> Rule<Action> {
    let mut rule = Rule {
        name: format!("rule {number}"),
        when: read_condition(section.section("when")),
        stop: false,
        action: Action {
            cache: read_overrides(section.section("cache"), cache),
            headers: read_headers(section.section("headers")),
            tags: Vec::new(),
            redirect: None,
            rewrite: None,
            compression: None,
            images: read_images(section.section("images")),
            deny: None,
        },
    };
    section.text("name", &mut rule.name, rule_name);
    section.flag("stop", &mut rule.stop);
    section.value("deny", &mut rule.action.deny, |value| deny(value).map(Some));
    rule.action.tags = read_tags(section.section("tags"));
    rule.action.compression = flag(section.section("compression"), "enabled");
    let captures = rule.when.captures_known();
    let of = match rule.when.expression {
        Some(_) => "path_regex",
        None => "path",
    };
    let redirect = section.section("redirect");
    if section.has("redirect") {
        rule.action.redirect = read_redirect_to(redirect);
    }
    if let Some(to) = &rule.action.redirect {
        refuse_missing_captures(redirect, &to.to, captures, of);
    }
    let rewrite = section.section("rewrite");
    if section.has("rewrite") {
        rule.action.rewrite = read_rewrite_to(rewrite);
    }
    if let Some(to) = &rule.action.rewrite {
        refuse_missing_captures(rewrite, to, captures, of);
    }
    if rule.when.is_of_response() {
        refuse_too_late(section);
    }
    rule
}

/// What cannot wait for a response.
fn refuse_too_late(section: Section<'_>) {
    let wrong = || {
        Wrong::new(
            "is decided before there is a response, and when speaks of one",
            "write it in a rule without status and content_type",
        )
    };
    for name in ["deny", "redirect", "rewrite"] {
        if section.has(name) {
            section.refuse(name, wrong());
        }
    }
    let cache = section.section("cache");
    if cache.has("authorization") {
        cache.refuse("authorization", wrong());
    }
}

fn read_condition(section: Section<'_>) -> Condition {
    let mut condition = Condition::default();
    section.list("path", &mut condition.paths, path_pattern);
    section.text("path_regex", &mut condition.expression, |text| match text {
        "" => Ok(None),
        text => Expression::parse(text).map(Some).map_err(|error| {
            Wrong::new(
                error.to_string(),
                "write a regular expression; single quotes keep its backslashes",
            )
        }),
    });
    section.list("extension", &mut condition.extensions, extension);
    section.list("method", &mut condition.methods, field::method);
    for entry in section.entries("header").unwrap_or_default() {
        match field::name(entry.name) {
            Ok(name) => {
                if let Some(test) = value_test(section, "header", &entry) {
                    condition.headers.push((name, test));
                }
            }
            Err(wrong) => section.refuse_name(&entry, "header", wrong),
        }
    }
    for entry in section.entries("query").unwrap_or_default() {
        if let Some(test) = value_test(section, "query", &entry) {
            condition.parameters.push((entry.name.to_owned(), test));
        }
    }
    section.list("ip", &mut condition.networks, network);
    if let Some(items) = section.items_of("status", &|value| status_test(value)) {
        condition.statuses = items.into_iter().map(|(test, _)| test).collect();
    }
    section.list(
        "content_type",
        &mut condition.content_types,
        field::media_type,
    );
    condition
}

/// A pattern or a list of them; `""` stands for a name that is not there.
fn value_test(section: Section<'_>, name: &str, entry: &Entry<'_>) -> Option<ValueTest> {
    let texts = match entry.value {
        DeValue::Array(items) => items.iter().map(|item| item.get_ref()).collect(),
        one => vec![one],
    };
    let mut test = ValueTest::default();
    for text in texts {
        match text_of(text, "a pattern").and_then(|text| match text {
            "" => Ok(None),
            text => value_pattern(text).map(Some),
        }) {
            Ok(Some(pattern)) => test.patterns.push(pattern),
            Ok(None) => test.absent = true,
            Err(wrong) => {
                section.refuse_entry(entry, name, wrong);
                return None;
            }
        }
    }
    if test == ValueTest::default() {
        let fix = "write a pattern, \"*\" for any value, or \"\" for none";
        section.refuse_entry(entry, name, Wrong::new("empty", fix));
        return None;
    }
    Some(test)
}

fn path_pattern(text: &str) -> Result<Pattern, Wrong> {
    Pattern::of_path(text).map_err(|error| {
        let fix = match &error {
            PatternError::NotAbsolute if text.starts_with('*') => {
                format!("write \"/**{}\"", text.trim_start_matches('*'))
            }
            PatternError::NotAbsolute => format!("write \"/{text}\""),
            PatternError::Path(PathError::BadByte) if text.contains('?') => {
                "write the path alone; when.query is about the query".to_owned()
            }
            PatternError::Path(PathError::BadByte) => format!("write \"{}\"", escaped(text)),
            PatternError::Path(_) => "write a % that means itself as %25".to_owned(),
            PatternError::Stars => "write * within a segment, ** across segments".to_owned(),
            PatternError::TooLong => "write a shorter pattern".to_owned(),
        };
        Wrong::new(error.to_string(), fix)
    })
}

fn value_pattern(text: &str) -> Result<Pattern, Wrong> {
    Pattern::of_value(text)
        .map_err(|error| Wrong::new(error.to_string(), "write * for any run of characters"))
}

fn wrong_template(text: &str, error: TemplateError) -> Wrong {
    let fix = match error {
        TemplateError::NotPath => format!("write \"/{text}\""),
        TemplateError::NotLocation => {
            "write a path such as \"/new/$1\", or \"https://other.example.com/$1\"".to_owned()
        }
        TemplateError::CaptureInHost => {
            "write the host out, and a slash behind it before the capture".to_owned()
        }
        TemplateError::NotPathAlone => {
            "leave ? and # out; the query stays as the client sent it".to_owned()
        }
        TemplateError::Bytes | TemplateError::Path(PathError::BadByte) => {
            format!("write \"{}\"", escaped(text))
        }
        TemplateError::Path(_) => "write a % that means itself as %25".to_owned(),
        TemplateError::Spelling => {
            "write it without dot segments, escapes in capitals and only where they must be"
                .to_owned()
        }
        TemplateError::Zero => "write $1 for the first star".to_owned(),
    };
    Wrong::new(error.to_string(), fix)
}

/// What must not stand in a path, as `%xx`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            escaped.push(byte.into());
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn rule_name(text: &str) -> Result<String, Wrong> {
    let is_good = (1..=64).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text.trim() == text;
    is_good.then(|| text.to_owned()).ok_or_else(|| {
        Wrong::new(
            "not a rule's name",
            "write at most 64 characters in one line",
        )
    })
}

fn extension(text: &str) -> Result<String, Wrong> {
    let bare = text.trim_start_matches(['*', '.']).to_ascii_lowercase();
    let is_good = !bare.is_empty()
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte));
    match is_good {
        true if bare.len() == text.len() => Ok(bare),
        true => {
            let fix = format!("write \"{bare}\"");
            Err(Wrong::new("an extension stands without its dot", fix))
        }
        false => Err(Wrong::new("not an extension", "write \"css\", for example")),
    }
}

pub(super) fn network(text: &str) -> Result<Network, Wrong> {
    text.parse().map_err(|error: NetworkError| {
        let fix = match error {
            NetworkError::InsideOf(network) => format!("write \"{network}\""),
            NetworkError::Malformed | NetworkError::TooManyBits => {
                "write an address or a network such as \"10.0.0.0/8\" or \"2001:db8::/32\""
                    .to_owned()
            }
        };
        Wrong::new(error.to_string(), fix)
    })
}

fn status_test(value: &DeValue<'_>) -> Result<StatusTest, Wrong> {
    match value {
        DeValue::Integer(number) => status(number.as_str()),
        other => text_of(other, "a status such as \"404\" or \"5xx\"").and_then(status),
    }
}

fn deny(value: &DeValue<'_>) -> Result<Deny, Wrong> {
    let status = match value {
        DeValue::Boolean(true) => Some(StatusCode::FORBIDDEN),
        DeValue::Boolean(false) => return Ok(Deny::No),
        DeValue::Integer(number) => number.as_str().parse().ok(),
        _ => None,
    };
    status
        .filter(StatusCode::is_client_error)
        .map(Deny::With)
        .ok_or_else(|| {
            Wrong::new(
                "not a way to refuse",
                "write true for 403, or a status from 400 to 499",
            )
        })
}

fn read_tags(section: Section<'_>) -> Vec<String> {
    let mut tags = Vec::new();
    section.list("add", &mut tags, |text| {
        let is_good = (1..=TAG_BYTES_MAX).contains(&text.len())
            && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == ',');
        is_good.then(|| text.to_owned()).ok_or_else(|| {
            let fix = format!("write at most {TAG_BYTES_MAX} bytes without spaces and commas");
            Wrong::new("not a tag", fix)
        })
    });
    if tags.len() > TAGS_MAX {
        let wrong = Wrong::new("too many tags", format!("write at most {TAGS_MAX}"));
        section.refuse("add", wrong);
    }
    tags
}

fn read_headers(section: Section<'_>) -> HeaderRules {
    let mut rules = HeaderRules::none();
    fields(section, "set", &mut rules.set, field::end_to_end_name);
    fields(section, "add", &mut rules.add, field::end_to_end_name);
    section.list("remove", &mut rules.remove, field::end_to_end_name);
    rules
}

fn read_images(section: Section<'_>) -> ImageOverrides {
    let quality = section.section("quality");
    let of = |name| {
        written(quality, name, 0, |section, slot| {
            section.integer(name, slot);
        })
    };
    let (mut keep, mut refused, mut fallback) = (None, None, None);
    section.word("strip", &mut keep, &STRIPS.map(some));
    section.value("refused", &mut refused, |value| {
        read_images::refused(value).map(Some)
    });
    section.word("fallback", &mut fallback, &FALLBACKS.map(some));
    ImageOverrides {
        enabled: flag(section, "enabled"),
        auto: flag(section, "auto"),
        parameters: flag(section, "parameters"),
        keep,
        refused,
        fallback,
        quality: QualityOverrides {
            jpeg: of("jpeg"),
            webp: of("webp"),
            avif: of("avif"),
        },
    }
}

fn read_overrides(section: Section<'_>, site: &policy::Config) -> Overrides {
    let mut cache = Overrides::default();
    section.word("mode", &mut cache.mode, &MODES.map(some));
    section.word("set_cookie", &mut cache.set_cookie, &SET_COOKIES.map(some));
    section.word(
        "authorization",
        &mut cache.authorization,
        &AUTHORIZATIONS.map(some),
    );
    for (name, slot) in [
        ("default_ttl", &mut cache.default_ttl),
        ("min_ttl", &mut cache.min_ttl),
        ("max_ttl", &mut cache.max_ttl),
        ("stale_while_revalidate", &mut cache.stale_while_revalidate),
        ("stale_if_error", &mut cache.stale_if_error),
        ("uncacheable_memory", &mut cache.uncacheable_memory),
    ] {
        section.value(name, slot, |value| {
            duration_value(LIFETIME, value).map(Some)
        });
    }
    section.value("override_ttl", &mut cache.override_ttl, |value| {
        override_ttl(value).map(Some)
    });
    section.value("browser_ttl", &mut cache.browser_ttl, |value| {
        browser_ttl(value).map(Some)
    });
    let status_ttl = read_status_ttl(section);
    cache.status_ttl = section.has("status_ttl").then_some(status_ttl);
    cache.immutable = flag(section, "immutable");
    cache.heuristic = flag(section, "heuristic");
    cache.deception_guard = flag(section, "deception_guard");
    cache.max_object_bytes = written(section, "max_object", 0, |section, slot| {
        section.size("max_object", slot);
    });
    refuse_cut(section, &cache, site.max_ttl);
    cache
}

/// A lifetime that `max_ttl` cuts is not what somebody meant.
fn refuse_cut(section: Section<'_>, cache: &Overrides, site_max: Duration) {
    let max = cache.max_ttl.unwrap_or(site_max);
    for (name, length) in [
        ("min_ttl", cache.min_ttl),
        ("default_ttl", cache.default_ttl),
        ("override_ttl", cache.override_ttl.flatten()),
    ] {
        if length.is_some_and(|length| length > max) {
            section.refuse(
                name,
                Wrong::new(
                    format!("{name} is longer than max_ttl"),
                    format!("write a shorter {name}, or a longer max_ttl beside it"),
                ),
            );
        }
    }
}

fn some<T>((word, meaning): (&'static str, T)) -> (&'static str, Option<T>) {
    (word, Some(meaning))
}

fn flag(section: Section<'_>, name: &'static str) -> Option<bool> {
    written(section, name, false, |section, slot| {
        section.flag(name, slot);
    })
}

/// What `read` gives, if the key is written.
fn written<'a, T>(
    section: Section<'a>,
    name: &'static str,
    mut slot: T,
    read: impl FnOnce(&Section<'a>, &mut T),
) -> Option<T> {
    read(&section, &mut slot);
    section.has(name).then_some(slot)
}
