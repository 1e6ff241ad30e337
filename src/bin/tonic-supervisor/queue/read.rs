//! The commands that only read: queues, tasks, and the statistics of a queue.

use super::{
    QueueCli, refused, render, request,
    table::{Column, WIDTH, age, age_of, brief, count, cut, moment, row},
};
use crate::CliError;
use serde_json::json;
use tonic_supervisor::{
    agent_queue::{
        GetTaskStatsRequest, GetTaskStatsResponse, ListQueuesRequest, ListTasksRequest,
        ListTasksResponse, QueryTaskRequest, QueueSummary, Task, TaskStatus,
    },
    printable,
};

/// The largest page that the service gives.
const PAGE: u32 = 1000;

const QUEUES: [Column; 7] = [
    Column::Left(23),
    Column::Right(8),
    Column::Right(7),
    Column::Right(10),
    Column::Right(9),
    Column::Right(8),
    Column::Right(9),
];
const TASKS: [Column; 7] = [
    Column::Left(20),
    Column::Left(10),
    Column::Left(15),
    Column::Right(1),
    Column::Right(6),
    Column::Right(7),
    Column::Left(15),
];

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Whose queue.
    queue: String,
    /// Only tasks of this status.
    #[arg(long, value_enum, ignore_case = true)]
    status: Option<render::StatusName>,
    /// How many tasks at most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// The last so many instead of the first: the newest.
    #[arg(long)]
    newest: bool,
}

impl QueueCli {
    pub(super) async fn ls(&mut self) -> Result<(), CliError> {
        self.line(&row(
            QUEUES,
            ["QUEUE", "PENDING", "OLDEST", "PROCESSING", "COMPLETED", "FAILED", "CANCELLED"],
        ));
        let mut after = String::new();
        loop {
            let message = ListQueuesRequest { after: after.clone(), limit: Some(PAGE) };
            let page = self.client.list_queues(request(message)).await;
            let page = page.map_err(refused("cannot list the queues"))?.into_inner();
            page.queues.iter().for_each(|queue| self.queue(queue));
            match page.next_after {
                // A server that goes back would be asked for ever.
                Some(next) if next > after => after = next,
                _ => return Ok(()),
            }
        }
    }

    fn queue(&self, queue: &QueueSummary) {
        self.object(&render::queue(queue));
        let tasks = queue.tasks.unwrap_or_default();
        let numbers =
            [tasks.pending, tasks.processing, tasks.completed, tasks.failed, tasks.cancelled]
                .map(brief);
        let [pending, processing, completed, failed, cancelled] =
            numbers.each_ref().map(String::as_str);
        let oldest = queue.oldest_pending.map_or("-".into(), age);
        self.line(&row(
            QUEUES,
            [&queue.agent_id, pending, &oldest, processing, completed, failed, cancelled],
        ));
    }

    pub(super) async fn show(&mut self, agent_id: String, task_id: String) -> Result<(), CliError> {
        let what = format!("cannot show {task_id}");
        let answer = self.client.query_task(request(QueryTaskRequest { agent_id, task_id })).await;
        let nothing = || CliError::Failed(format!("{what}: the server's answer has no task"));
        let task = answer.map_err(refused(&what))?.into_inner().task.ok_or_else(nothing)?;
        let mut object = render::task(&task);
        object["payload"] = json!(task.payload);
        object["result"] = json!(task.result);
        self.object(&object);
        let time = |at| moment(at).unwrap_or_else(|| "-".into());
        for (name, value) in [
            ("task", task.task_id.clone()),
            ("queue", task.agent_id.clone()),
            ("status", render::status(&task)),
            ("kind", render::kind(&task)),
            ("priority", task.priority.to_string()),
            ("claims", task.claims.to_string()),
            ("retry of", task.retry_of.clone()),
            ("submitted", time(task.created_at)),
            ("claimed", time(task.claimed_at)),
            ("lease until", time(task.lease_until)),
            ("finished", time(task.finished_at)),
            ("error", task.error_message.clone()),
            ("payload", task.payload.clone()),
            ("result", task.result.clone()),
        ] {
            if !value.is_empty() && value != "-" {
                self.line(&format!("{name:<12} {}", printable(&value)));
            }
        }
        Ok(())
    }

