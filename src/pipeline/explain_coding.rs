use http::header::{ACCEPT_ENCODING, ETAG, RANGE};
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use crate::cache::{Ask, Effort, Form, FormState, Served, StoredForm, marks};
use crate::semantics::media_type::type_of_extension;
use crate::semantics::negotiate::AcceptEncoding;
use crate::site::Site;
use crate::store::Object;
use crate::variant::{self, Uncoded};

use super::Pipeline;
use super::coding::{Coded, coding, delta};
use super::explain::{field_of, saved_percent, tiers_of};
use super::ruling::Settings;

/// Which content coding a client gets of a stored object, and why.
#[derive(Debug, Default, Serialize)]
pub struct ExplainedCoding {
    /// The coding of the answer; `None` is none at all.
    pub coding: Option<&'static str>,
    /// The coding of the origin that is undone for this client.
    pub undoes: Option<&'static str>,
    /// Why the node does not code it; a closed word: `off`, `status`, `part`, `too-small`, `too-large`, `type`,
    /// `origin-coded`, `no-transform`, `no-accept-encoding`, `not-accepted`, `identity-preferred`, `range` or
    /// `not-acceptable`.
    pub because: Option<&'static str>,
    /// Where the node makes something: `stored`, `being-made`, `declined` or `not-made`.
    pub state: Option<&'static str>,
    /// One sentence.
    pub reason: String,
    /// Why it is not made; a closed word, as in `Cache-Status`.
    pub declined: Option<&'static str>,
    /// Why the client's dictionary is of no use for now: `making`, `not-made`, or a word of `declined`.
    pub dictionary: Option<&'static str>,
    /// What is stored.
    pub stored: Option<StoredCoding>,
}

/// A stored coding, in short.
#[derive(Debug, Serialize)]
pub struct StoredCoding {
    /// How it was made, as in `Cache-Status`.
    pub detail: String,
    /// `first` if it was made while somebody waited, `best` if it cannot be made better, `sibling` if it was found beside
    /// its source, `dictionary` if it is against one, `undone` if it is the content of what the origin has coded.
    pub effort: &'static str,
    /// The coder's level, where there was one.
    pub level: Option<u32>,
    /// Length of the body.
    pub body_bytes: u64,
    /// What it is smaller than its source, in percent; negative if it is larger.
    pub saves_percent: i64,
    /// Its tag.
    pub etag: Option<String>,
    /// `mem` and `disk`.
    pub tiers: Vec<&'static str>,
}

impl Pipeline {
    pub(super) async fn explain_coding(
        &self,
        under: (&Site, &Settings),
        ask: &Ask,
        source: &Served,
    ) -> ExplainedCoding {
        let coded = coding(self.cache(), ask, source);
        let dictionary = match &coded {
            Coded::Untouched | Coded::NotAcceptable => None,
            Coded::AsItIs | Coded::Made(_) | Coded::Undone(_) => {
                self.against_dictionary(under, ask, source).await
            }
        };
        let dictionary = match dictionary {
            Some(Ok(told)) => return told,
            Some(Err(reason)) => Some(reason),
            None => None,
        };
        let told = match coded {
            Coded::Untouched | Coded::AsItIs => as_it_is(ask, source),
            Coded::NotAcceptable => not_acceptable(),
            Coded::Made(form) => self.made(ask, &source.object, &form).await,
            Coded::Undone(form) => self.undone(ask, source, &form).await,
        };
        ExplainedCoding { dictionary, ..told }
    }

    /// The coding against the client's dictionary, or why it is not given; `None` where there can be none.
    async fn against_dictionary(
        &self,
        under: (&Site, &Settings),
        ask: &Ask,
        source: &Served,
    ) -> Option<Result<ExplainedCoding, &'static str>> {
        marks(ask).filter(|_| source.object.status == StatusCode::OK)?;
        let form = Form::Delta(delta(under, ask, source)?);
        let state = self
            .cache()
            .form_state(&ask.zone, &source.object, &form)
            .await;
        if state.stored.is_none() {
            return Some(Err(state.declined.unwrap_or("not-made")));
        }
        Some(Ok(self.made(ask, &source.object, &form).await))
    }

    async fn made(&self, ask: &Ask, source: &Object, form: &Form) -> ExplainedCoding {
        let state = self.cache().form_state(&ask.zone, source, form).await;
        let coding = match form {
            Form::Coded(coding, _) => Some(coding.token()),
            Form::Delta(delta) => Some(delta.coding.token()),
            Form::Plain(_) | Form::Picture(_) => None,
        };
        let (word, reason) = said(&state);
        ExplainedCoding {
            coding,
            state: Some(word),
            reason,
            declined: state.declined,
            stored: stored(&state, source),
            ..ExplainedCoding::default()
        }
    }

    /// What follows the undoing is known once the content is stored.
    async fn undone(&self, ask: &Ask, source: &Served, form: &Form) -> ExplainedCoding {
        let undoes = match form {
            Form::Plain(coding) => Some(coding.token()),
            Form::Coded(..) | Form::Delta(_) | Form::Picture(_) => None,
        };
        let state = self
            .cache()
            .form_state(&ask.zone, &source.object, form)
            .await;
        if let Some(plain) = &state.stored {
            let plain = Served::of_tiers(plain.object.clone());
            let told = match coding(self.cache(), ask, &plain) {
                Coded::Made(form) => Some(self.made(ask, &plain.object, &form).await),
                Coded::NotAcceptable => Some(not_acceptable()),
                Coded::Untouched | Coded::AsItIs | Coded::Undone(_) => None,
            };
            if let Some(told) = told {
                return ExplainedCoding { undoes, ..told };
            }
        }
        let told = self.made(ask, &source.object, form).await;
        ExplainedCoding { undoes, ..told }
    }
}

