//! The collection.

mod aurora;
mod canyon;
mod daisy;
mod dunes;
mod forest;
mod lake;
mod ocean;

use super::film::Picture;

/// Every picture that the bundled origin serves, in the order of its page.
pub const PICTURES: &[Picture] = &[
    lake::PICTURE,
    dunes::PICTURE,
    ocean::PICTURE,
    forest::PICTURE,
    aurora::PICTURE,
    canyon::PICTURE,
    daisy::PICTURE,
];
