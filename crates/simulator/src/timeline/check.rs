//! From the file's shape to a [`Timeline`]: names that exist, one meaning for each step, bounded repeats.

use std::collections::HashSet;
use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use syncbell_event::{Image, Status};

use super::problem::{Problem, Problems, Source, suggestion};
use super::{Repeat, Timeline, raw};
use crate::bulk::MAX_TASKS;
use crate::fault::{Extent, Target};
use crate::instance::NewInstance;
use crate::script::{Act, Step};
use crate::sync_rule::NewRule;
use crate::task::{DEMO_TARGET_INSTANCE, DEMO_TARGET_REGION, NewTask, Progress};

/// A round has at most this many steps; a batch at most this many tasks.
const MAX_STEPS: usize = 200_000;
/// A timeline that repeats more often than this would only be busy with itself.
const MIN_REPEAT: Duration = Duration::from_millis(10);

const STATUSES: [&str; 5] = ["PENDING", "SYNCHRONIZING", "SUCCESS", "ERROR", "CANCELED"];

pub(super) fn check(mut raw: raw::Timeline, source: Source<'_>) -> Result<Timeline, Problems> {
    if raw.instances.is_empty() {
        raw.instances.push(NewInstance::default());
    }
    let at_first = raw.instances.iter();
    let later = raw
        .discovery
        .iter()
        .filter_map(|step| step.value.add.as_ref());
    let known = at_first
        .chain(later)
        .map(|new| (new.id.clone(), new.region.clone()));
    let mut checker = Checker {
        known: known.collect(),
        task_ids: HashSet::new(),
        batch_ids: HashSet::new(),
        source,
        problems: Vec::new(),
        timeline: Timeline::default(),
    };
    checker.timeline.quota = raw.quota;
    checker.timeline.retention = raw.retention.map(|time| time.0);
    for rule in raw.rules {
        checker.rule(rule);
    }
    if let Some(load) = raw.load {
        if load.value.tasks > MAX_TASKS {
            checker.problem(
                load.defined,
                format!("at most {MAX_TASKS} tasks can be made"),
            );
        }
        checker.timeline.load = Some(load.value);
    }
    for task in raw.tasks {
        checker.task(task);
    }
    for batch in raw.batches {
        checker.batch(batch);
    }
    for fault in raw.faults {
        checker.fault(fault);
    }
    for step in raw.discovery {
        checker.discovery(step);
    }
    checker.repeat(raw.repeat);
    checker.timeline.instances = raw.instances;
    checker.timeline.steps.sort_by_key(|step| step.at);
    if checker.problems.is_empty() {
        Ok(checker.timeline)
    } else {
        Err(Problems(checker.problems))
    }
}

struct Checker<'a> {
    /// Ids and regions of all instances, the first one first.
    known: Vec<(String, String)>,
    task_ids: HashSet<String>,
    batch_ids: HashSet<String>,
    source: Source<'a>,
    problems: Vec<Problem>,
    timeline: Timeline,
}

/// Where a task's image is copied from and to, and by which rule.
struct Copy {
    instance: Option<Spanned<String>>,
    to: Option<raw::End>,
    rule: Option<String>,
}

