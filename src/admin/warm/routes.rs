use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use super::super::auth::{Grant, Permission};
use super::super::refusal::{Refusal, json};
use super::super::routes::{Answer, Room, Shared, whole};
use super::job::Job;
use super::order::Order;
use super::record::WarmRecord;

/// Between two lines to a client that waits.
const LINES_EVERY: Duration = Duration::from_millis(500);

/// `POST /v1/warm`.
pub(in super::super) async fn warm(State(room): Room, headers: HeaderMap, body: Body) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Warm)?;
    let body = whole(body).await?;
    let order: Order = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(format!("The body is no order to warm: {error}.")))?;
    if !room.control.is_ready() {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "The node is draining: it warms nothing any more.",
        ));
    }
    let waits = order.wait;
    let plan = order.check(&room.control.sites(), &grant)?;
    let (name, control) = (grant.name.clone(), Arc::clone(&room.control));
    let job = room.warming.start(plan, name, control)?;
    if waits {
        return Ok(lines(job));
    }
    let mut response = json(StatusCode::ACCEPTED, &job.numbers());
    if let Ok(place) = format!("/v1/warm/{}", job.id).try_into() {
        response.headers_mut().insert(LOCATION, place);
    }
    Ok(response)
}

/// `GET /v1/warm`.
pub(in super::super) async fn warmings(State(room): Room, headers: HeaderMap) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Warm)?;
    let jobs = room.warming.all().into_iter();
    let jobs: Vec<WarmRecord> = jobs
        .filter(|job| grant.covers(&job.site))
        .map(|job| job.numbers())
        .collect();
    Ok(json(StatusCode::OK, &serde_json::json!({ "jobs": jobs })))
}

/// `GET /v1/warm/{id}`.
pub(in super::super) async fn warming(
    State(room): Room,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Warm)?;
    let job = found(&room, &id, &grant)?;
    Ok(json(StatusCode::OK, &job.record()))
}

/// `DELETE /v1/warm/{id}`: what was pulled stays in the cache.
pub(in super::super) async fn cancel(
    State(room): Room,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let grant = room.keyring.load().admit(&headers, Permission::Warm)?;
    let job = found(&room, &id, &grant)?;
    job.cancel.cancel();
    job.ended.cancelled().await;
    Ok(json(StatusCode::OK, &job.record()))
}

fn found(room: &Shared, id: &str, grant: &Grant) -> Result<Arc<Job>, Refusal> {
    let job = room.warming.find(id).filter(|job| grant.covers(&job.site));
    job.ok_or_else(|| {
        Refusal::not_found(
            "No warming of this id is known; unfinished ones and the last 100 since the start are.",
        )
    })
}

/// How far the job is, in lines of JSON; the last of them says all. The job ends with whoever reads them.
fn lines(job: Arc<Job>) -> Response {
    let (sender, lines) = mpsc::channel(1);
    let cancel = job.cancel.clone().drop_guard();
    tokio::spawn(tell(job, sender));
    let fields = [(CONTENT_TYPE, "application/x-ndjson")];
    let body = Body::new(Lines {
        lines,
        _cancel: cancel,
    });
    (StatusCode::OK, fields, body).into_response()
}

/// Ends with the job, or with its reader.
async fn tell(job: Arc<Job>, lines: mpsc::Sender<Bytes>) {
    let mut ticks = tokio::time::interval(LINES_EVERY);
    loop {
        tokio::select! {
            biased;
            () = job.ended.cancelled() => break,
            _ = ticks.tick() => {}
        }
        if lines.send(line(&job.numbers())).await.is_err() {
            return;
        }
    }
    // Nobody to tell when the reader is gone.
    lines.send(line(&job.record())).await.ok();
}

fn line(record: &WarmRecord) -> Bytes {
    match serde_json::to_vec(record) {
        Ok(mut line) => {
            line.push(b'\n');
            line.into()
        }
        Err(error) => {
            tracing::error!(%error, "a line of JSON could not be written");
            Bytes::new()
        }
    }
}

struct Lines {
    lines: mpsc::Receiver<Bytes>,
    /// The client is gone when this is dropped.
    _cancel: DropGuard,
}

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.lines
            .poll_recv(context)
            .map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
