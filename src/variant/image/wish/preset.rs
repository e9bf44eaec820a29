use super::super::super::config::ImageConfig;
use super::super::error::ParameterError;
use super::draft::{Draft, OURS, Parameter};

/// Parameters that a site gives a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImagePreset(Draft);

impl ImagePreset {
    /// What may stand in one.
    pub fn names() -> impl Iterator<Item = &'static str> {
        OURS.iter()
            .map(|(name, _)| *name)
            .filter(|name| *name != "preset")
    }

    /// Adds one parameter by its name of ours; false when there is none of this name.
    ///
    /// # Errors
    /// The value is none that a URL may have, either.
    pub fn set(&mut self, name: &str, value: &str, max_width: u32) -> Result<bool, ParameterError> {
        match Parameter::of(name).filter(|parameter| *parameter != Parameter::Preset) {
            Some(parameter) => self.0.set(parameter, value, max_width).map(|()| true),
            None => Ok(false),
        }
    }
}

impl ImageConfig {
    /// The draft with what its preset says besides.
    pub(super) fn filled(&self, draft: Draft) -> Result<Draft, ParameterError> {
        let Some(name) = &draft.preset else {
            return Ok(draft);
        };
        match self.presets.get(name) {
            Some(preset) => Ok(draft.over(&preset.0)),
            None => Err(ParameterError::Value {
                name: "preset",
                expected: "the name of a preset of the site".to_owned(),
            }),
        }
    }
}
