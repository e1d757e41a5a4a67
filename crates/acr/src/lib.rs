#![doc = include_str!("../README.md")]

pub mod sign;
mod credentials;
mod request;
mod client;
mod wire;
mod decode;
mod error;

pub use client::{Client, ClientOptions};
pub use credentials::{BoxFuture, Credentials, CredentialsProvider, Environment, Static};
pub use decode::Refused;
pub use error::{Error, Retry};
pub use request::ListRepoSyncTask;
pub use wire::Page;
