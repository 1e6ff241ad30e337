//! The commands that change queues: tasks are added, retried, cancelled and deleted.
//!
//! The server knows a request again by its name. The names here are made of the task's id, so that
//! pressing twice, or going on after a break, does nothing twice.

use super::{
    QueueCli,
    failures::LookArguments,
    refused,
    render::{StatusName, type_named},
    request,
    table::{WIDTH, count, cut},
};
use crate::CliError;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Read as _, Write as _},
};
use tonic::{Code, Status};
use tonic_supervisor::{
    agent_queue::{
        CancelTaskRequest, ClearQueueRequest, CreateQueueRequest, DeleteQueueRequest,
        DeleteTaskRequest, GetQueueInfoRequest, NewTask, RetryTaskRequest, SubmitTaskRequest,
        TaskStatus, TaskType,
    },
    printable,
};

/// How many tasks are acted on at the same time.
const TOGETHER: usize = 16;
/// A payload that is larger is refused by every server.
const LARGEST: u64 = 4 * 1024 * 1024;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("of kind").required(true).args(["kind", "custom"])))]
pub(super) struct SubmitArguments {
    /// Whose queue.
    queue: String,
    /// The work, as JSON text; `@FILE` reads a file, `-` standard input.
    payload: String,
    /// What kind of work it is: `api-call`, for example.
    #[arg(long = "type", value_name = "TYPE", value_parser = type_named)]
    kind: Option<TaskType>,
    /// The name of a kind of your own.
    #[arg(long, value_name = "NAME")]
    custom: Option<String>,
    /// 0 to 9, 9 first.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=9))]
    priority: Option<u32>,
    /// The submission's name: given twice, the second time adds nothing. Made up where it is not
    /// given.
    #[arg(long, value_name = "NAME")]
    request_id: Option<String>,
    /// Make the queue if it is not there.
    #[arg(long)]
    create: bool,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["tasks", "group"])))]
pub(super) struct RetryArguments {
    /// Whose queue.
    queue: String,
    /// Which tasks.
    #[arg(value_name = "TASK")]
    tasks: Vec<String>,
    /// All tasks of this group of `failures`, by its id.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    #[command(flatten)]
    look: LookArguments,
    /// Only say how many tasks of the group would be retried.
    #[arg(long, conflicts_with = "tasks")]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct CancelArguments {
    /// Whose queue.
    queue: String,
    /// Which tasks.
    #[arg(required = true, value_name = "TASK")]
    tasks: Vec<String>,
    /// Why: it stands in the tasks from then on.
    #[arg(long, default_value = "cancelled by hand")]
    reason: String,
}

#[derive(Debug, clap::Args)]
#[command(group(
    clap::ArgGroup::new("what").required(true).args(["tasks", "all_tasks", "everything"])
))]
pub(super) struct RmArguments {
    /// Whose queue.
    queue: String,
    /// Which tasks.
    #[arg(value_name = "TASK")]
    tasks: Vec<String>,
    /// All tasks that the queue has now; it stays.
    #[arg(long)]
    all_tasks: bool,
    /// Only tasks of this status.
    #[arg(long, value_enum, ignore_case = true, conflicts_with_all = ["tasks", "everything"])]
    status: Option<StatusName>,
    /// The queue, with all its tasks.
    #[arg(long)]
    everything: bool,
    /// Do it: there is no way back.
    #[arg(long)]
    yes: bool,
}

/// What was done to a task: a sentence, and an object.
type ActionResult = (String, Value);