fn not_acceptable() -> ExplainedCoding {
    ExplainedCoding {
        because: Some("not-acceptable"),
        reason: "the client refuses the content as it is and all that can be made: 406".to_owned(),
        ..ExplainedCoding::default()
    }
}

/// Why it gets no coding of ours.
fn as_it_is(ask: &Ask, source: &Served) -> ExplainedCoding {
    let (config, object) = (&ask.zone.compression, &source.object);
    let headers = object.headers();
    let origins = variant::undoable(config, object.status, &headers, source.length);
    let uncoded = variant::uncoded(
        config,
        object.status,
        &headers,
        source.length,
        type_of_extension(&ask.path),
    );
    let (because, reason) = match (origins, uncoded) {
        (Some(_), _) => (
            Uncoded::OriginCoded.as_str(),
            of_object(Uncoded::OriginCoded),
        ),
        (None, Some(why)) => (why.as_str(), of_object(why)),
        (None, None) => of_client(&ask.headers, &|token| {
            config.codings.iter().any(|coding| coding.token() == token)
        }),
    };
    ExplainedCoding {
        coding: origins.map(variant::Coding::token),
        because: Some(because),
        reason: reason.to_owned(),
        ..ExplainedCoding::default()
    }
}

fn of_object(why: Uncoded) -> &'static str {
    match why {
        Uncoded::Off => "codings are off for this request ([compression] enabled and codings)",
        Uncoded::Status => "answers with this status have no body to code",
        Uncoded::Part => "parts are passed on as they are",
        Uncoded::TooSmall => "it is smaller than [compression] min_size",
        Uncoded::TooLarge => "it is larger than [compression] max_size",
        Uncoded::Type => "its type is none of [compression] types",
        Uncoded::OriginCoded => "the origin has coded it, and it is passed on so",
        Uncoded::NoTransform => "the origin says no-transform",
    }
}

fn of_client(headers: &HeaderMap, is_ours: &dyn Fn(&str) -> bool) -> (&'static str, &'static str) {
    let accepted = AcceptEncoding::of(headers);
    let takes_some = ["zstd", "br", "gzip"]
        .into_iter()
        .any(|token| is_ours(token) && accepted.quality(token) > 0);
    if !headers.contains_key(ACCEPT_ENCODING) {
        ("no-accept-encoding", "the client names no codings")
    } else if !takes_some {
        (
            "not-accepted",
            "the client takes none of [compression] codings",
        )
    } else if headers.contains_key(RANGE) {
        (
            "range",
            "a range is of the content as it is, unless If-Range names a coded form",
        )
    } else {
        (
            "identity-preferred",
            "the client likes the content as it is better",
        )
    }
}

/// Whether it is made again when it is asked for more often.
fn may_improve(state: &FormState) -> bool {
    let effort = state.stored.as_ref().map(StoredForm::effort);
    matches!(effort, Some(Effort::First | Effort::Sibling)) && !state.is_best
}

fn said(state: &FormState) -> (&'static str, String) {
    let (word, reason) = match (state.stored.is_some(), state.is_being_made, state.declined) {
        (true, _, _) if !may_improve(state) => ("stored", "it is not made again"),
        (true, ..) => (
            "stored",
            "asked for more often, it is made again at the best level",
        ),
        (false, true, _) => ("being-made", "who asks meanwhile follows it"),
        (false, false, Some(reason)) => {
            let sentence = format!("what it would be made of is served in its place ({reason})");
            return ("declined", sentence);
        }
        (false, false, None) => ("not-made", "the next request has it made"),
    };
    (word, reason.to_owned())
}

fn stored(state: &FormState, source: &Object) -> Option<StoredCoding> {
    let form = state.stored.as_ref()?;
    let detail = form.object.detail();
    let level = detail
        .split(';')
        .find_map(|part| part.strip_prefix("level=")?.parse().ok());
    let body_bytes = form.object.body.length();
    Some(StoredCoding {
        detail: detail.to_owned(),
        effort: form.effort().as_str(),
        level,
        body_bytes,
        saves_percent: saved_percent(source.body.length(), body_bytes),
        etag: field_of(&form.object, &ETAG),
        tiers: tiers_of(form.tiers),
    })
}
