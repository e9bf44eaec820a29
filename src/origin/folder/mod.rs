//! A folder as origin.

mod answer;
mod body;
mod find;

pub(super) use self::answer::Folder;
pub(super) use self::body::FileBody;
