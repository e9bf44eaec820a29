//! Arguments in, exit code out.

mod arguments;
mod check;
mod client;
mod exit;
mod explain;
mod purge;
mod run;
mod serve;
mod sign;
#[cfg(test)]
mod tests;
mod warm;

pub use self::exit::Exit;
pub use self::run::run;