impl Checker<'_> {
    fn problem(&mut self, at: Location, message: impl Into<String>) {
        self.problems.push(self.source.problem(at, message.into()));
    }

    fn step(&mut self, at: Duration, act: Act, note: Option<String>) {
        self.timeline.steps.push(Step { at, act, note });
    }

    /// Id and region of an instance that is named, or the first one.
    fn instance(&mut self, named: Option<&Spanned<String>>) -> (String, String) {
        let first = self.known.first().cloned().unwrap_or_default();
        let Some(named) = named else {
            return first;
        };
        let mut known = self.known.iter();
        if let Some(found) = known.find(|(id, _)| *id == named.value) {
            return found.clone();
        }
        let ids: Vec<&str> = self.known.iter().map(|(id, _)| id.as_str()).collect();
        let hint = suggestion(&named.value, &ids);
        self.problem(
            named.defined,
            format!("no instance `{}`{hint}", named.value),
        );
        first
    }

    /// Any text is a status, but one that nearly is a known one is a slip.
    fn status(&mut self, word: &Spanned<String>) -> Status {
        let status = Status::from(word.value.clone());
        if let Status::Unknown(text) = &status {
            let upper = text.to_uppercase();
            let near = |known: &&&str| strsim::damerau_levenshtein(&upper, known) <= 2;
            if let Some(known) = STATUSES.iter().find(near) {
                let message = format!("unknown status `{text}`, did you mean `{known}`?");
                self.problem(word.defined, message);
            }
        }
        status
    }

    fn rule(&mut self, raw: raw::Rule) {
        let (id, region) = self.instance(raw.instance.as_ref());
        let mut rule = NewRule {
            id: raw.id,
            name: raw.name,
            ..NewRule::default()
        }
        .of_instance(&id, &region);
        rule.local.namespace.clone_from(&raw.namespace);
        rule.local.repo.clone_from(&raw.repo);
        rule.target.namespace = raw.namespace;
        rule.target.repo = raw.repo;
        if let Some(to) = raw.to {
            rule.target.instance_id = Some(to.instance);
            rule.target.region_id = Some(to.region);
        }
        rule.scope = raw.scope.unwrap_or(rule.scope);
        rule.trigger = raw.trigger.unwrap_or(rule.trigger);
        self.timeline.rules.push(rule);
    }

    /// `namespace/repo:tag`, copied from one instance to another.
    fn copied(&mut self, image: &Spanned<String>, copy: Copy) -> NewTask {
        let parts = image.value.split_once('/');
        let parts = parts.and_then(|(ns, rest)| Some((ns, rest.rsplit_once(':')?)));
        let Some((namespace, (repo, tag))) = parts else {
            let message = format!("expected `namespace/repo:tag`, found `{}`", image.value);
            self.problem(image.defined, message);
            return NewTask::default();
        };
        let (id, region) = self.instance(copy.instance.as_ref());
        let end = |instance: &str, region: &str| Image {
            region_id: Some(region.to_owned()),
            instance_id: Some(instance.to_owned()),
            namespace: Some(namespace.to_owned()),
            repo: Some(repo.to_owned()),
            tag: Some(tag.to_owned()),
        };
        let to = match &copy.to {
            Some(to) => end(&to.instance, &to.region),
            None => end(DEMO_TARGET_INSTANCE, DEMO_TARGET_REGION),
        };
        NewTask {
            from: Some(end(&id, &region)),
            to: Some(to),
            sync_rule_id: copy.rule.or_else(|| Some(format!("crsr-{namespace}"))),
            listed_by: vec![id],
            ..NewTask::default()
        }
    }

    fn task(&mut self, raw: raw::Task) {
        let place = raw.image.defined;
        let id = match &raw.id {
            Some(id) => id.value.clone(),
            None => format!("rst-timeline-{}", self.task_ids.len() + 1),
        };
        if !self.task_ids.insert(id.clone()) {
            let place = raw.id.as_ref().map_or(place, |id| id.defined);
            self.problem(place, format!("another task has the id `{id}` already"));
        }
        let copy = Copy {
            instance: raw.instance,
            to: raw.to,
            rule: raw.rule,
        };
        let mut task = self.copied(&raw.image, copy);
        task.id = Some(id.clone());
        task.batch_id = raw.batch;
        task.trigger = raw.trigger.or(task.trigger);
        task.priority = raw.priority.or(task.priority);
        task.issue = raw.issue;
        if let Some(status) = &raw.status {
            task.status = self.status(status);
        }
        let (times, every) = match &raw.repeat {
            None => (1, Duration::ZERO),
            Some(repeat) => (repeat.times.value, repeat.every.0),
        };
        let n_steps = self.timeline.steps.len() + raw.steps.len() * times as usize;
        if n_steps > MAX_STEPS {
            let at = raw
                .repeat
                .as_ref()
                .map_or(place, |repeat| repeat.times.defined);
            self.problem(at, format!("that is more than {MAX_STEPS} steps"));
            return;
        }
        if let Some(age) = raw.age {
            task.age_ms = millis(age.0);
            // Healthy if nothing else is said; it takes a while to be so.
            task.took_ms = raw.took.map_or(task.age_ms / 2, |took| millis(took.0));
            if raw.status.is_none() {
                task.status = Status::Success;
            }
            if raw.repeat.is_some() {
                self.problem(
                    place,
                    "what is there at first cannot come again: leave out `age` or `repeat`",
                );
            }
            self.timeline.tasks.push(task);
            self.steps(&id, &raw.steps, None, Duration::ZERO);
            return;
        }
        if raw.steps.is_empty() {
            self.problem(place, "this task never appears: it needs `age` or `steps`");
        }
        for n in 0..times {
            let mut task = task.clone();
            let id = if n == 0 {
                id.clone()
            } else {
                format!("{id}-{}", n + 1)
            };
            task.id = Some(id.clone());
            self.steps(&id, &raw.steps, Some(task), every.saturating_mul(n));
        }
    }

    /// The steps of one task; the first one makes it, if it is not there yet.
    fn steps(
        &mut self,
        id: &str,
        steps: &[Spanned<raw::TaskStep>],
        mut new: Option<NewTask>,
        offset: Duration,
    ) {
        let mut steps: Vec<_> = steps.iter().collect();
        steps.sort_by_key(|step| step.value.at.0);
        for spanned in steps {
            let step = spanned.value.clone();
            let (at, mut note) = (offset.saturating_add(step.at.0), step.note);
            let status = step.status.as_ref().map(|status| self.status(status));
            let says_nothing = status.is_none() && step.progress.is_none() && step.gone.is_none();
            if let Some(mut task) = new.take() {
                task.status = status.unwrap_or(task.status);
                task.issue = step.issue.or(task.issue);
                self.step(at, Act::Add(Box::new(task)), note.take());
            } else if let Some(status) = status {
                let (task_id, issue) = (id.to_owned(), step.issue);
                let act = Act::Enter {
                    task_id,
                    status,
                    issue,
                };
                self.step(at, act, note.take());
            } else if says_nothing {
                let message = "a step needs a `status`, a `progress`, or `gone`";
                self.problem(spanned.defined, message);
            }
            if let Some(done) = step.progress {
                let progress = Progress {
                    progress: done,
                    synced_size_bytes: step.synced_size.unwrap_or_default(),
                    layers: Vec::new(),
                };
                let task_id = id.to_owned();
                self.step(at, Act::Progress { task_id, progress }, note.take());
            }
            let task_id = id.to_owned();
            match step.gone {
                Some(raw::Gone::FromTheList) => self.step(at, Act::Unlist { task_id }, note),
                Some(raw::Gone::Wholly) => self.step(at, Act::Remove { task_id }, note),
                None => {}
            }
        }
    }

    fn batch(&mut self, raw: raw::Batch) {
        let id = raw.id.value.clone();
        if !self.batch_ids.insert(id.clone()) {
            self.problem(
                raw.id.defined,
                format!("another batch has the id `{id}` already"),
            );
        }
        if !(1..=MAX_STEPS).contains(&raw.tasks.value) {
            let message = format!("a batch has from 1 to {MAX_STEPS} tasks");
            self.problem(raw.tasks.defined, message);
        }
        let copy = Copy {
            instance: raw.instance,
            to: raw.to,
            rule: raw.rule,
        };
        let mut model = self.copied(&raw.image, copy);
        model.id = Some(format!("rst-{id}"));
        let act = Act::AddBatch {
            batch_id: id.clone(),
            n: raw.tasks.value,
            model: Box::new(model),
        };
        self.step(raw.at.0, act, raw.note);
        for step in raw.steps {
            let act = Act::EnterBatch {
                batch_id: id.clone(),
                n: step.tasks,
                status: self.status(&step.status),
                issue: step.issue,
            };
            self.step(step.at.0, act, step.note);
        }
    }

    fn fault(&mut self, raw: raw::TimedFault) {
        let from = raw.from.value.0;
        let length = raw.until.map(|until| until.0.saturating_sub(from));
        let extent = match (length, raw.calls) {
            (None, None) => Extent::Always,
            (None, Some(calls)) => Extent::Calls(calls),
            (Some(Duration::ZERO), None) => {
                self.problem(raw.from.defined, "`until` must be later than `from`");
                return;
            }
            (Some(length), None) => Extent::For(length),
            (Some(_), Some(_)) => {
                self.problem(raw.from.defined, "give `until` or `calls`, not both");
                return;
            }
        };
        let target = Target {
            action: raw.only,
            instance_id: raw.instance,
        };
        let fault = raw.fault;
        let act = Act::FaultFor {
            target,
            fault,
            extent,
        };
        self.step(from, act, raw.note);
    }

    fn discovery(&mut self, spanned: Spanned<raw::Discovery>) {
        let raw = spanned.value;
        let act = match (raw.add, raw.status, raw.remove) {
            (Some(new), None, None) => Act::AddInstance(Box::new(new)),
            (None, Some(status), None) => Act::InstanceStatus {
                id: self.instance(Some(&status.instance)).0,
                status: status.is,
            },
            (None, None, Some(id)) => Act::RemoveInstance {
                id: self.instance(Some(&id)).0,
            },
            _ => {
                let message = "expected exactly one of `add`, `status` and `remove`";
                self.problem(spanned.defined, message);
                return;
            }
        };
        self.step(raw.at.0, act, raw.note);
    }

    fn repeat(&mut self, raw: Option<raw::Repeat>) {
        let Some(raw) = raw else {
            return;
        };
        let every = raw.every.value.0;
        let length = self.timeline.length();
        if every < MIN_REPEAT || every < length {
            let message =
                format!("a round takes {length:?}: it cannot begin again after {every:?}");
            self.problem(raw.every.defined, message);
        }
        let times = raw.times;
        self.timeline.repeat = Some(Repeat { every, times });
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
