//! `syncbell tasks`: the tasks as the poller knows them, or, with `--live`, as the cloud lists them now.

use anyhow::{Context as _, anyhow};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::{Value, json};
use syncbell_config::{Config, Filters, Instance, Part};
use syncbell_event::{Image, SyncTask};
use syncbell_poller::{LiveCause, LiveError, LivePage, TasksAsked, TasksError};

use crate::bus::elsewhere;
use crate::exit::Failure;
use crate::run::{block_on, load};
use crate::service::{File, Who, find};
use crate::table::{self, Output};

const COLUMNS: [&str; 8] = [
    "id", "status", "issue", "created", "modified", "from", "to", "note",
];

/// Which tasks, and where from.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    file: File,
    /// Ask the cloud for a page of ListRepoSyncTask; the poller, if one runs, is not concerned
    #[arg(long, conflicts_with = "admin")]
    live: bool,
    /// The ACR instance; --live needs one, unless the configuration has only one
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    #[command(flatten)]
    known: Known,
    #[command(flatten)]
    list: List,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Of what the poller knows.
#[derive(Debug, Args)]
#[group(conflicts_with = "live")]
struct Known {
    /// Only with this status, such as ERROR
    #[arg(long)]
    status: Option<String>,
    /// Rows at most
    #[arg(long, default_value_t = 50, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    limit: usize,
    /// Go on where the page before ended: what it said
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
}

/// Of the cloud's list.
#[derive(Debug, Args)]
#[group(requires = "live")]
struct List {
    /// The instance's region; then no configuration is read
    #[arg(long, requires_all = ["live", "instance"], value_parser = region)]
    region: Option<String>,
    /// Where to ask instead of the region's public endpoint
    #[arg(long, value_name = "URL", requires = "region")]
    endpoint: Option<reqwest::Url>,
    /// Only of this namespace
    #[arg(long)]
    namespace: Option<String>,
    /// Only of this repository
    #[arg(long)]
    repo: Option<String>,
    /// Only of this image tag
    #[arg(long)]
    tag: Option<String>,
    /// Only of this batch
    #[arg(long, value_name = "ID")]
    batch: Option<String>,
    /// Which page
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = RangedU64ValueParser::<u32>::new().range(1..))]
    page: u32,
    /// Rows a page
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = RangedU64ValueParser::<u32>::new().range(1..=100))]
    page_size: u32,
}

fn region(text: &str) -> Result<String, String> {
    let host = |instance: &Instance| instance.endpoint.host_str().map(str::to_owned);
    let named = Instance::try_new("", text);
    match named.as_ref().and_then(host) {
        Some(host) if host == format!("cr.{text}.aliyuncs.com") => Ok(text.to_owned()),
        _ => Err("it cannot be part of a host name".to_owned()),
    }
}

/// `syncbell tasks …`
pub(crate) fn tasks(asked: &Arguments) -> anyhow::Result<()> {
    if asked.live {
        return live(asked);
    }
    let config = asked.file.config()?;
    let page = block_on(known(asked, config))?;
    let tasks = page["tasks"].as_array();
    let tasks = tasks.context("the poller answered something else than tasks")?;
    match asked.output {
        Output::Table => {
            let rows: Vec<Value> = tasks.iter().map(row_of_known).collect();
            table::rows(Output::Table, &rows, &COLUMNS)?;
        }
        output => table::rows(output, tasks, &COLUMNS)?,
    }
    if let Some(next) = page["next"].as_str() {
        anstream::eprintln!("{} tasks; there are more: --after {next}", tasks.len());
    }
    Ok(())
}

/// Asks the poller that runs, else its folder.
async fn known(asked: &Arguments, config: Option<Config>) -> anyhow::Result<Value> {
    let question = TasksAsked {
        instance: asked.instance.clone(),
        status: asked.known.status.clone(),
        limit: Some(asked.known.limit),
        after: asked.known.after.clone(),
    };
    let addresses = asked.file.addresses(config.as_ref());
    if let Some(service) = find(Who::Poller, &addresses).await? {
        let limit = question.limit.map(|limit| limit.to_string());
        let query = [
            ("instance", question.instance),
            ("status", question.status),
            ("limit", limit),
            ("after", question.after),
        ];
        let query: Vec<_> = query
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        return service.get("poller/tasks", &query).await;
    }
    let missing = Who::Poller.missing(&addresses);
    match config {
        Some(config) => in_folder(&config, &question, &missing).await,
        None => Err(anyhow!(missing)).context(Failure::Unavailable),
    }
}

/// The same from the poller's folder, if there is one and nobody has it open.
async fn in_folder(config: &Config, asked: &TasksAsked, missing: &str) -> anyhow::Result<Value> {
    let folder = config.data_dir.join("poller");
    if !folder.is_dir() {
        let what = format!("{missing}, and there is no folder {}", folder.display());
        return Err(anyhow!(what)).context(Failure::Unavailable);
    }
    let data_dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || syncbell_poller::open_store(&data_dir));
    let store = opened.await.context("opening the store panicked")?;
    let store = store.with_context(|| elsewhere(missing));
    let store = store.context(Failure::TryAgain)?;
    let page = syncbell_poller::known_tasks(&store, asked).await;
    store.close().await.context(Failure::TryAgain)?;
    match page {
        Ok(page) => Ok(serde_json::to_value(page)?),
        Err(error @ TasksError::NoSuchPlace) => Err(error.into()),
        Err(error) => Err(error).context(Failure::TryAgain),
    }
}

