//! The room over real sockets.

mod broken;
mod h2;
mod limits;
mod plain;
mod secure;
mod tries;
mod upload;
