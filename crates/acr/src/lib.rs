#![doc = include_str!("../README.md")]

pub mod sign;
mod credentials;
mod request;
mod client;
mod wire;
mod page;
mod decode;
mod error;

pub use client::{Client, ClientOptions};
pub use credentials::{BoxFuture, Credentials, CredentialsProvider, Environment, Static};
pub use decode::Refused;
pub use error::{Error, Retry};
pub use page::{Page, Row};
pub use request::ListRepoSyncTask;