impl QueueCli {
    pub(super) async fn submit(&mut self, arguments: SubmitArguments) -> Result<(), CliError> {
        let SubmitArguments { queue, payload, kind, custom, priority, request_id, create } =
            arguments;
        let payload = read(payload)?;
        if create {
            let made = self
                .client
                .create_queue(request(CreateQueueRequest { agent_id: queue.clone() }))
                .await;
            made.map_err(refused(&format!("cannot make the queue {queue}")))?;
        }
        let task = NewTask {
            r#type: kind.unwrap_or(TaskType::Custom).into(),
            custom_type: custom.unwrap_or_default(),
            payload,
            priority,
            client_request_id: request_id.unwrap_or_else(new_name),
        };
        let what = format!("cannot submit to {queue}");
        let answer = self
            .client
            .submit_task(request(SubmitTaskRequest { agent_id: queue, task: Some(task) }))
            .await;
        let answer = answer.map_err(refused(&what))?.into_inner();
        let before =
            if answer.already_submitted { ", submitted before by the same name" } else { "" };
        self.line(&format!("{}{before}", printable(&answer.task_id)));
        self.object(&json!({ "kind": "submitted", "task_id": answer.task_id,
            "already_submitted": answer.already_submitted }));
        Ok(())
    }

    pub(super) async fn retry(&mut self, arguments: RetryArguments) -> Result<(), CliError> {
        let RetryArguments { queue, tasks, group, look, dry_run } = arguments;
        let tasks = match group {
            None => tasks,
            Some(id) => {
                let looked = self.group(&queue, look).await?;
                let described = looked.describe();
                let mut groups = looked.groups.into_iter().filter(|group| group.id() == id);
                let Some(group) = groups.next() else {
                    return Err(CliError::Failed(format!(
                        "no group {id} is among {described} of {queue}"
                    )));
                };
                // An id is short, and whoever works on a queue writes the errors.
                if groups.next().is_some() {
                    return Err(CliError::Failed(format!(
                        "several groups of {queue} have the id {id}: name the tasks"
                    )));
                }
                let (tasks, text) = (count(group.tasks.len() as u64), &group.text);
                let verb = if dry_run { "would be" } else { "are" };
                self.line(&cut(&format!("{tasks} tasks {verb} retried: {text}"), WIDTH));
                self.line(&cut(&format!("looked at {described} of {queue}"), WIDTH));
                self.object(&json!({
                    "kind": "group", "group": id, "tasks": group.tasks.len(), "text": group.text,
                    "dry_run": dry_run,
                }));
                if dry_run {
                    return Ok(());
                }
                group.tasks
            }
        };
        let client = self.client.clone();
        let act = |task_id: String| {
            let mut client = client.clone();
            let client_request_id = format!("retry:{task_id}");
            let message = RetryTaskRequest {
                agent_id: queue.clone(),
                task_id: task_id.clone(),
                client_request_id,
            };
            async move {
                let again = client.retry_task(request(message)).await?.into_inner().task_id;
                let object = json!({ "kind": "retried", "task_id": task_id, "as": again });
                Ok::<ActionResult, Status>((format!("{task_id} is retried as {again}"), object))
            }
        };
        self.each("retry", tasks, act).await
    }

    pub(super) async fn cancel(&mut self, arguments: CancelArguments) -> Result<(), CliError> {
        let CancelArguments { queue, tasks, reason } = arguments;
        let client = self.client.clone();
        let act = |task_id: String| {
            let mut client = client.clone();
            let (agent_id, reason) = (queue.clone(), reason.clone());
            let client_request_id = format!("cancel:{task_id}");
            let message =
                CancelTaskRequest { agent_id, task_id: task_id.clone(), reason, client_request_id };
            async move {
                client.cancel_task(request(message)).await?;
                Ok::<ActionResult, Status>((
                    format!("{task_id} is cancelled"),
                    json!({ "kind": "cancelled", "task_id": task_id }),
                ))
            }
        };
        self.each("cancel", tasks, act).await
    }

    pub(super) async fn rm(&mut self, arguments: RmArguments) -> Result<(), CliError> {
        let RmArguments { queue, tasks, all_tasks, status, everything, yes } = arguments;
        if all_tasks || everything {
            return self.rm_many(queue, status.map(TaskStatus::from), everything, yes).await;
        }
        let client = self.client.clone();
        let act = |task_id: String| {
            let mut client = client.clone();
            let client_request_id = format!("delete:{task_id}");
            let message = DeleteTaskRequest {
                agent_id: queue.clone(),
                task_id: task_id.clone(),
                client_request_id,
            };
            async move {
                client.delete_task(request(message)).await?;
                Ok::<ActionResult, Status>((
                    format!("{task_id} is deleted"),
                    json!({ "kind": "deleted", "task_id": task_id }),
                ))
            }
        };
        self.each("delete", tasks, act).await
    }

