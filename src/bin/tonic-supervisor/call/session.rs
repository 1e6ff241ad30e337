//! One run of the command: a private supervisor is spawned, connected, asked, and closed in good
//! order, however it ends.

use super::{
    Plan, What, describe,
    explain::{End, seconds},
    health, invoke,
    journal::{Journal, Output, Shown},
    json,
    schema::Symbol,
};
use crate::CliError;
use serde_json::json;
use std::{cell::OnceCell, io, sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic_supervisor::{
    Config, ConnectivityState, SupervisedChannel, Supervisor, printable, transport::Connector,
};

/// How long it has to say how it is.
const HEALTH: Duration = Duration::from_secs(5);
/// How long a connection is waited for where nothing says so.
const CONNECT: Duration = Duration::from_secs(60);

/// Why the command ends before its end.
pub(super) enum Stop {
    /// Nobody reads standard output any more: enough was seen.
    NobodyReads,
    Error(CliError),
}

impl From<CliError> for Stop {
    fn from(error: CliError) -> Self {
        Self::Error(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Error(CliError::Failed(format!("cannot write the answer: {error}"))),
        }
    }
}

pub(super) struct Session<'a> {
    pub(super) plan: &'a Plan,
    pub(super) journal: &'a Journal,
    config: Config,
    /// Spawned when it is needed: what a file says needs no connection.
    supervisor: OnceCell<Supervisor>,
    connector: Option<Arc<dyn Connector>>,
    started: Instant,
}

/// Runs it. `connector` is for tests; `interrupted` ends it at once.
pub(super) async fn run(
    config: Config,
    plan: &Plan,
    output: Output,
    connector: Option<Arc<dyn Connector>>,
    interrupted: impl Future<Output = ()>,
) -> Result<(), CliError> {
    let shown = match (&plan.what, plan.explain) {
        (What::Dial, _) => Shown::Answers,
        (_, true) => Shown::Beside,
        (_, false) => Shown::Nowhere,
    };
    let journal = Journal::new(config.target().to_string(), output, shown, plan.json);
    let (supervisor, started) = (OnceCell::new(), Instant::now());
    let session = Session { plan, journal: &journal, config, supervisor, connector, started };
    let done = {
        let work = session.work();
        tokio::select! {
            biased;
            done = work => done,
            () = interrupted => {
                journal.end(&End::Interrupted);
                Err(CliError::Interrupted.into())
            }
            never = journal.follow() => match never {},
        }
    };
    journal.catch_up();
    if let Some(supervisor) = session.supervisor.get() {
        supervisor.shutdown(Duration::ZERO).await;
    }
    match done {
        Ok(()) | Err(Stop::NobodyReads) => Ok(()),
        Err(Stop::Error(error)) => Err(error),
    }
}

