//! Each place that credentials come from, against sockets, files and commands of this machine.

mod cloud;

mod chain;
mod ecs;
mod external;
mod file;
mod oidc;
mod profile;
mod proxy;
mod registry;
mod role;
mod uri;
