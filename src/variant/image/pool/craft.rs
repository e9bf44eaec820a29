use super::super::super::config::ImageWorkers;
use super::super::cook::{Watch as _, cook, cooking_bytes, demand};
use super::super::decode::{Decoded, Demand, open};
use super::super::encode::Effort;
use super::super::error::ImageError;
use super::super::recipe::{Picture, Recipe};
use super::super::sniff::sniff;
use super::Urgency;
use super::memory::Ticket;

/// What the threads know to do. Behind a trait, so that tests of the pool can hold a job where they want it.
pub(super) trait Craft: Send + Sync + 'static {
    /// A decoded picture.
    type Decoded: Send + Sync;

    /// Reads a file's header for `recipe`, and for `all` that is wanted of it.
    fn look(&self, recipe: &Recipe, all: &[Recipe], file: &[u8]) -> Result<Look, ImageError>;

    /// Decodes a file.
    fn decode(
        &self,
        recipe: &Recipe,
        file: &[u8],
        demand: Demand,
        ticket: &Ticket,
    ) -> Result<Decoding<Self::Decoded>, ImageError>;

    /// Makes a picture.
    fn cook(
        &self,
        what: (&Recipe, Urgency),
        decoded: &Self::Decoded,
        file: &[u8],
        ticket: &Ticket,
    ) -> Result<Picture, ImageError>;
}

/// What a file's header tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// What this recipe needs.
    pub(super) own: Demand,
    /// What all that are announced need together.
    pub(super) together: Demand,
    /// What decoding holds at its peak.
    pub(super) decoding_bytes: u64,
    /// What cooking holds at its peak, besides what is decoded.
    pub(super) cooking_bytes: u64,
}

/// What decoding gave.
pub(super) struct Decoding<D> {
    pub(super) decoded: D,
    /// What it serves.
    pub(super) demand: Demand,
    /// What it holds.
    pub(super) bytes: u64,
}

/// The codecs.
pub(super) struct Codecs {
    pub(super) limits: ImageWorkers,
}

impl Craft for Codecs {
    type Decoded = Decoded;

    fn look(&self, recipe: &Recipe, all: &[Recipe], file: &[u8]) -> Result<Look, ImageError> {
        let sniffed = sniff(file, recipe.declared)?;
        let opened = open(file, &sniffed, &self.limits)?;
        let own = demand(recipe, &opened);
        let together = all
            .iter()
            .map(|recipe| demand(recipe, &opened))
            // One that asks for more frames than allowed, or than there is memory for, fails alone.
            .filter(|demand| opened.check(*demand).is_ok())
            .fold(own, |all, demand| {
                let both = all.and(demand);
                let decoding = opened.decoding_bytes(both);
                let bytes = decoding.saturating_add(cooking_bytes(recipe, &opened, both));
                let fits = bytes <= self.limits.memory_bytes;
                if fits { both } else { all }
            });
        Ok(Look {
            own,
            together,
            decoding_bytes: opened.decoding_bytes(together),
            cooking_bytes: cooking_bytes(recipe, &opened, together),
        })
    }

    fn decode(
        &self,
        recipe: &Recipe,
        file: &[u8],
        demand: Demand,
        ticket: &Ticket,
    ) -> Result<Decoding<Decoded>, ImageError> {
        let sniffed = sniff(file, recipe.declared)?;
        let opened = open(file, &sniffed, &self.limits)?;
        let decoded = opened.decode(demand, &|| ticket.check())?;
        Ok(Decoding {
            demand: decoded.demand,
            bytes: decoded.film.bytes(),
            decoded,
        })
    }

    fn cook(
        &self,
        (recipe, urgency): (&Recipe, Urgency),
        decoded: &Decoded,
        file: &[u8],
        ticket: &Ticket,
    ) -> Result<Picture, ImageError> {
        let effort = match urgency {
            Urgency::Answer | Urgency::Behind => Effort::First,
            Urgency::Upgrade => Effort::Best,
        };
        cook(recipe, effort, decoded, file, &self.limits, ticket)
    }
}
