//! brim, a static-asset CDN edge node. `ARCHITECTURE.md` has the map; start reading at [`pipeline`].

pub mod admin;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod node;
pub mod origin;
pub mod pipeline;
pub mod policy;
pub mod rules;
pub mod semantics;
pub mod server;
pub mod site;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod variant;