    async fn rm_many(
        &mut self,
        agent_id: String,
        status: Option<TaskStatus>,
        everything: bool,
        yes: bool,
    ) -> Result<(), CliError> {
        let what = format!("cannot delete from {agent_id}");
        if !yes {
            let info = self
                .client
                .get_queue_info(request(GetQueueInfoRequest { agent_id: agent_id.clone() }))
                .await;
            let tasks = info.map_err(refused(&what))?.into_inner().tasks.unwrap_or_default();
            let all =
                [tasks.pending, tasks.processing, tasks.completed, tasks.failed, tasks.cancelled];
            let all = all.into_iter().fold(0, u64::saturating_add);
            let all =
                format!("{agent_id} has {} tasks; what is deleted does not come back", count(all));
            return Err(CliError::Usage(format!("{all}: repeat the command with --yes")));
        }
        let deleted = if everything {
            let gone = self.client.delete_queue(request(DeleteQueueRequest {
                agent_id: agent_id.clone(),
                confirm: true,
            }));
            gone.await.map_err(refused(&what))?.into_inner().deleted
        } else {
            let (status, client_request_id) = (status.map(Into::into), new_name());
            let message = ClearQueueRequest {
                agent_id: agent_id.clone(),
                status,
                confirm: true,
                client_request_id,
            };
            self.client
                .clear_queue(request(message))
                .await
                .map_err(refused(&what))?
                .into_inner()
                .deleted
        };
        self.line(&format!("{} tasks of {} are deleted", count(deleted), printable(&agent_id)));
        self.object(&json!({
            "kind": "deleted", "agent_id": agent_id, "tasks": deleted, "queue": everything,
        }));
        Ok(())
    }

    /// Does the same to each task. One that refuses does not hold up the others; a server that
    /// cannot answer does.
    async fn each<F: Future<Output = Result<ActionResult, Status>>>(
        &self,
        verb: &str,
        tasks: Vec<String>,
        act: impl Fn(String) -> F,
    ) -> Result<(), CliError> {
        let (all, mut done, mut refusals) = (tasks.len(), 0, 0);
        let mut deeds = stream::iter(tasks.into_iter().map(|task| {
            let deed = act(task.clone());
            async move { (task, deed.await) }
        }))
        .buffered(TOGETHER);
        while let Some((task, deed)) = deeds.next().await {
            match deed {
                Ok((sentence, object)) => {
                    done += 1;
                    self.line(&printable(&sentence));
                    self.object(&object);
                }
                Err(status) if of_the_task(status.code()) => {
                    refusals += 1;
                    let refusal = format!("cannot {verb} {task}: {}", status.message());
                    self.object(&json!({
                        "kind": "refused", "task_id": task,
                        "code": format!("{:?}", status.code()), "text": status.message(),
                    }));
                    // Whoever closed standard error does not want to know.
                    let _ = writeln!(io::stderr(), "tonic-supervisor: {}", printable(&refusal));
                }
                Err(status) => {
                    let how_far = format!(
                        "{done} of {all} were done; repeating the command does nothing twice"
                    );
                    let what = format!("cannot {verb} {task} ({how_far})");
                    return Err(refused(&what)(status));
                }
            }
        }
        match refusals {
            0 => Ok(()),
            _ => Err(CliError::Failed(format!("{refusals} of {all} tasks were refused"))),
        }
    }
}

/// Whether the refusal is about this task only, so that others may still be taken.
fn of_the_task(code: Code) -> bool {
    matches!(code, Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument)
}

/// A payload, from where it is.
fn read(payload: String) -> Result<String, CliError> {
    let mut text = String::new();
    let read = match payload.strip_prefix('@') {
        _ if payload == "-" => io::stdin().take(LARGEST).read_to_string(&mut text),
        Some(path) => {
            fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text))
        }
        None => return Ok(payload),
    };
    read.map(|_| text).map_err(CliError::failed(&format!("cannot read the payload {payload}")))
}

/// A name nobody else has.
fn new_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}
