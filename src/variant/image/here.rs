use super::super::config::ImageWorkers;
use super::cook::{Watch, cook_file};
use super::encode::Effort;
use super::error::ImageError;
use super::recipe::{Picture, Recipe};

/// Nobody waits, and nothing else takes memory.
struct Alone;

impl Watch for Alone {
    type Reserved = ();

    fn reserve(&self, _: u64) -> Result<(), ImageError> {
        Ok(())
    }

    fn check(&self) -> Result<(), ImageError> {
        Ok(())
    }
}

/// Makes one picture on this thread, without a pool and with the limits of a pool's defaults: what a bench
/// measures.
///
/// # Errors
/// See [`ImageError`].
pub fn render_here(recipe: &Recipe, effort: Effort, source: &[u8]) -> Result<Picture, ImageError> {
    cook_file(recipe, effort, source, &ImageWorkers::default(), &Alone)
}