impl Session<'_> {
    async fn work(&self) -> Result<(), Stop> {
        match &self.plan.what {
            What::Dial => {
                self.connect().await?;
                self.look().await
            }
            What::List(None) => {
                for service in self.services().await? {
                    match self.plan.json {
                        true => {
                            let object = json!({ "kind": "service", "name": service });
                            self.journal.object(&object).await?;
                        }
                        false => self.print(printable(&service).into_owned()).await?,
                    }
                }
                Ok(())
            }
            What::List(Some(name)) => {
                let schema = self.schema(name).await?;
                let service = schema.service(name.trim_start_matches('.')).ok_or_else(|| {
                    CliError::Failed(format!("{:?} is no service", printable(name)))
                })?;
                for method in service.methods() {
                    match self.plan.json {
                        true => self.journal.object(&describe::method_object(&method)).await?,
                        false => self.print(printable(&describe::path(&method)).into()).await?,
                    }
                }
                Ok(())
            }
            What::Describe(name) => {
                let schema = self.schema(name).await?;
                let symbol = schema.symbol(name).ok_or_else(|| {
                    CliError::Failed(format!("there is nothing named {:?}", printable(name)))
                })?;
                self.describe(&symbol).await
            }
            What::Method(name) => {
                let schema = self.schema(&name.service).await?;
                let method = schema.method(name).map_err(CliError::Failed)?;
                if self.plan.template {
                    return self.example(&method.input()).await;
                }
                if self.plan.descriptors.is_some() {
                    self.connect().await?;
                }
                invoke::invoke(self, schema, name).await
            }
        }
    }

    async fn describe(&self, symbol: &Symbol) -> Result<(), Stop> {
        match symbol {
            Symbol::Message(message) if self.plan.template => return self.example(message).await,
            Symbol::Method(method) if self.plan.template => {
                return self.example(&method.input()).await;
            }
            _ if self.plan.template => {
                let words = "--template is for a method or a message".to_owned();
                return Err(CliError::Usage(words).into());
            }
            _ => {}
        }
        if self.plan.json {
            return Ok(self.journal.object(&symbol.object()).await?);
        }
        for line in symbol.lines() {
            self.print(printable(&line).into_owned()).await?;
        }
        Ok(())
    }

    async fn example(&self, message: &prost_reflect::MessageDescriptor) -> Result<(), Stop> {
        let text = json::example(message).map_err(CliError::Failed)?;
        for line in text.lines() {
            self.print(line.to_owned()).await?;
        }
        Ok(())
    }

    /// Writes a line of what was asked for.
    pub(super) async fn print(&self, line: String) -> Result<(), Stop> {
        Ok(self.journal.answer(crate::stdout::plain_json(&line).into_owned()).await?)
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The private supervisor, which dials from now on.
    fn supervisor(&self) -> &Supervisor {
        self.supervisor.get_or_init(|| {
            let mut builder = Supervisor::builder(self.config.clone());
            if let Some(connector) = &self.connector {
                builder = builder.connector(connector.clone()).rng_seed(0);
            }
            let supervisor = builder.spawn();
            self.journal.read(supervisor.events());
            supervisor
        })
    }

    pub(super) fn channel(&self) -> SupervisedChannel {
        self.supervisor().channel()
    }

    /// How much of `--timeout` is left; none without it.
    pub(super) fn left(&self) -> Option<Duration> {
        self.plan.timeout.map(|timeout| timeout.saturating_sub(self.started.elapsed()))
    }

    pub(super) fn within(&self, time: Duration) -> Duration {
        self.left().map_or(time, |left| left.min(time))
    }

    /// Waits for a link. Without `--wait` the first failure of all dials is the end, so that a
    /// wrong address is told at once.
    pub(super) async fn connect(&self) -> Result<(), CliError> {
        let usual = self.config().timeout().unwrap_or(CONNECT);
        let limit = self.plan.timeout.unwrap_or(usual);
        let left = self.left().unwrap_or(usual);
        let supervisor = self.supervisor();
        let mut states = supervisor.watch_state();
        let failed = async {
            if self.plan.wait {
                return std::future::pending().await;
            }
            let failing = |state: &ConnectivityState| *state == ConnectivityState::TransientFailure;
            // It ends with the supervisor, which this one does not outlive.
            let _ = states.wait_for(failing).await;
        };
        let in_time = tokio::select! {
            biased;
            ready = supervisor.wait_ready(left) => match ready {
                Ok(()) => return Ok(()),
                Err(_) => false,
            },
            () = failed => true,
        };
        self.journal.catch_up();
        let now = supervisor.snapshot();
        let target = printable(&now.target).into_owned();
        let why = now.last_error.unwrap_or_else(|| "the first dial is under way".into());
        let when = match in_time {
            true => format!("not connected to {target}, and not asked to --wait"),
            false => format!("not connected to {target} within {} s", seconds(limit)),
        };
        Err(CliError::Exit(4, format!("{when}: {}", printable(&why))))
    }

    /// The services and their health, where they can be learnt: the dial has succeeded already.
    async fn look(&self) -> Result<(), Stop> {
        let mut names = match self.services().await {
            Ok(names) => names,
            Err(CliError::Failed(why)) => {
                self.journal.step("services", &why);
                Vec::new()
            }
            Err(other) => return Err(other.into()),
        };
        // The server as a whole is asked for under the name of nothing.
        let whole = "grpc.health.v1.Health";
        let asked: Vec<_> = [String::new()].into_iter().chain(names.iter().cloned()).collect();
        let (channel, time) = (self.channel(), self.within(HEALTH));
        let mut known = health::of(&channel, &self.plan.metadata, time, &asked).await;
        let server = known.remove(0);
        if names.is_empty() && server.is_some() {
            names.push(whole.into());
            known.push(None);
        }
        let states = names.iter().zip(known);
        let states = states.map(|(name, known)| match name == whole {
            true => (name, server),
            false => (name, known),
        });
        let states: Vec<_> = states.collect();
        if self.plan.json {
            for (name, health) in states {
                let object = json!({ "kind": "service", "name": name, "health": health });
                self.journal.object(&object).await?;
            }
            return Ok(());
        }
        let words: Vec<_> = states
            .into_iter()
            .map(|(name, health)| match health {
                Some(health) => format!("{name} ({health})"),
                None => name.clone(),
            })
            .collect();
        self.journal.steps("services", &words);
        Ok(())
    }
}
