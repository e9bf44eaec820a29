use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, RawQuery, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::auth::{Grant, Keyring, Permission};
use super::control::{Control, ControlError, ExplainRequest};
use super::explain::question;
use super::objects::objects;
use super::purge::{CheckedOrder, Directory, Order};
use super::refusal::{Refusal, json};
use super::warm::{self, Warming};
use crate::telemetry::CONTENT_TYPE as METRICS_CONTENT_TYPE;

/// A body above this is refused: 100 000 URLs of 160 characters.
const BODY_BYTES_MAX: usize = 16 << 20;

/// A caller that takes longer to send its body is cut off.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What every route sees.
pub(super) struct Shared {
    pub(super) keyring: ArcSwap<Keyring>,
    pub(super) control: Arc<dyn Control>,
    pub(super) warming: Arc<Warming>,
}

pub(super) type Room = State<Arc<Shared>>;
pub(super) type Answer = Result<Response, Refusal>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/purge", post(purge))
        .route("/v1/purge/{id}", get(purged))
        .route("/v1/warm", post(warm::warm).get(warm::warmings))
        .route("/v1/warm/{id}", get(warm::warming).delete(warm::cancel))
        .route("/v1/explain", get(explain))
        .route("/v1/objects", get(objects))
        .route("/v1/status", get(status))
        .route("/v1/sites", get(sites))
        .route("/v1/reload", post(reload))
        .route("/v1/drain", post(drain))
        .fallback(async |uri: Uri| Refusal::not_found(format!("There is no {} here.", uri.path())))
        .method_not_allowed_fallback(async |method: Method| {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{method} is not for this path; Allow names what is."),
            )
        })
        .layer(axum::middleware::map_response(with_fields))
        .with_state(shared)
}

async fn with_fields(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn readyz(State(room): Room) -> Response {
    if room.control.is_ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

async fn metrics(State(room): Room) -> Response {
    let fields = [(CONTENT_TYPE, METRICS_CONTENT_TYPE)];
    (fields, room.control.metrics()).into_response()
}

async fn purge(State(room): Room, headers: HeaderMap, body: Body) -> Answer {
    // Before the body is read: a stranger must not make us hold 16 MiB.
    let grant = room.keyring.load().admit(&headers, Permission::Purge)?;
    let body = whole(body).await?;
    let (control, by) = (Arc::clone(&room.control), Arc::clone(&grant));
    // A hundred thousand items take longer than others may wait for this thread.
    let ordered = tokio::task::spawn_blocking(move || ordered(&body, &*control, &by));
    let ordered = ordered.await.unwrap_or_else(|_| {
        Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The purge could not be read.",
        ))
    });
    let (checked, order) = ordered.inspect_err(|refusal| {
        tracing::warn!(token = %grant.name, error = %refusal.text(), "purge refused");
    })?;
    let CheckedOrder { request, places } = checked;
    let record = match room.control.purge(request).await {
        Ok(record) => record,
        Err(error) => {
            tracing::warn!(token = %grant.name, %error, "purge refused");
            return Err(match error {
                ControlError::Items(reasons) => places.refusal(&order, &reasons),
                ControlError::Refused(_)
                | ControlError::Absent(_)
                | ControlError::Unavailable(_)
                | ControlError::Failed(_) => error.into(),
            });
        }
    };
    let counts = record.counts;
    tracing::info!(
        token = %record.token, id = %record.id, sequence = record.sequence, soft = record.soft,
        sites = %record.sites.join(" "), urls = counts.urls, prefixes = counts.prefixes,
        tags = counts.tags, whole_sites = counts.sites, everything = counts.everything, "purged"
    );
    Ok(json(StatusCode::OK, &record))
}

fn ordered(
    body: &[u8],
    control: &dyn Control,
    grant: &Grant,
) -> Result<(CheckedOrder, Order), Refusal> {
    let order: Order = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("The body is not a purge: {error}.")))?;
    let sites = control.sites().into_iter();
    let sites: Vec<Arc<str>> = sites.map(|site| site.name.into()).collect();
    let directory = Directory {
        sites: &sites,
        site_of: &|host| {
            let name = control.site_of(host)?;
            sites.iter().find(|site| ***site == *name).cloned()
        },
    };
    let checked = order.check(&directory, grant)?;
    Ok((checked, order))
}

async fn purged(State(room): Room, Path(id): Path<String>, headers: HeaderMap) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Purge)?;
    let record = room
        .control
        .purge_record(&id)
        .filter(|record| record.sites.iter().all(|site| grant.covers(site)));
    match record {
        Some(record) => Ok(json(StatusCode::OK, &record)),
        None => Err(Refusal::not_found(
            "No purge of this id is remembered; the last 10000 are.",
        )),
    }
}

async fn explain(State(room): Room, headers: HeaderMap, RawQuery(query): RawQuery) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Explain)?;
    let question = question(&pairs(query.as_deref())?)?;
    let Some(site) = room.control.site_of(&question.host) else {
        return Err(Refusal::not_found(format!(
            "No site answers for the host '{}'; a request gets 421.",
            question.host
        )));
    };
    grant.must_cover(&site)?;
    let explanation = room
        .control
        .explain(ExplainRequest {
            method: question.method,
            site,
            url: question.url,
            headers: question.headers,
        })
        .await?;
    Ok(json(StatusCode::OK, &explanation))
}

async fn status(State(room): Room, headers: HeaderMap) -> Answer {
    room.keyring.load().admit(&headers, Permission::Status)?;
    Ok(json(StatusCode::OK, &room.control.status()))
}

async fn sites(State(room): Room, headers: HeaderMap) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Status)?;
    let mut sites = room.control.sites();
    sites.retain(|site| grant.covers(&site.name));
    Ok(json(StatusCode::OK, &serde_json::json!({ "sites": sites })))
}

async fn reload(State(room): Room, headers: HeaderMap) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Reload)?;
    grant.must_cover_all()?;
    match room.control.reload().await {
        Ok(()) => {
            tracing::info!(token = %grant.name, "configuration reloaded");
            Ok(json(
                StatusCode::OK,
                &serde_json::json!({ "reloaded": true }),
            ))
        }
        Err(errors) => Err(Refusal::with_errors(
            StatusCode::BAD_REQUEST,
            "The configuration has errors; nothing was changed.",
            errors,
        )),
    }
}

async fn drain(State(room): Room, headers: HeaderMap) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Drain)?;
    grant.must_cover_all()?;
    tracing::info!(token = %grant.name, "drain asked for");
    room.control.drain();
    let body = serde_json::json!({ "draining": true });
    Ok(json(StatusCode::ACCEPTED, &body))
}

pub(super) async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX));
    match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        // `to_bytes` fails alike for a long body and for a broken one; the long one is the common case.
        Ok(Err(_)) => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is incomplete or longer than {BODY_BYTES_MAX} bytes; split it."),
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not arrive in time.",
        )),
    }
}

/// Decoded name and value pairs, repeated names included.
pub(super) fn pairs(query: Option<&str>) -> Result<Vec<(String, String)>, Refusal> {
    let uri: Uri = format!("/?{}", query.unwrap_or_default())
        .parse()
        .map_err(|_| Refusal::bad("The query is malformed."))?;
    Query::try_from_uri(&uri)
        .map(|Query(pairs)| pairs)
        .map_err(|_| Refusal::bad("The query is malformed."))
}