/// Asks the cloud.
fn live(asked: &Arguments) -> anyhow::Result<()> {
    let instance = instance(asked)?;
    let List {
        page, page_size, ..
    } = asked.list;
    let listed = block_on(async {
        let credentials = syncbell_poller::default_credentials();
        let surroundings = syncbell_poller::Surroundings::of_process();
        let listed = syncbell_poller::live(&instance, page, page_size, credentials, surroundings);
        listed.await.map_err(failed)
    })?;
    let task = |task: &SyncTask| match asked.output {
        Output::Table => Ok(row_of_task(task)),
        Output::Json | Output::Jsonl => serde_json::to_value(task),
    };
    let rows: Result<Vec<Value>, _> = listed.tasks.iter().map(task).collect();
    table::rows(asked.output, &rows?, &COLUMNS[..7])?;
    for refused in &listed.refused {
        anstream::eprintln!("not a task: {}", table::plain(refused));
    }
    anstream::eprintln!("{}", totals(&listed));
    Ok(())
}

fn failed(error: LiveError) -> anyhow::Error {
    let failure = match error.cause {
        LiveCause::Denied => Failure::Denied,
        LiveCause::TooFast => Failure::TryAgain,
        LiveCause::Down => Failure::Unavailable,
        LiveCause::Setup => Failure::Configuration,
    };
    anyhow!(error.what).context(failure)
}

/// The instance that is named, from the flags or from the configuration, with the flags' filters.
fn instance(asked: &Arguments) -> anyhow::Result<Instance> {
    let List {
        region, endpoint, ..
    } = &asked.list;
    let mut instance = match (region, &asked.instance) {
        (Some(region), Some(id)) => {
            let named = Instance::try_new(id.clone(), region.clone());
            named.context("the region cannot be part of a host name")?
        }
        (_, id) => configured(asked, id.as_deref())?,
    };
    if let Some(endpoint) = endpoint {
        instance.endpoint = endpoint.clone();
    }
    instance.filters = Filters {
        namespace: asked.list.namespace.clone(),
        repo: asked.list.repo.clone(),
        tag: asked.list.tag.clone(),
        batch_id: asked.list.batch.clone(),
    };
    Ok(instance)
}

fn configured(asked: &Arguments, id: Option<&str>) -> anyhow::Result<Instance> {
    let mut instances = load(asked.file.path(), Part::Bus)?.instances;
    let at = match id {
        Some(id) => instances.iter().position(|instance| instance.id == id),
        None => (instances.len() == 1).then_some(0),
    };
    if let Some(at) = at {
        return Ok(instances.swap_remove(at));
    }
    let names: Vec<&str> = instances.iter().map(|one| one.id.as_str()).collect();
    let (file, names) = (asked.file.path().display(), names.join(", "));
    let what = match id {
        Some(id) => format!("{file} has no instance {id} (it has: {names}); or give its --region"),
        None => format!("which instance? --instance, one of {names}"),
    };
    Err(anyhow!(what)).context(Failure::Configuration)
}

/// What the page says beside its rows.
fn totals(page: &LivePage) -> String {
    let number = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    let pages = page
        .total_count
        .zip(page.page_size.filter(|size| *size > 0));
    let pages = pages.map(|(total, size)| total.div_ceil(size).max(1));
    let mut text = format!(
        "page {} of {}: {} of {} tasks",
        number(page.page_no),
        number(pages),
        page.tasks.len(),
        number(page.total_count)
    );
    if let Some(time) = page.server_time {
        text = format!("{text}, at {time} by the server's clock");
    }
    if let Some(id) = &page.request_id {
        text = format!("{text} (request {id})");
    }
    text
}

fn row_of_task(task: &SyncTask) -> Value {
    json!({
        "id": task.task_id.as_str(), "status": task.status.as_str(), "issue": task.issue,
        "created": task.created_at, "modified": task.modified_at,
        "from": task.from.as_ref().map(image), "to": task.to.as_ref().map(image),
    })
}

fn row_of_known(task: &Value) -> Value {
    let image_of = |name: &str| {
        let image_of: Image = serde_json::from_value(task[name].clone()).ok()?;
        Some(image(&image_of))
    };
    let note = match (task["vanished"].as_bool(), task["gone_since"].as_str()) {
        (Some(true), _) => "vanished while open".to_owned(),
        (_, Some(since)) => format!("listed no more since {since}"),
        _ => String::new(),
    };
    json!({
        "id": task["task_id"], "status": task["status"], "issue": task["issue"],
        "created": task["created_at"], "modified": task["modified_at"],
        "from": image_of("from"), "to": image_of("to"), "note": note,
    })
}

/// `instance/namespace/repo:tag`, as far as it is known.
fn image(image: &Image) -> String {
    let parts = [&image.instance_id, &image.namespace, &image.repo];
    let parts = parts.map(|part| part.as_deref().unwrap_or("?"));
    format!(
        "{}:{}",
        parts.join("/"),
        image.tag.as_deref().unwrap_or("?")
    )
}
