use super::super::super::error::ParameterError;
use super::super::draft::Parameter;
use super::super::values;
use super::{Options, Source};

/// `/_next/image?url=<picture>&w=<width>&q=<quality>` (Next.js, `next/image`). All other parameters are Next's own.
pub(super) fn read(
    options: &mut Options,
    path: &str,
    query: Option<&str>,
) -> Result<Option<Source>, ParameterError> {
    if path != "/_next/image" {
        return Ok(None);
    }
    let mut url = None;
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = values::decoded(value);
        match name {
            "w" => options.set(Parameter::Width, &value)?,
            "q" => options.set(Parameter::Quality, &value)?,
            "url" if url.is_some() => return Err(ParameterError::Twice { name: "url" }),
            "url" => url = Some(value),
            _ => {}
        }
    }
    options.set(Parameter::Format, "auto")?;
    let source = url.and_then(|url| Source::of_text(&url));
    source.map(Some).ok_or_else(|| ParameterError::Value {
        name: "url",
        expected: "the path of a picture on this site".to_owned(),
    })
}