    pub(super) async fn list(&mut self, arguments: ListArguments) -> Result<(), CliError> {
        let ListArguments { queue, status, limit, newest } = arguments;
        let status = status.map(TaskStatus::from);
        self.line(&row(TASKS, ["TASK", "STATUS", "KIND", "P", "CLAIMS", "AGE", "ERROR"]));
        let mut shown = 0;
        let total = self.page_through(&queue, status, limit, newest, |cli, task| {
            shown += 1;
            cli.object(&render::task(&task));
            let (status, kind, priority) =
                (render::status(&task), render::kind(&task), task.priority.to_string());
            let (claims, age) = (task.claims.to_string(), age_of(&task));
            let error = task.error_message.lines().next().unwrap_or_default();
            cli.line(&row(TASKS, [&task.task_id, &status, &kind, &priority, &claims, &age, error]));
        });
        let total = total.await?;
        if shown < total {
            let end = if newest { "newest" } else { "oldest" };
            self.line(&format!(
                "the {end} {} of {} tasks; --limit gives more",
                count(shown),
                count(total)
            ));
        }
        Ok(())
    }

    /// Hands out the oldest or newest `limit` tasks, oldest first; returns how many there are.
    pub(super) async fn page_through(
        &mut self,
        queue: &str,
        status: Option<TaskStatus>,
        limit: u64,
        newest: bool,
        mut take: impl FnMut(&Self, Task),
    ) -> Result<u64, CliError> {
        let (mut left, mut total) = (limit, 0);
        let mut next = Some(match newest {
            true => self.page(queue, status, 1, 0).await?.total.saturating_sub(limit),
            false => 0,
        });
        while let Some(offset) = next.filter(|_| left > 0) {
            let page = self.page(queue, status, left.min(PAGE.into()) as u32, offset).await?;
            total = page.total;
            left = left.saturating_sub(page.tasks.len() as u64);
            page.tasks.into_iter().for_each(|task| take(self, task));
            // A server that goes back would be asked for ever.
            next = page.next_offset.filter(|next| *next > offset);
        }
        Ok(total)
    }

    async fn page(
        &mut self,
        queue: &str,
        status: Option<TaskStatus>,
        limit: u32,
        offset: u64,
    ) -> Result<ListTasksResponse, CliError> {
        let status = status.map(Into::into);
        let message =
            ListTasksRequest { agent_id: queue.into(), status, limit: Some(limit), offset };
        let page = self.client.list_tasks(request(message)).await;
        Ok(page.map_err(refused(&format!("cannot list the tasks of {queue}")))?.into_inner())
    }

    pub(super) async fn stats(&mut self, agent_id: String) -> Result<(), CliError> {
        let what = format!("cannot count the tasks of {agent_id}");
        let answer = self
            .client
            .get_task_stats(request(GetTaskStatsRequest { agent_id: agent_id.clone() }))
            .await;
        let GetTaskStatsResponse { tasks, types, oldest_pending, average_wait, average_run } =
            answer.map_err(refused(&what))?.into_inner();
        let tasks = tasks.unwrap_or_default();
        let kinds = types
            .iter()
            .map(|kind| json!({ "type": render::type_name(kind.r#type), "tasks": kind.tasks }));
        self.object(&json!({
            "kind": "stats", "agent_id": agent_id, "tasks": render::counts(&tasks),
            "types": kinds.collect::<Vec<_>>(), "oldest_pending": oldest_pending,
            "average_wait": average_wait, "average_run": average_run,
        }));
        let figures = [
            ("PENDING", tasks.pending),
            ("PROCESSING", tasks.processing),
            ("COMPLETED", tasks.completed),
            ("FAILED", tasks.failed),
            ("CANCELLED", tasks.cancelled),
        ];
        let kinds = types.iter().map(|kind| (render::type_name(kind.r#type), kind.tasks));
        self.line(&cut(&agent_id, WIDTH));
        for (name, tasks) in
            figures.map(|(name, tasks)| (name.to_owned(), tasks)).into_iter().chain(kinds)
        {
            self.line(&row([Column::Left(20), Column::Right(14)], [&name, &count(tasks)]));
        }
        for (name, seconds) in [
            ("oldest pending", oldest_pending),
            ("average wait", average_wait),
            ("average run", average_run),
        ] {
            self.line(&row(
                [Column::Left(20), Column::Right(14)],
                [name, &seconds.map_or("-".into(), age)],
            ));
        }
        Ok(())
    }
}
