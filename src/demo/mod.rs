//! The bundled origin: a small HTTP server on loopback with a page, web assets and pictures.

mod answer;
mod assets;
mod error;
mod server;

pub use self::error::DemoError;
pub use self::server::Demo;
