use std::collections::BTreeMap;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::admin::{
    ChunksReport, ClockReport, ControlError, FormReport, ObjectsName, ObjectsReport,
    ObjectsRequest, TagReport, VariantReport,
};
use crate::cache::{Chunks, Inspection, Remembered, StoredForm, StoredVariant};
use crate::pipeline::{Client, ObjectName, Pipeline};
use crate::store::{ClockHit, ClockTarget, Present, Purge, Purged, Tier};

/// What is stored, for the admin door.
pub(super) async fn report(
    pipeline: &Pipeline,
    client: Client,
    request: ObjectsRequest,
) -> Result<ObjectsReport, ControlError> {
    let name = match request.name {
        ObjectsName::Key(key) => ObjectName::Key(key),
        ObjectsName::Url { host, url, headers } => ObjectName::Url {
            host,
            path: url.path,
            query: url.query,
            headers,
        },
    };
    let by_key = matches!(name, ObjectName::Key(_));
    let stored = pipeline.stored(client, &request.site, name).await;
    let (key, inspection) = stored.map_err(|refusal| {
        ControlError::Refused(match by_key {
            true => format!(
                "This is no key of the site '{}'; explain gives the key of a URL.",
                request.site
            ),
            false => format!("No object has this name: {refusal}."),
        })
    })?;
    if inspection.variants.is_empty() {
        return Err(ControlError::Absent(absent(&key, &inspection)));
    }
    let now = pipeline.cache().clock().now();
    Ok(ObjectsReport {
        site: request.site,
        key,
        vary: inspection.vary.iter().map(ToString::to_string).collect(),
        variants: inspection
            .variants
            .iter()
            .map(|variant| of_variant(variant, now))
            .collect(),
    })
}

fn absent(key: &str, inspection: &Inspection) -> String {
    let why = match (&inspection.remembered, inspection.vary.is_empty()) {
        (Some(Remembered::Uncacheable(reason)), _) => {
            format!("; its last answer could not be stored: {reason}")
        }
        (Some(Remembered::Failing(error)), _) => format!("; its origin fails: {}", error.kind()),
        (None, false) => "; its variants are gone from the tiers".to_owned(),
        (None, true) => String::new(),
    };
    format!("Nothing is stored under the key '{key}'{why}.")
}

fn of_variant(variant: &StoredVariant, now: SystemTime) -> VariantReport {
    let object = &variant.object;
    let freshness = object.freshness();
    VariantReport {
        secondary_key: variant.secondary.clone(),
        status: object.status.as_u16(),
        headers: fields(&object.headers()),
        version: hash(object.version),
        body_bytes: object.body.length(),
        tiers: tiers(variant.tiers),
        chunks: variant.chunks.map(chunks),
        age_seconds: freshness.age(now).as_secs(),
        ttl_seconds: freshness.ttl(now),
        lifetime_seconds: freshness.lifetime.as_secs(),
        stale_while_revalidate_seconds: freshness.stale_while_revalidate.as_secs(),
        stale_if_error_seconds: freshness.stale_if_error.as_secs(),
        always_validate: freshness.always_validate,
        must_revalidate: freshness.must_revalidate,
        tags: variant
            .tags
            .iter()
            .map(|(tag, text)| TagReport {
                hash: hash(*tag),
                text: text.clone(),
            })
            .collect(),
        body_seq: object.body_seq,
        checked_seq: object.checked_seq,
        purged: match variant.purged {
            Purged::No => "no",
            Purged::Soft => "soft",
            Purged::Hard => "hard",
        }
        .to_owned(),
        purges: variant
            .clocks
            .iter()
            .map(|hit| clock(hit, &variant.tags))
            .collect(),
        forms: variant.forms.iter().map(of_form).collect(),
    }
}

fn of_form(form: &StoredForm) -> FormReport {
    let object = &form.object;
    let content_type = object.headers().get(CONTENT_TYPE).map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.into_owned()
    });
    FormReport {
        form: form.form.clone(),
        detail: object.detail().to_owned(),
        version: hash(object.version),
        body_bytes: object.body.length(),
        content_type,
        tiers: tiers(form.tiers),
        chunks: form.chunks.map(chunks),
    }
}

fn clock(hit: &ClockHit, tags: &[(u128, Option<String>)]) -> ClockReport {
    let tag = |hit: u128| {
        let known = tags.iter().find(|(tag, _)| *tag == hit);
        let text = known.and_then(|(_, text)| text.clone());
        Some(text.unwrap_or_else(|| hash(hit)))
    };
    ClockReport {
        target: hit.target.as_str().to_owned(),
        name: match &hit.target {
            ClockTarget::Prefix(prefix) => Some(prefix.clone()),
            ClockTarget::Tag(hash) | ClockTarget::TagByTraffic(hash) => tag(*hash),
            ClockTarget::Floor
            | ClockTarget::Future
            | ClockTarget::Everything
            | ClockTarget::Site
            | ClockTarget::Url
            | ClockTarget::UrlByTraffic => None,
        },
        mode: match hit.kind {
            Purge::Hard => "hard",
            Purge::Soft => "soft",
        }
        .to_owned(),
        sequence: hit.sequence,
    }
}

fn fields(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        fields.entry(name.to_string()).or_default().push(text);
    }
    fields
}

fn tiers(present: Present) -> Vec<String> {
    [(present.memory, Tier::Memory), (present.disk, Tier::Disk)]
        .into_iter()
        .filter(|(is_there, _)| *is_there)
        .map(|(_, tier)| tier.as_str().to_owned())
        .collect()
}

fn chunks(chunks: Chunks) -> ChunksReport {
    ChunksReport {
        total: chunks.total,
        present: chunks.present,
        mem: chunks.memory,
        disk: chunks.disk,
    }
}

fn hash(number: u128) -> String {
    format!("{number:032x}")
}
