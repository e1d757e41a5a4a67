//! The simulator as its clients see it: over real sockets, signed by code that is neither the
//! simulator's nor Syncbell's.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which the lint does not know as such"
)]

mod client;
mod listing;
mod operations;
mod faults;
mod errors;
mod quota;
mod moving;
mod network;
mod expectations;
mod control;
mod identity;
mod receiver;
