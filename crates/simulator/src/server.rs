//! The HTTP server around the world.
//!
//! In: connections. Out: answers, and a note in the ledger for each list that was sent in full.
//! Must never happen: a state in the ledger whose answer was not handed to the connection to its
//! last byte, or a last byte on its way before the ledger knows.

mod send;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;

use self::send::send;
use crate::connection::{Doors, Line};
use crate::control;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::rpc::{self, Service};
use crate::task::{DEMO_INSTANCE, DEMO_REGION, ModifiedTime, skewed};
use crate::verify::{Call, Key};
use crate::{Error, World};

const MAX_BODY_BYTES: usize = 1 << 20;
const DRAIN: Duration = Duration::from_secs(5);

/// An instance that the service knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// Its region; for people only, the server answers for all regions.
    pub region: String,
}

/// How the service is to be.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes any.
    pub listen: SocketAddr,
    /// The only key that it knows, beside those that it gives.
    pub access_key_id: String,
    /// Its secret.
    pub access_key_secret: String,
    /// With STS credentials, the token that must come along.
    pub security_token: Option<String>,
    /// The instances that exist.
    pub instances: Vec<Instance>,
    /// A larger PageSize is served as this.
    pub max_page_size: usize,
    /// TotalCount as a number, as on the vendor's English page; else a string, as in its SDKs.
    pub total_as_number: bool,
    /// Which spelling of the modified time rows have.
    pub modified_time: ModifiedTime,
    /// By how much the server's clock is ahead.
    pub clock_skew: SignedDuration,
    /// Whether the ledger has the rule `canceled`.
    pub canceled: bool,
    /// `GetRepoSyncTask` tells all fields that a row of the list has. The vendor's SDKs declare no times,
    /// links or priority there, so the default is without.
    pub task_in_full: bool,
    /// `ListInstance` tells only the instances of this region, as the vendor's endpoint of a region does
    /// (assumed); absent: all.
    pub region: Option<String>,
    /// Whom STS and the metadata service believe, and how long their credentials live.
    pub identity: Identity,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            access_key_id: "simulatorAccessKeyId".to_owned(),
            access_key_secret: "simulatorAccessKeySecret".to_owned(),
            security_token: None,
            instances: vec![Instance {
                id: DEMO_INSTANCE.to_owned(),
                region: DEMO_REGION.to_owned(),
            }],
            max_page_size: 100,
            total_as_number: false,
            modified_time: ModifiedTime::default(),
            clock_skew: SignedDuration::ZERO,
            canceled: false,
            task_in_full: false,
            region: None,
            identity: Identity::default(),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("listen", &self.listen)
            .field("access_key_id", &self.access_key_id)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}

/// Starts the service.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Binds and serves until [`Handle::stop`].
    pub async fn start(options: Options) -> Result<Handle, Error> {
        let listen_error = |source| Error::Listen {
            addr: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(listen_error)?;
        let addr = listener.local_addr().map_err(listen_error)?;
        let world = World::new(&options);
        let key = Key {
            id: options.access_key_id,
            secret: options.access_key_secret,
            security_token: options.security_token,
        };
        let service = Service {
            key,
            total_as_number: options.total_as_number,
            task_in_full: options.task_in_full,
            region: options.region,
        };
        let server = Server {
            world: world.clone(),
            service,
        };
        let router = Router::new()
            .nest("/_simulator", control::router())
            .fallback(answer)
            .layer(middleware::from_fn_with_state(server.clone(), date))
            .with_state(server);
        let token = world.token().clone();
        world.tracker().spawn(async move {
            let service = router.into_make_service_with_connect_info::<Line>();
            let served = axum::serve(Doors(listener), service)
                .with_graceful_shutdown(token.cancelled_owned())
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the simulator's server stopped");
            }
        });
        tracing::info!(%addr, "the simulator listens");
        Ok(Handle { addr, world })
    }
}

/// A running service. Dropping it leaves the service running; call [`Handle::stop`].
#[derive(Clone, Debug)]
pub struct Handle {
    addr: SocketAddr,
    world: World,
}

impl Handle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and the address: an instance's `endpoint`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it serves.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Stops listening, answers what has been asked, stops scripts and generators. False if some
    /// connection was still busy after five seconds.
    pub async fn stop(&self) -> bool {
        self.world.token().cancel();
        self.world.tracker().close();
        tokio::time::timeout(DRAIN, self.world.tracker().wait())
            .await
            .is_ok()
    }
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) world: World,
    service: Service,
}

/// The server's clock on every answer that does not have a Date yet.
async fn date(State(server): State<Server>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if !response.headers().contains_key(header::DATE) {
        let now = server.world.state().server_now();
        set_date(&mut response, now);
    }
    response
}

fn set_date(response: &mut Response, date: Timestamp) {
    let printed = DateTimePrinter::new().timestamp_to_rfc9110_string(&date);
    if let Some(value) = printed
        .ok()
        .and_then(|text| HeaderValue::try_from(text).ok())
    {
        response.headers_mut().insert(header::DATE, value);
    }
}

async fn answer(
    State(server): State<Server>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let query = head.uri.query().unwrap_or_default();
    let call = Call::new(
        head.method.as_str(),
        head.uri.path(),
        query,
        head.headers,
        body,
    );
    let instance_id = call.parameter("InstanceId");
    let caller = rpc::caller(&call, instance_id.as_deref());
    let faults = server.world.meet_faults(caller);
    let number = server.world.begin_call(&call);
    if !wait(&server.world, &faults).await {
        line.cut();
        return plain(StatusCode::OK);
    }
    let server_now = met_clock(&server.world, &faults);
    let reply = rpc::reply(&server.service, &server.world, &call, &faults, server_now);
    tracing::debug!(
        status = reply.status.as_u16(),
        path = call.path,
        query,
        "answered"
    );
    if reply.close {
        line.cut();
    } else {
        server.world.end_call(number, reply.answered());
    }
    let mut response = send(reply, &faults, server.world, &line);
    set_date(&mut response, server_now);
    response
}

/// What comes before an answer; false: none is to come. A client that gives up ends this too, because the
/// server then drops what it was doing.
async fn wait(world: &World, faults: &[Fault]) -> bool {
    for fault in faults {
        if let Fault::Slow { delay_ms } = fault {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(*delay_ms)) => {}
                () = world.token().cancelled() => {}
            }
        }
    }
    if faults.contains(&Fault::Silent) {
        world.token().cancelled().await;
        return false;
    }
    true
}

/// The clock of this call: a skew that ended with it still holds for it.
fn met_clock(world: &World, faults: &[Fault]) -> Timestamp {
    let minutes = faults.iter().find_map(|fault| {
        if let Fault::ClockSkew { minutes } = fault {
            Some(*minutes)
        } else {
            None
        }
    });
    let fault = SignedDuration::from_secs(minutes.unwrap_or(0).saturating_mul(60));
    skewed(skewed(Timestamp::now(), world.state().skew), fault)
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
