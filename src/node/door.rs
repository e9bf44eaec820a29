use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::pipeline::{Body, Client, Pipeline};
use crate::semantics::interim::Interim;
use crate::server::{Answer, Peer};

/// The pipeline as the server sees it.
pub(super) struct Door(pub(super) Arc<Pipeline>);

impl Answer for Door {
    type Body = Body;

    async fn answer(
        &self,
        peer: &Peer,
        request: Request<Incoming>,
        interim: Option<Interim>,
    ) -> Response<Body> {
        let client = Client {
            address: peer.address.ip(),
            secure: peer.secure,
            body_timeout: peer.body_timeout,
        };
        self.0.answer(client, request, interim).await
    }
}
