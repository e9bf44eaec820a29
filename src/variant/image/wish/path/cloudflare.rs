use super::super::super::super::config::Vendor;
use super::super::super::error::ParameterError;
use super::super::draft::Parameter;
use super::super::{values, vendor};
use super::{Options, Source};

/// `/cdn-cgi/image/<options>/<picture>` (Cloudflare Images, "Transform via URL"). Options that we do not have are let
/// go; `fit=contain` and `cover` enlarge no more than elsewhere here.
pub(super) fn read(
    options: &mut Options,
    path: &str,
    query: Option<&str>,
) -> Result<Option<Source>, ParameterError> {
    let parts = path
        .strip_prefix("/cdn-cgi/image/")
        .and_then(|rest| rest.split_once('/'));
    let Some((listed, picture)) = parts.filter(|(listed, _)| listed.contains('=')) else {
        return Ok(None);
    };
    for option in listed.split(',') {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = values::decoded_in_path(value);
        match vendor::in_ours(&[Vendor::Cloudflare], name, &value) {
            Some(pairs) => {
                for (parameter, value) in pairs {
                    options.set(parameter, &value)?;
                }
            }
            None => {
                if let Some(parameter) = Parameter::of(name) {
                    options.set(parameter, &value)?;
                }
            }
        }
    }
    Ok(Some(Source::in_path(picture, query)))
}
