//! A folder as origin.

mod answer;
mod body;
mod find;
mod sibling;

pub(super) use self::answer::Folder;
pub(super) use self::body::FileBody;
pub use self::sibling::Sibling;
