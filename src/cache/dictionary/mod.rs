//! Compression dictionaries (RFC 9842) that the edge keeps, and codings against them.
//!
//! What a pattern covers is kept as it was, addressed by its hash, mostly in the very chunks of the object that it was;
//! so keeping it costs a head, and tiers that are short of room let go of it as of anything that nobody asks for. For
//! each pattern the hashes of the last versions are listed. A purge of an asset leaves its dictionary alone: nobody gets
//! bytes of it who does not have them, and returning visitors have just these. A purge of the whole site forgets all.

mod delta;
mod keep;
mod offer;
mod versions;

pub use self::delta::DeltaForm;
pub(super) use self::delta::{DELTAS_WAITING, Delta};
pub(super) use self::keep::{KEEPS_WAITING, Keep};
pub(super) use self::offer::{accepted_deltas, imply_vary, is_delta};
pub use self::offer::{marks, offered, passes_on};
pub(super) use self::versions::Noted;
